"""Large input is read in flat memory, and costs a row and not the file where it is over a limit."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures.pieces import put

from fuseline.tasks.readers import streams
from fuseline.tasks.readers.base import ReaderOptions

LIMIT = 1 << 16
READ = """
for table in READERS[{reader!r}].read({path!r}, READERS[{reader!r}].options(**{options})):
    rows += len(table)
    slugs.update(table["status"].to_pylist())
"""
INGEST = """
source = SourceConfig(reader={reader!r}, path={path!r})
node = ingest_stage("x", source, shard_size=4096, split=SplitConfig())
for report in reports(node, open_root({root!r})):
    rows += report.n_rows
"""
SCRIPT = """
import json, resource
from pathlib import Path
from fuseline.tasks.documents.assignment import SplitConfig
from fuseline.tasks.documents.documents_node import SourceConfig
from fuseline.stores.places import open_root
from fuseline.tasks.documents.ingest import ingest, stage as ingest_stage
from fuseline.tasks.engine.nodes import Ingest
from fuseline.tasks.readers import READERS
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
def reports(node, root):
    found = []
    ingest(node, root, done=found.append)
    return found
rows, slugs, before = 0, set(), peak()
{work}
print(json.dumps([rows, sorted(slugs), peak() - before]))
"""


def child(work: str, **names: object) -> tuple[int, list[str], int]:
    """Read or ingest in a process of its own; return rows, statuses, and the bytes that its peak grew by."""
    told = {"options": "{}", **{name: str(value) for name, value in names.items()}}
    script = SCRIPT.replace("{work}", work.format(**told))
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return tuple(json.loads(found.stdout))


def write(path: Path, head: bytes, piece: bytes, size: int, tail: bytes) -> Path:
    with path.open("wb") as file:
        file.write(head)
        for _ in range(size // len(piece)):
            file.write(piece)
        file.write(tail)
    return path


PIECES = {
    "one line": b"x" * 4096,
    "lines": (b"x" * 63 + b"\n") * 64,
    "short lines": b"x\n" * 2048,
    "lines like rows": b"1,a\n" * 1024,
    "doubled quotes": b'""\n' * 1024,
    "quoted fields": b'a","b\n' * 1024,
}


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("end", [b'"\n', b'"\r\n', b'","b"\n'])
def test_a_quoted_field_over_the_limit_is_one_row(tmp_path, load, piece, end):
    """Each of its lines was a `bad_row`: 26 million of them for a field of 50 MB."""
    write(tmp_path / "d.csv", b'id,text\n1,a\n2,"', PIECES[piece], 4 << 20, end + b"3,b\n4,c\n")
    rows = load("csv", tmp_path / "d.csv", max_line_bytes=LIMIT)
    assert [(row["id"], row["status"]) for row in rows] == [("1", "ok"), ("2", "too_large"), ("3", "ok"), ("4", "ok")]
    lines = PIECES[piece].count(b"\n") * ((4 << 20) // len(PIECES[piece]))
    assert rows[2]["source"] == f"d.csv:{4 + lines}"


@pytest.mark.parametrize("end", [b"", b'"x\n', b'" ,\n'])
def test_a_quote_that_does_not_close_costs_its_line_alone(tmp_path, load, end):
    write(tmp_path / "d.csv", b'id,text\n1,a\n2,"', b"x,y\n" * 1024, 1 << 19, end + b"3,b\n")
    rows = load("csv", tmp_path / "d.csv", max_line_bytes=LIMIT)
    assert [(row["id"], row["status"]) for row in rows[:2]] == [("1", "ok"), ("2", "bad_row")]
    assert [row["status"] for row in rows[2 : -2 if end else -1]] == ["ok"] * ((1 << 19) // 4 - 1)
    assert (rows[-1]["id"], rows[-1]["text"]) == ("3", "b")
    assert rows[-1]["source"] == f"d.csv:{len(rows) + 1}"


def test_two_large_fields_and_a_stray_quote(tmp_path, load):
    large = b'"' + b"x\n" * (1 << 19) + b'"'
    data = b"id,text\n1," + large + b"\n2," + large + b"\n3,b\n" + b'4,"open\n5,c\n6,d\n'
    put(tmp_path / "d.csv", data)
    rows = load("csv", tmp_path / "d.csv", max_line_bytes=LIMIT)
    assert [(row["id"], row["status"]) for row in rows] == [
        *(("1", "too_large"), ("2", "too_large"), ("3", "ok"), ("4", "bad_row"), ("5", "ok"), ("6", "ok")),
    ]


def test_what_is_looked_at_in_vain_is_bounded(tmp_path, load, monkeypatch):
    monkeypatch.setattr("fuseline.tasks.readers.records.REREAD", 1 << 18)
    monkeypatch.setattr(streams, "BLOCK", 1 << 16)
    write(tmp_path / "d.csv", b'id,text\n1,a\n2,"', b"3,y\n" * 1024, 1 << 20, b'"\n9,b\n')
    rows = load("csv", tmp_path / "d.csv", max_line_bytes=LIMIT)
    assert len(rows) == 2 + (1 << 20) // 4 + 1
    assert (rows[-1]["id"], rows[-1]["status"]) == ("9", "ok")


def test_a_block_holds_a_bounded_number_of_lines(monkeypatch):
    monkeypatch.setattr(streams, "LINES", 5)
    for count in range(40):
        for size in (0, 1, 7):
            data = b"\n".join([b"x" * size] * count)
            got = list(streams.blocks(io.BytesIO(data), ReaderOptions()))
            lines: list[bytes] = []
            for block in got:
                assert block.first == len(lines) + 1
                lines += block.data.split(b"\n")
            assert b"\n".join(lines) == data.removesuffix(b"\n")
            assert not size or max([0, *(block.data.count(b"\n") for block in got)]) <= 10


@pytest.mark.slow
@pytest.mark.parametrize("piece", PIECES)
def test_a_quoted_field_of_50_mb(tmp_path, piece):
    write(tmp_path / "d.csv", b'id,text\n1,a\n2,"', PIECES[piece], 50 << 20, b'"\n3,b\n')
    rows, slugs, memory = child(READ, reader="csv", path=tmp_path / "d.csv")
    assert (rows, slugs) == (3, ["ok", "too_large"])
    assert memory < 150 << 20


@pytest.mark.slow
@pytest.mark.parametrize(("reader", "name"), [("fasttext", "d.txt"), ("csv", "d.csv"), ("jsonl", "d.jsonl")])
def test_20_million_lines_are_read_in_flat_memory(tmp_path, reader, name):
    line = {"fasttext": b"a\n", "csv": b"1,a\n", "jsonl": b'{"id":1}\n'}[reader]
    write(tmp_path / name, b"id,text\n" if reader == "csv" else b"", line * 1000, 20_000_000 * len(line), b"")
    rows, slugs, memory = child(READ, reader=reader, path=tmp_path / name)
    assert (rows, slugs) == (20_000_000, ["ok"])
    assert memory < 150 << 20


@pytest.mark.slow
def test_3_million_hashes_in_another_order_are_joined_in_flat_memory(tmp_path):
    rows, blank = 3_000_000, "\t" * 21
    with (tmp_path / "yfcc100m_dataset").open("w") as lines, (tmp_path / "yfcc100m_hash").open("w") as hashes:
        for row in range(rows):
            lines.write(f"{row}{blank}\t0\n")
            one = row * 7919 % rows
            hashes.write(f"{one}\t{one:032x}\n")
    options = {"hashes": "yfcc100m_hash"}
    found, slugs, memory = child(READ, reader="yfcc", path=tmp_path, options=options)
    assert (found, slugs) == (rows, ["ok"])
    assert memory < 250 << 20


@pytest.mark.slow
def test_the_hdf5_release_is_ingested_in_a_gigabyte(tmp_path):
    """Its posters are 3 GB of bytes in the documents, 500 MB a shard, which was held three times over."""
    h5py, np = pytest.importorskip("h5py"), pytest.importorskip("numpy")
    rows = 12_288
    with h5py.File(tmp_path / "multimodal_imdb.hdf5", "w") as file:
        file.create_dataset("images", (rows, 3, 256, 160), dtype="int32")
        genres = file.create_dataset("genres", data=np.eye(23, dtype="int32")[np.arange(rows) % 23])
        genres.attrs["target_names"] = json.dumps([f"genre {index}" for index in range(23)])
        file.create_dataset("imdb_ids", data=np.array([b"%07d" % row for row in range(rows)], dtype="S7"))
    path = tmp_path / "multimodal_imdb.hdf5"
    found, _, memory = child(INGEST, reader="mmimdb", path=path, root=tmp_path / "root")
    assert found == rows
    assert memory < 800 << 20
