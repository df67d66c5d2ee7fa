"""An image is read once per version of its file."""

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
from drive import Source, counts, nodes, run
from PIL import Image

import fuseline.tasks.documents.image_digests
from fuseline.stores.schemas import IMAGE
from fuseline.tasks.documents.image_digests import ImageDigests
from fuseline.tasks.documents.ingest import ingest_quarantine
from fuseline.tasks.documents.source_files import Listing
from fuseline.tasks.readers import READERS, SourceFile
from fuseline.tasks.readers.base import image_array


@pytest.fixture
def opened(monkeypatch):
    """Count the images that are opened."""
    seen, real = [], fuseline.tasks.documents.image_digests.open_image
    monkeypatch.setattr(
        fuseline.tasks.documents.image_digests,
        "open_image",
        lambda image, *rest: (seen.append(image["uri"]), real(image, *rest))[1],
    )
    return seen


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data").mkdir()
    for i in range(3):
        Image.new("RGB", (4, 4), (i, 0, 0)).save(tmp_path / "data" / f"{i}.png")
    return tmp_path / "data"


def rows(n: int = 3):
    return [{"id": f"d{i}", "text": "t", "image": f"{i}.png"} for i in range(n)]


def digests(wanted, root) -> list[str | None]:
    dataset = wanted.documents.dataset(root)
    return dataset.read(dataset.record(0), ("image_digest",))["image_digest"].to_pylist()


def test_each_image_is_read_once(folder, root, opened):
    source = Source(folder / "x.jsonl")
    wanted = nodes(source.write(rows()))
    run([wanted.documents], root, look=False)  # as in a run: the ingest alone reads the source
    assert opened == ["0.png", "1.png", "2.png"]
    assert len(set(digests(wanted, root))) == 3
    opened.clear()
    source.write([*rows(), {"id": "d3", "text": "no image"}])
    run([wanted.documents], root)
    assert opened == []


def test_a_changed_image_changes_its_document_alone(folder, root, opened):
    wanted = nodes(Source(folder / "x.jsonl").write(rows()))
    run([wanted.documents], root)
    before = digests(wanted, root)
    opened.clear()
    Image.new("RGB", (5, 5)).save(folder / "1.png")
    os.utime(folder / "1.png", (2_000_000_000, 2_000_000_000))
    assert counts(run([wanted.documents], root)) == {"documents/x": (1, 1, 2)}
    assert set(opened) == {"1.png"}
    after = digests(wanted, root)
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]


@pytest.mark.parametrize("place", [("moved.bin", 7), ("pack.bin", 7 + 80)], ids=["file", "offset"])
def test_a_document_follows_its_image_to_another_place(folder, root, monkeypatch, place):
    """The same bytes elsewhere: a stage that reads the old place finds none, or others."""
    image = (folder / "0.png").read_bytes()
    for name in ("pack.bin", "moved.bin"):
        (folder / name).write_bytes(b"\0" * 7 + image.ljust(80, b"\0") + image)
    source, now = Source(folder / "x.jsonl"), ["pack.bin", 7]

    def read(path, options):
        for table in reader.read(path, options):
            images = image_array([now[0], None], offset=[now[1], None], length=[len(image), None])
            yield table.set_column(table.schema.get_field_index("image"), table.schema.field("image"), images)

    reader = READERS["jsonl"]
    monkeypatch.setitem(READERS, "jsonl", reader._replace(read=read))
    wanted = nodes(source.write([{"id": "d0", "text": "t"}, {"id": "d1", "text": "t"}]))
    run([wanted.documents], root)
    kept = digests(wanted, root)
    assert kept[0].startswith("xxh3:")
    now[:] = place
    source.write([{"id": "d0", "text": "t"}, {"id": "d1", "text": "t"}])
    assert counts(run([wanted.documents], root)) == {"documents/x": (1, 1, 1)}
    assert digests(wanted, root) == kept
    dataset = wanted.documents.dataset(root)
    (found, _) = dataset.read(dataset.record(0), ("image",))["image"].to_pylist()
    assert (found["uri"], found["offset"]) == place


def test_a_missing_image_has_its_reason_and_is_found_when_it_comes(folder, root):
    wanted = nodes(Source(folder / "x.jsonl").write(rows(4)))
    run([wanted.documents], root)
    assert digests(wanted, root)[3] == "no_image"
    assert ingest_quarantine(wanted.documents, root).num_rows == 0
    Image.new("RGB", (4, 4), (3, 0, 0)).save(folder / "3.png")
    assert counts(run([wanted.documents], root)) == {"documents/x": (1, 1, 3)}
    assert digests(wanted, root)[3].startswith("xxh3:")


def test_a_touched_image_is_the_same_document(folder, root):
    wanted = nodes(Source(folder / "x.jsonl").write(rows()))
    run([wanted.documents], root)
    os.utime(folder / "0.png", (2_000_000_000, 2_000_000_000))
    assert run([wanted.documents], root) == {}


def test_no_image_has_no_digest(folder, root):
    wanted = nodes(Source(folder / "x.jsonl").write([*rows(1), {"id": "d1", "text": "t"}]))
    run([wanted.documents], root)
    assert digests(wanted, root)[1] is None


def test_digests_of_another_version_are_made_again(folder, root, opened):
    wanted = nodes(Source(folder / "x.jsonl").write(rows()))
    run([wanted.documents], root, look=False)
    before = digests(wanted, root)
    kept = wanted.documents.dataset(root).folder.local() / "images.parquet"
    pq.write_table(pa.table({"stat": ["0.png None None 1 1"], "digest": ["xxh3:0"]}), kept)
    os.utime(folder / "x.jsonl", (2_000_000_000, 2_000_000_000))
    opened.clear()
    assert run([wanted.documents], root, look=False) == {}
    assert opened == ["0.png", "1.png", "2.png"]
    assert digests(wanted, root) == before
    assert pq.read_table(kept).num_rows == 3


def test_parts_of_an_archive_are_told_apart_and_known_again(tmp_path):
    """Members of one file differ by their place; bytes that were copied in are read each time, for nothing is saved."""
    (tmp_path / "a.tar").write_bytes(b"onetwo")
    at = [("a.tar", 0, 3, None), ("a.tar", 3, 3, None), ("a.tar", None, None, None), ("gone", 0, 1, None), None]
    at += [(None, None, None, b"two")]
    names = ("uri", "offset", "length", "bytes")
    images = pa.chunked_array([pa.array([one and dict(zip(names, one, strict=True)) for one in at], IMAGE)])
    listing = Listing.of([SourceFile("a.tar", 6, 1), SourceFile("other", 6, 1)])
    first = ImageDigests.load(None, listing, root=str(tmp_path))
    told = first.of(images).to_pylist()
    want = [f"xxh3:{xxhash.xxh3_128_hexdigest(data)}" for data in (b"one", b"two", b"onetwo")]
    assert told == [*want, "no_image", None, want[1]]
    known = first.table()
    (tmp_path / "a.tar").write_bytes(b"xxxyyy")  # unseen: the listing says that the file is the same
    again = ImageDigests.load(known, listing, root=str(tmp_path))
    assert again.of(images).to_pylist() == told
    later = ImageDigests.load(known, Listing.of([SourceFile("a.tar", 6, 2)]), root=str(tmp_path))
    assert later.of(images)[0].as_py() == f"xxh3:{xxhash.xxh3_128_hexdigest(b'xxx')}"
