"""The fast ways of parsing give what the plain ones give."""

import io
import json
import tarfile
import zipfile
from urllib.parse import unquote_to_bytes

import numpy as np
import pyarrow as pa
import pytest
from fixtures.layouts_archives import add
from hypothesis import given
from hypothesis import strategies as st

from fuseline.tasks.readers import READERS
from fuseline.tasks.readers.archives import Window, tar_members
from fuseline.tasks.readers.delimited import cut
from fuseline.tasks.readers.json_objects import _all_objects, parse_block
from fuseline.tasks.readers.mapping import TableOptions
from fuseline.tasks.readers.percent import decoded, decoded_lists
from fuseline.tasks.readers.places import place, safe_references
from fuseline.tasks.readers.streams import LineBlock

PIECES = st.sampled_from(
    ["%", "%4", "%41", "%e9", "%C3%A9", "%1E", "%00", "%zz", "%%41", "+", ",", "a", "é", "", "\x1e"]
)
ENCODED = st.lists(PIECES, max_size=6).map("".join)


def plain(text: str) -> str:
    return unquote_to_bytes(text.replace("+", " ")).decode("utf-8", "replace")


@given(st.lists(st.none() | ENCODED, max_size=12), st.integers(0, 3))
def test_columns_are_decoded_like_values(texts, start):
    whole = pa.array(texts, pa.string())
    assert decoded(whole.slice(start)).to_pylist() == [None if text is None else plain(text) for text in texts[start:]]


@given(st.lists(st.none() | ENCODED, max_size=12))
def test_lists_are_split_first_and_decoded_after(texts):
    got = decoded_lists(pa.array(texts, pa.string()), ",")
    got.validate(full=True)
    items = [[plain(item).replace("\0", "") for item in (text or "").split(",")] for text in texts]
    assert got.to_pylist() == [list(dict.fromkeys(item for item in row if item)) for row in items]


@given(st.lists(st.lists(st.sampled_from(["", "a", "é\u2028", '"', "b c"]), min_size=1, max_size=4), min_size=1))
def test_fields_are_those_of_split(rows):
    lines = ["\t".join(row) for row in rows]
    fields = cut("\n".join(lines).encode(), "\t")
    assert len(fields) == len(rows)
    assert fields.widths.tolist() == [len(row) for row in rows]
    assert fields.filled.tolist() == [line != "" for line in lines]
    for index in range(4):
        there = fields.widths > index
        got = fields.column(index, there).to_pylist()
        assert got == [row[index] if len(row) > index else None for row in rows]
    part = fields.part(1, 3)
    assert part.column(0, np.ones(len(part), bool)).to_pylist() == [row[0] for row in rows[1:3]]


VALUES = st.sampled_from(["1", "1.0", "-0", "2.50", "1e5", "12345678901234567890123", '"a"', "null", "[1.0, 2]", "{}"])
LINES = st.one_of(
    st.tuples(VALUES, VALUES).map(lambda pair: f'{{"id": {pair[0]}, "x": {pair[1]}}}'),
    st.sampled_from(["", " ", "{", "[]", '{"id": 1}, {"id": 2}', '{"id": [{}', "{}]}", '{"id": 1}\r', "nul"]),
)


@given(st.lists(LINES, min_size=1, max_size=8))
def test_a_block_of_json_is_parsed_like_its_lines(lines):
    """Joined lines can be JSON where the lines are not: each line must stand for itself."""
    whole = parse_block(LineBlock(5, "\n".join(lines).encode()), "f", TableOptions())
    alone = [parse_block(LineBlock(5 + n, line.encode()), "f", TableOptions()) for n, line in enumerate(lines)]
    for name in ("id", "x"):
        assert whole.column(name) == [value for one in alone for value in one.column(name)]
    assert whole.slugs == [slug for one in alone for slug in one.slugs]
    assert whole.places.to_pylist() == [spot for one in alone for spot in one.places.to_pylist()]
    assert whole.ids("id") == [value for one in alone for value in one.ids("id")]


def test_the_short_way_is_taken_for_objects_alone():
    assert _all_objects([b'{"a": 1}', b"{}"]) == [{"a": 1}, {}]
    assert _all_objects([b'{"a": 1}', b"[]"]) is None
    assert _all_objects([b'{"a": 1}', b"{"]) is None


def test_numbers_come_as_they_are_written_where_digits_count(tmp_path, load):
    rows = [f'{{"id": {n}, "label": [{n}, 1.50], "size": {n}}}' for n in ("12345678901234567890123", "1.0", "7")]
    (tmp_path / "d.jsonl").write_text("\n".join(rows))
    got = load("jsonl", tmp_path / "d.jsonl", tabular={"size": "number"})
    assert [row["id"] for row in got] == ["12345678901234567890123", "1.0", "7"]
    assert [row["labels"] for row in got] == [["12345678901234567890123", "1.50"], ["1.0", "1.50"], ["7", "1.50"]]
    assert [row["num_size"] for row in got] == [12345678901234567890123.0, 1.0, 7.0]


