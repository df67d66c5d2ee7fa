"""Checkpoints: written whole, then recorded; the old one serves until then."""

import errno
from pathlib import Path

import numpy as np
import pytest
from faults import Killed, caught, failing, flip

from fuseline.stores.digests import file_digest
from fuseline.stores.errors import DamagedError, DataError, StorageError
from fuseline.stores.fitted import Fitted, FittedRecord
from fuseline.stores.manifest import Manifest
from fuseline.stores.places import local, open_root
from fuseline.stores.root import Root

SEEN = {"n_rows": 7, "shards": {"0": "xxh3:1"}, "fitted": {}, "facts": {"loss": np.float32(0.5)}}


def fitted(root: Root) -> Fitted:
    return Fitted(root, Manifest("models/text", 1, {"dim": 2}, {"clean/text": "k"}, "parquet"))


def save(value: bytes):
    def write(folder: Path) -> None:
        (folder / "model.json").write_bytes(b"{}")
        (folder / "weights.safetensors").write_bytes(value)

    return write


def weights(root: Root) -> bytes | None:
    found = fitted(root).record()
    return None if found is None else fitted(root).saved(found).get("weights.safetensors")


def test_a_checkpoint_comes_back(tmp_path):
    assert fitted(open_root(tmp_path)).record() is None
    assert fitted(open_root(tmp_path)).damaged() == []
    record = fitted(open_root(tmp_path)).commit(save(b"one"), **SEEN)
    assert fitted(open_root(tmp_path)).record() == record
    assert (record.n_rows, record.shards, record.facts) == (7, {"0": "xxh3:1"}, {"loss": 0.5})
    assert weights(open_root(tmp_path)) == b"one"
    assert fitted(open_root(tmp_path)).damaged() == []
    written = Manifest.from_bytes((fitted(open_root(tmp_path)).folder.local() / "manifest.json").read_bytes())
    assert written == fitted(open_root(tmp_path)).manifest


def test_a_refit_has_another_digest_only_when_bytes_differ(tmp_path):
    first = fitted(open_root(tmp_path)).commit(save(b"one"), **SEEN)
    assert fitted(open_root(tmp_path)).commit(save(b"one"), **SEEN).digest == first.digest
    second = fitted(open_root(tmp_path)).commit(save(b"two"), **SEEN)
    assert second.digest != first.digest
    assert weights(open_root(tmp_path)) == b"two"
    assert not (fitted(open_root(tmp_path)).folder.local() / "new").exists()


def test_a_checkpoint_that_is_intact_is_not_replaced(tmp_path):
    record = fitted(open_root(tmp_path)).commit(save(b"one"), **SEEN)
    folder = fitted(open_root(tmp_path)).folder.local(record.name)
    before = folder.stat().st_ino
    fitted(open_root(tmp_path)).commit(save(b"one"), **{**SEEN, "n_rows": 8})
    assert folder.stat().st_ino == before
    (folder / "model.json").write_bytes(b"[]")
    fitted(open_root(tmp_path)).commit(save(b"one"), **SEEN)
    assert fitted(open_root(tmp_path)).damaged() == []


def test_damage_is_found(tmp_path):
    record = fitted(open_root(tmp_path)).commit(save(b"one"), **SEEN)
    file = fitted(open_root(tmp_path)).folder.local(f"{record.name}/weights.safetensors")
    file.write_bytes(b"eno")
    assert fitted(open_root(tmp_path)).damaged() == [f"{record.name}/weights.safetensors"]
    assert fitted(open_root(tmp_path)).record() == record
    file.unlink()
    assert fitted(open_root(tmp_path)).record() is None
    assert fitted(open_root(tmp_path)).damaged() == [f"{record.name}/weights.safetensors"]


def test_a_checkpoint_whose_bytes_differ_is_not_opened(tmp_path):
    record = fitted(open_root(tmp_path)).commit(save(b"one"), **SEEN)
    folder = fitted(open_root(tmp_path)).folder.local(record.name)
    flip(folder / "weights.safetensors")
    for _ in range(2):
        with pytest.raises(DamagedError, match=r"weights.safetensors: its bytes differ .*; run `fuseline repair`"):
            fitted(open_root(tmp_path)).saved(record)
    assert not fitted(open_root(tmp_path)).intact(record)
    (folder / "weights.safetensors").write_bytes(b"one")
    assert fitted(open_root(tmp_path)).saved(record).root.local(record.name) == folder
    assert fitted(open_root(tmp_path)).intact(record)


