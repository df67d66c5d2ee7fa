"""Manifests and records: what names a dataset, and what is read back from another version's file."""

from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuseline.stores import manifest
from fuseline.stores.errors import DamagedError, DataError
from fuseline.stores.manifest import SEAL, FileRecord, Manifest, ShardRecord, expanded, sealed

MANIFEST = Manifest("embed/image", 2, {"size": 224, "crop": {"mode": "fit", "pad": 0.5}}, {"documents/x": "k1"}, "zarr")
RECORD = ShardRecord(
    index=3,
    name="000003-abc",
    n_rows=2,
    ids="xxh3:1",
    columns={"status": "xxh3:2", "text": "xxh3:3"},
    inputs={"documents/x": "xxh3:4"},
    files={"000003-abc.parquet": FileRecord(10, "blake3:5")},
    tallies={"status": {"ok": 1, "missing": 1}},
    beside={"rows/000003.parquet": FileRecord(11, "blake3:6")},
)


def test_a_manifest_comes_back():
    assert Manifest.from_bytes(MANIFEST.to_bytes()) == MANIFEST
    assert Manifest.from_bytes(MANIFEST.to_bytes()).key == MANIFEST.key


def test_a_record_comes_back():
    assert ShardRecord.from_bytes(RECORD.to_bytes()) == RECORD


@pytest.mark.parametrize(("kind", "value"), [(Manifest, MANIFEST), (ShardRecord, RECORD)])
class TestForeignBytes:
    """What another version, or a disk, may have left."""

    def test_another_format_version_is_refused_naming_both(self, kind, value):
        values = orjson.loads(value.to_bytes())
        with pytest.raises(DataError, match="format: expected 1, got 2; it was written by another Fuseline version"):
            kind.from_bytes(orjson.dumps({**values, "format": 2}))

    def test_whole_bytes_of_another_version_are_refused(self, kind, value, monkeypatch):
        monkeypatch.setattr(manifest, "FORMAT", 2)
        data = value.to_bytes()
        assert kind.from_bytes(data) == value
        monkeypatch.undo()
        with pytest.raises(DataError, match="format: expected 1, got 2; it was written by another Fuseline version"):
            kind.from_bytes(data)

    def test_a_file_without_its_seal_is_damaged(self, kind, value):
        values = orjson.loads(value.to_bytes())
        del values[manifest.SEAL]
        with pytest.raises(DamagedError, match="its seal does not fit"):
            kind.from_bytes(orjson.dumps(values))

    def test_no_format_version_is_refused(self, kind, value):
        values = orjson.loads(value.to_bytes())
        del values["format"]
        with pytest.raises(DataError, match="got None"):
            kind.from_bytes(orjson.dumps(values))

    @pytest.mark.parametrize("data", [b"", b"{", b"\x00\xff", b"[]", b"null", b'{"format": 1}', b'{"format":1,"x":2}'])
    def test_a_broken_file_is_a_data_error_with_the_cure(self, kind, value, data):
        with pytest.raises(DataError, match=r"fuseline repair|another Fuseline version"):
            kind.from_bytes(data)

    def test_a_cut_file_is_a_data_error(self, kind, value):
        data = value.to_bytes()
        for cut in range(0, len(data) - 1, 7):
            with pytest.raises(DataError):
                kind.from_bytes(data[:cut])

    def test_any_changed_byte_is_found(self, kind, value):
        """A changed digit parses well: without a seal the planner would believe it."""
        data = value.to_bytes()
        for place in range(len(data)):
            with pytest.raises(DataError):
                kind.from_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])


def test_the_key_does_not_depend_on_the_order_of_settings():
    shuffled = replace(MANIFEST, config={"crop": {"pad": 0.5, "mode": "fit"}, "size": 224})
    assert shuffled.key == MANIFEST.key


@pytest.mark.parametrize(
    "change",
    [
        {"stage": "embed/other"},
        {"version": 3},
        {"config": {"size": 225, "crop": {"mode": "fit", "pad": 0.5}}},
        {"config": {"size": 224, "crop": {"mode": "fit", "pad": 0.25}}},
        {"config": {"size": 224, "crop": {"mode": "fit"}}},
        {"upstream": {"documents/x": "k2"}},
        {"upstream": {"documents/y": "k1"}},
        {"upstream": {}},
        {"layout": "parquet"},
    ],
    ids=str,
)
def test_the_key_changes_with_every_part(change):
    assert replace(MANIFEST, **change).key != MANIFEST.key


settings_of = st.dictionaries(
    st.text(max_size=3), st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3), max_size=4
)


@given(settings_of, settings_of)
def test_keys_are_equal_when_and_only_when_settings_are(one, other):
    same = {k: (type(v), v) for k, v in one.items()} == {k: (type(v), v) for k, v in other.items()}
    assert (replace(MANIFEST, config=one).key == replace(MANIFEST, config=other).key) == same


def test_a_consumer_depends_on_the_columns_it_reads_alone():
    other = replace(RECORD, columns={**RECORD.columns, "text": "xxh3:9"})
    assert RECORD.digest(("status",)) == other.digest(("status",))
    assert RECORD.digest(("text",)) != other.digest(("text",))
    assert RECORD.digest() != other.digest()
    assert RECORD.digest(("text", "status")) == RECORD.digest(("status", "text")) == RECORD.digest()


def test_the_digest_covers_the_ids():
    assert RECORD.digest(("status",)) != replace(RECORD, ids="xxh3:0").digest(("status",))


def test_a_pattern_stands_for_the_columns_that_it_matches_and_a_name_for_itself():
    columns = ("num_b", "x1", "num_a", "x[1]")
    assert expanded(("b", "num_*", "x[1]"), columns) == ("b", "num_a", "num_b", "x[1]")
    assert RECORD.digest(("absent",)) != RECORD.digest()


def test_equal_records_have_equal_bytes():
    turned = replace(RECORD, columns=dict(reversed(RECORD.columns.items())))
    assert turned == RECORD
    assert turned.to_bytes() == RECORD.to_bytes()


def test_columns_that_change_places_are_another_content():
    swapped = replace(RECORD, columns={"status": RECORD.columns["text"], "text": RECORD.columns["status"]})
    moved = replace(RECORD, columns={"status": RECORD.columns["status"], "title": RECORD.columns["text"]})
    assert len({record.digest() for record in (RECORD, swapped, moved)}) == 3


def test_role_and_kind_are_kept_and_are_no_part_of_the_key():
    told = replace(MANIFEST, role="embed", kind="shards")
    assert told.key == MANIFEST.key == replace(MANIFEST, role="models", kind="checkpoint").key
    assert Manifest.from_bytes(replace(told, kind="tables").to_bytes()).kind == "tables"


@pytest.mark.parametrize(
    ("stage", "role", "kind"),
    [
        ("documents/x", "documents", "documents"),
        ("codebooks/pq", "codebooks", "checkpoint"),
        ("sweep/text", "sweep", "checkpoint"),
        ("predictions/text", "predictions", "shards"),
    ],
)
def test_a_manifest_of_before_says_both_by_its_folder(stage, role, kind):
    """Documents of an earlier version must still be found by those who erase them."""
    said = orjson.loads(replace(MANIFEST, stage=stage).to_bytes())
    values = {name: value for name, value in said.items() if name not in ("role", "kind", "format", SEAL)}
    found = Manifest.from_bytes(sealed(values))
    assert (found.role, found.kind) == (role, kind)
