"""Input that was made to hurt: each case is bounded in bytes and seconds, marked where it stands, and ends no run."""

import gzip
import json
import resource
import time
import zipfile
import zlib
from pathlib import Path

import pytest
import zstandard
from fixtures.pieces import put

SECONDS = 20  # of the processor; without the bounds each case takes minutes or never ends


@pytest.fixture
def bounded():
    """Fail when a case took too long, or made the process larger than it ever was by more than a block or two."""
    before, start = peak(), time.process_time()
    yield
    assert time.process_time() - start < SECONDS
    assert peak() - before < 250 << 20


def peak() -> int:
    """Return the most memory that this process ever held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def packed(piece: bytes, count: int) -> bytes:
    """Return `count` pieces in one gzip file, made without holding them."""
    maker = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([maker.compress(piece) for _ in range(count)]) + maker.flush()


class Endless:
    """A file of one repeated piece, made as it is read."""

    def __init__(self, head: bytes, piece: bytes, total: int, tail: bytes) -> None:
        self._parts = [head, *([piece] * (total // len(piece))), tail]

    def write(self, path: Path) -> Path:
        with path.open("wb") as file:
            for part in self._parts:
                file.write(part)
        return path


def told(rows, *names):
    return [tuple(row[name] for name in names) for row in rows]


@pytest.mark.parametrize("quote", [b"", b'"'])
def test_a_csv_field_of_300_mb(tmp_path, load, bounded, quote):
    """The issue's 1 GB field differs in nothing but time: what is over the line limit is dropped as it is read."""
    path = tmp_path / "d.csv"
    piece = b"x" * (1 << 20) if not quote else (b"x" * 1023 + b"\n") * 1024
    Endless(b"id,text\n1,a\n2," + quote, piece, 300 << 20 if not quote else 40 << 20, b"\n9,b\n").write(path)
    rows = load("csv", path, max_line_bytes=1 << 20)
    assert told(rows[:2], "id", "status") == [("1", "ok"), ("2", "bad_row" if quote else "too_large")]
    assert told(rows[-1:], "id", "status", "text") == [("9", "ok", "b")]


def test_a_gzip_bomb_in_a_gzip_bomb(tmp_path, load, bounded):
    inner = packed(bytes(1 << 20), 300)
    put(tmp_path / "d.jsonl.gz", inner)
    assert told(load("jsonl", tmp_path), "id", "status") == [(None, "bomb")]
    put(tmp_path / "d.jsonl.gz", gzip.compress(inner))  # unpacked once, it is no text
    assert {status for (status,) in told(load("jsonl", tmp_path), "status")} <= {
        "bad_encoding",
        "bad_json",
        "too_large",
    }


def test_many_bombs_in_one_zip(tmp_path, load, bounded):
    with zipfile.ZipFile(tmp_path / "a.jsonl.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jsonl", b"\n" * (100 << 20))
        archive.writestr("b.jsonl", '{"id": "1"}')
    rows = load("jsonl", tmp_path)
    assert told(rows, "id", "status") == [(None, "bomb"), ("1", "ok")]


def test_a_zstandard_window_of_gigabytes(tmp_path, load, bounded):
    params = zstandard.ZstdCompressionParameters(window_log=30, enable_ldm=True)
    data = zstandard.ZstdCompressor(compression_params=params).compress(b'{"id": "1"}\n' * 10)
    frame = zstandard.get_frame_parameters(data)
    put(tmp_path / "d.jsonl", data)
    rows = load("jsonl", tmp_path / "d.jsonl")
    assert len(rows) == (10 if frame.window_size <= 1 << 27 else 1)
    stream = b"\x28\xb5\x2f\xfd\x00\xa0" + b"\x01\x00\x00"  # a header that asks for a window of 1 GB
    put(tmp_path / "d.jsonl", stream)
    assert told(load("jsonl", tmp_path / "d.jsonl"), "status") == [("bad_file",)]


@pytest.mark.parametrize("piece", ["[", '{"a":', '"'])
def test_json_nested_or_open_10_000_deep(tmp_path, load, bounded, piece):
    put(tmp_path / "d.jsonl", '{"id": "1", "text": ' + piece * 10_000 + "\n" + '{"id": "2"}\n')
    assert told(load("jsonl", tmp_path / "d.jsonl"), "id", "status") == [("1", "bad_json"), ("2", "ok")]
    put(tmp_path / "m/dataset/0000001.json", piece * 10_000)
    assert told(load("mmimdb", tmp_path / "m"), "id", "status") == [("0000001", "bad_json")]


@pytest.mark.parametrize("depth", [900, 1000, 1015])
def test_json_as_deep_as_one_parser_goes_and_not_the_other(tmp_path, load, depth):
    put(tmp_path / "d.jsonl", '{"id": 1.5, "x": ' + "[" * depth + "]" * depth + '}\n{"id": "2"}\n')
    assert told(load("jsonl", tmp_path / "d.jsonl"), "id") in ([("1.5",), ("2",)], [(None,), ("2",)])