@given(st.lists(st.none() | st.text(st.sampled_from("ab./\\:\0é"), max_size=7), max_size=5))
def test_references_that_look_harmless_are(uris):
    """The short way out of the check must let through nothing that the whole check refuses."""
    safe, refused = safe_references(pa.array(uris, pa.string()))
    one_by_one = [safe_references(pa.array([uri, "../x"], pa.string())) for uri in uris]
    assert safe.to_pylist() == [kept[0].as_py() for kept, _ in one_by_one]
    assert refused.to_pylist() == [bad[0].as_py() for _, bad in one_by_one]


@pytest.mark.parametrize("sizes", [[0, 1, 511, 512, 513], [3_000_000, 10, 2_000_000, 10, 10], [10] * 3000])
def test_a_window_finds_every_member(tmp_path, sizes):
    rng = np.random.default_rng(0)
    data = [rng.bytes(size) for size in sizes]
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for number, one in enumerate(data):
            add(archive, f"{number}.txt", one)
    options = READERS["webdataset"].options()
    members = list(tar_members(place(str(tmp_path / "a.tar")), options, keep=lambda name: True))
    assert [member.data for member in members] == data
    whole = (tmp_path / "a.tar").read_bytes()
    assert [whole[one.offset :][: one.length] for one in members[:9]] == data[:9]


def test_large_members_are_passed_over_unread(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for number in range(20):
            add(archive, f"{number}.jpg", bytes(1 << 20))

    class Counted(io.FileIO):
        taken = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size) or b""
            Counted.taken += len(data)
            return data

    with Counted(tmp_path / "a.tar") as file:
        window = Window(file)
        for number in range(20):
            assert window.get(number * ((1 << 20) + 512), 512).startswith(f"{number}.jpg".encode())
    assert Counted.taken < 20 * 20_000


def test_each_table_in_a_zip_has_a_header_of_its_own(tmp_path, load):
    with zipfile.ZipFile(tmp_path / "d.csv.zip", "w") as archive:
        archive.writestr("a.csv", 'id,text\n1,"open at the end\n')
        archive.writestr("b.csv", "text,id\nx,2\n")
        archive.writestr("c.csv", "")
    for quoting, first in ((True, ("1", "bad_row", None)), (False, ("1", "ok", '"open at the end'))):
        rows = load("csv", tmp_path, quoting=quoting)
        assert [(row["id"], row["status"], row["text"]) for row in rows] == [first, ("2", "ok", "x")]
        assert [row["source"] for row in rows] == ["d.csv.zip/a.csv:2", "d.csv.zip/b.csv:2"]


def test_lines_after_a_stray_quote_come_before_the_fault_behind_them(tmp_path, load):
    lines = ["id,text", '1,"open', "2,x", "3," + "y" * 2000, "4,z"]
    (tmp_path / "d.csv").write_text("\n".join(lines))
    rows = load("csv", tmp_path / "d.csv", max_line_bytes=1024)
    assert [(row["id"], row["status"]) for row in rows] == [
        ("1", "bad_row"), ("2", "ok"), ("3", "too_large"), ("4", "ok"),
    ]  # fmt: skip


def test_a_table_without_a_readable_header_is_marked_and_the_next_is_read(tmp_path, load):
    (tmp_path / "a.csv").write_text("i" * 5000 + "\n" + "j" * 5000)
    (tmp_path / "b.csv").write_text("id\n1\n")
    rows = load("csv", tmp_path, max_line_bytes=1024)
    assert [(row["id"], row["status"]) for row in rows] == [(None, "too_large"), (None, "too_large"), ("1", "ok")]


def test_records_without_names_are_as_wide_as_the_first(tmp_path, load):
    """Once the longest row of a batch decided, and every other row of that batch was bad."""
    (tmp_path / "d.csv").write_text("1,a\n2,b,c\n3,d\n")
    for batch_rows in (1, 4096):
        rows = load("csv", tmp_path / "d.csv", header=False, columns={"id": "0", "text": "1"}, batch_rows=batch_rows)
        assert [(row["id"], row["status"], row["text"]) for row in rows] == [
            ("1", "ok", "a"), ("2", "bad_row", None), ("3", "ok", "d"),
        ]  # fmt: skip


@pytest.mark.parametrize("preset", ["abo", "amazon"])
def test_a_bad_line_of_a_product_set_keeps_what_can_be_told(tmp_path, load, preset):
    name, keys = ("listings_0.json", ("item_id", "domain_name")) if preset == "abo" else ("meta_x.jsonl", ("asin",))
    row = dict.fromkeys(keys, "b1")
    (tmp_path / name).write_text(json.dumps(row) + "\n" + json.dumps(row).replace("b1", "b2") + "}\n")
    rows = load("products", tmp_path, preset=preset)
    ids = ["b1@b1", "b2@b2"] if preset == "abo" else ["b1", "b2"]
    assert [(row["id"], row["status"]) for row in rows] == list(zip(ids, ["ok", "bad_json"], strict=True))