def test_a_checkpoint_is_read_for_its_digest_once(tmp_path, monkeypatch):
    record = fitted(open_root(tmp_path)).commit(save(b"one"), **SEEN)
    read: list[str] = []
    monkeypatch.setattr(local, "file_digest", lambda path: read.append(path.name) or file_digest(path))
    for _ in range(3):
        fitted(open_root(tmp_path)).saved(record)
    assert sorted(read) == ["model.json", "weights.safetensors"]


def test_forget_makes_it_unfitted(tmp_path):
    fitted(open_root(tmp_path)).commit(save(b"one"), **SEEN)
    (fitted(open_root(tmp_path)).folder.local() / "record.json").write_bytes(b"{")
    assert fitted(open_root(tmp_path)).damaged() == ["record.json"]
    fitted(open_root(tmp_path)).drop()
    fitted(open_root(tmp_path)).drop()
    assert fitted(open_root(tmp_path)).record() is None


def test_another_format_version_is_refused(tmp_path):
    record = fitted(open_root(tmp_path)).commit(save(b"one"), **SEEN)
    with pytest.raises(DataError, match="checkpoint record format: expected 1, got 9"):
        FittedRecord.from_bytes(record.to_bytes().replace(b'"format": 1', b'"format": 9'))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"format": 1}'])
def test_a_broken_record_is_a_data_error(tmp_path, data):
    fitted(open_root(tmp_path)).commit(save(b"one"), **SEEN)
    (fitted(open_root(tmp_path)).folder.local() / "record.json").write_bytes(data)
    with pytest.raises(DataError, match="checkpoint record"):
        fitted(open_root(tmp_path)).record()


@pytest.mark.parametrize("new", [b"one", b"two"])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("error", [Killed(), KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")], ids=repr)
def test_a_failure_at_any_call_leaves_the_old_checkpoint_or_the_new(new, after, error, tmp_path):
    for calls in range(1, 200):
        root = open_root(tmp_path / str(calls))
        fitted(root).commit(save(b"one"), **SEEN)
        with failing(calls, error, after=after) as countdown:
            raised = caught(lambda root=root: fitted(root).commit(save(new), **SEEN))
        assert raised is None or isinstance(raised, StorageError | Killed | KeyboardInterrupt)
        assert weights(root) in (b"one", new)
        assert fitted(root).damaged() == []
        if not countdown.fired:
            break
        fitted(root).commit(save(new), **SEEN)
        assert weights(root) == new
    assert 3 < calls < 199


def test_the_last_checkpoint_is_known_without_a_record_where_there_is_one_alone(tmp_path):
    one = fitted(open_root(tmp_path))
    assert one.last_name() is None
    first = one.commit(save(b"one"), **SEEN)
    assert one.last_name() == first.name
    (one.folder.local() / "record.json").unlink()
    assert one.last_name() == first.name
    second = one.commit(save(b"two"), **SEEN)
    assert one.last_name() == second.name != first.name
    (one.folder.local() / "record.json").unlink()
    assert one.last_name() is None


def test_what_is_dropped_is_lost_and_what_it_was_is_known(tmp_path):
    one = fitted(open_root(tmp_path))
    assert not one.is_lost()
    record = one.commit(save(b"one"), **SEEN)
    assert not one.is_lost()
    one.drop()
    assert one.record() is None
    assert one.is_lost()
    assert one.last() == record
    one.commit(save(b"one"), **SEEN)
    (one.folder.local() / "record.json").write_bytes(b"{")
    one.drop()
    assert not (one.folder.local() / "record.json").exists()
    assert one.is_lost()
    assert one.last_name() == record.name


def test_the_digest_of_a_checkpoint_covers_names_and_bytes(tmp_path):
    def saving(**files: bytes):
        return lambda folder: [(folder / name).write_bytes(data) for name, data in files.items()]

    different = [{"a": b"1"}, {"a": b"2"}, {"b": b"1"}, {"a": b"1", "b": b"2"}, {"a": b"2", "b": b"1"}]
    digests = [fitted(open_root(tmp_path)).commit(saving(**files), **SEEN).digest for files in different]
    assert len(set(digests)) == len(different)