def test_half_a_surrogate_in_the_id_of_a_bad_line(tmp_path, load):
    """Found by fuzzing: such an id cannot be written as UTF-8, and took the whole run down."""
    put(tmp_path / "d.jsonl", '"id":"\\ud800"}\n{"id": "\\udc00"}\n"id": 123456789012345678901234567890}\n')
    assert told(load("jsonl", tmp_path / "d.jsonl"), "id", "status") == [
        (None, "bad_json"),
        (None, "bad_json"),
        ("123456789012345678901234567890", "bad_json"),
    ]


def test_html_nested_100_000_deep_is_carried_not_parsed(tmp_path, load, bounded):
    html = "<div>" * 100_000
    put(tmp_path / "d.jsonl", json.dumps({"id": "1", "html": html}) + "\n")
    assert told(load("jsonl", tmp_path / "d.jsonl"), "status", "html") == [("ok", html)]


def test_ids_and_labels_without_end(tmp_path, load, bounded):
    many = list(range(200_000))
    put(
        tmp_path / "d.jsonl", json.dumps({"id": "x" * 1_000_000, "label": many}) + "\n" + json.dumps({"id": "2"}) + "\n"
    )
    assert told(load("jsonl", tmp_path / "d.jsonl"), "id", "status") == [(None, "bad_id"), ("2", "ok")]


def test_an_escaped_quote_in_every_field_of_an_id(tmp_path, load, bounded):
    """The id of a bad line is searched with a pattern: it must not backtrack without end."""
    put(
        tmp_path / "d.jsonl",
        '{"id": "' + '\\"' * 30_000 + "\n" + '{"id" ' + ":" * 60_000 + "\n" + '{"id"' + " " * 60_000 + "\n",
    )
    assert told(load("jsonl", tmp_path / "d.jsonl"), "id", "status") == [(None, "bad_json")] * 3


def test_names_that_differ_only_in_unicode_form_are_two(tmp_path, load):
    put(tmp_path / "caf\u00e9.jpg", b"1")
    put(tmp_path / "cafe\u0301.jpg", b"2")
    rows = load("imagefolder", tmp_path, images="copy")
    assert {row["id"]: row["image"]["bytes"] for row in rows} == {"caf\u00e9.jpg": b"1", "cafe\u0301.jpg": b"2"}
    put(tmp_path / "d.jsonl", '{"id": "caf\u00e9"}\n{"id": "cafe\u0301"}\n')
    assert len({row["id"] for row in load("jsonl", tmp_path / "d.jsonl")}) == 2


def test_a_tar_header_that_promises_the_sky(tmp_path, load, bounded):
    import tarfile

    info = tarfile.TarInfo("a.txt")
    info.size = 1 << 40
    head = info.tobuf(tarfile.GNU_FORMAT)
    put(tmp_path / "a.tar", head + b"x" * 1024)
    assert told(load("webdataset", tmp_path), "status") == [("too_large",), ("bad_file",)]
    long = tarfile.TarInfo("././@LongLink")
    long.type, long.size = tarfile.GNUTYPE_LONGNAME, 1 << 40
    put(tmp_path / "a.tar", long.tobuf(tarfile.GNU_FORMAT) + b"x" * 1024)
    assert [status for (status,) in told(load("webdataset", tmp_path), "status")] in (["bad_file"], [])


def test_a_parquet_file_that_was_cut_and_patched(tmp_path, load, bounded):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(
        pa.table({"id": [str(row) for row in range(1000)], "text": ["x" * 50] * 1000}), tmp_path / "a.parquet"
    )
    whole = (tmp_path / "a.parquet").read_bytes()
    for step in range(40, len(whole), max(1, len(whole) // 60)):
        (tmp_path / "a.parquet").write_bytes(whole[:step] + b"\xff\xff\xff" + whole[step + 3 :])
        rows = load("parquet", tmp_path / "a.parquet", columns={"id": "#line"})
        assert rows


def test_a_zip_of_images_that_unpack_without_end(tmp_path, load, bounded):
    """Each image is within the limits, all together are not; the archive ends there and the next is read."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(12):
            archive.writestr(f"{number:02d}.jpg", bytes(16 << 20))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("1.jpg", b"x")
    rows = load("imagefolder", tmp_path)
    assert told(rows, "id", "status") == [
        *((f"a/{number:02d}.jpg", "ok") for number in range(4)),
        (None, "bomb"),
        ("b/1.jpg", "ok"),
    ]


def test_pickles_in_a_tar_are_carried_past(tmp_path, load):
    """WebDataset has fields that are pickles (.pyd, .pickle, .npy): none is opened."""
    import pickle
    import tarfile

    from fixtures.layouts_archives import add

    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "trapped",))

    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for field in ("pyd", "pickle", "npy", "pth"):
            add(archive, f"1.{field}", pickle.dumps(Trap()))
        add(archive, "1.txt", b"text")
    assert told(load("webdataset", tmp_path), "id", "text", "status") == [("1", "text", "ok")]
    assert not (tmp_path / "trapped").exists()
