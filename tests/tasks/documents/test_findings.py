"""What is told of a source beside its rows (R4): listed, counted, and no row and no document more or less."""

import logging
import tarfile
from collections import Counter

import pytest
from fixtures.layouts import LAYOUTS
from fixtures.layouts_archives import add
from fixtures.pieces import JPEGS, dump, put

import fuseline.tasks.documents.findings
from fuseline.stores.errors import DataError
from fuseline.stores.forgotten import Forgotten
from fuseline.stores.places import open_root
from fuseline.tasks.documents.assignment import SplitConfig
from fuseline.tasks.documents.documents_node import SourceConfig
from fuseline.tasks.documents.ingest import ingest, ingest_quarantine
from fuseline.tasks.documents.ingest import stage as ingest_stage
from fuseline.tasks.documents.side_files import found_beside

USUAL = {"petfinder": {"no_sentiment"}}  # what a layout lacks as the release does


@pytest.fixture
def caplog(caplog, monkeypatch):
    """Collect the lines for the user, which the command line keeps from other loggers."""
    monkeypatch.setattr(logging.getLogger("fuseline"), "propagate", True)
    caplog.set_level("INFO")
    return caplog


def found(reader, path, out, **options):
    """Ingest, and return (finding, source, id) in order."""
    source = SourceConfig(reader=reader, path=str(path), options=options)
    node = ingest_stage("x", source, shard_size=16, split=SplitConfig())
    ingest(node, open_root(out), done=lambda report: None)
    assert ingest_quarantine(node, open_root(out)).num_rows == 0
    return [tuple(row.values()) for row in found_beside(node.dataset(open_root(out))).to_pylist()]


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_whole_release_has_nothing_to_tell(name, tmp_path):
    layout = LAYOUTS[name]
    layout.make(tmp_path / "set", 40)
    rows = found(layout.reader, tmp_path / "set", tmp_path / "root", **layout.options)
    assert {slug for slug, _, _ in rows} == USUAL.get(name, set())


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("csv", "images"), ("jsonl", "images"), ("parquet", "images"), ("fashion", "images"), ("hateful_memes", "img"),
        ("rakuten", "images/image_train"), ("pitt_ads", "3"), ("flickrtag", "images"), ("webvision", "google/q0001"),
        ("ads_parallelity", "images"),
    ],
)  # fmt: skip
def test_images_without_a_row(name, folder, tmp_path, caplog):
    layout = LAYOUTS[name]
    layout.make(tmp_path / "set", 40)
    for number in range(5):
        put(tmp_path / "set" / folder / f"stray-{number}.jpg", JPEGS[0])
    rows = found(layout.reader, tmp_path / "set", tmp_path / "root", **layout.options)
    assert rows == [("no_row", f"{folder}/stray-{number}.jpg", None) for number in range(5)]
    told = ", ".join(f"{folder}/stray-{number}.jpg" for number in range(3))
    assert f"ingest/x: 5 files that no row refers to (no_row); first: {told}" in caplog.text


@pytest.mark.parametrize("kept", [False, True])
def test_images_in_tars_without_a_row(kept, tmp_path):
    """Those alone that no list names: no other image, and nothing twice where the tars were unpacked and kept."""
    LAYOUTS["webvision_tars"].make(tmp_path / "set", 40)
    tar = tmp_path / "set/google_resized_256.tar"
    with tarfile.open(tar, "a") as archive:
        for name in ("google/q0001/stray.jpg", "google/q0001/._stray.jpg", "other/x.jpg", "google/q0001/stray.txt"):
            add(archive, name, JPEGS[0])
    if kept:
        with tarfile.open(tar) as archive:
            archive.extract("google/q0001/i0.jpg", tmp_path / "set", filter="data")
    rows = found("webvision", tmp_path / "set", tmp_path / "root")
    assert rows == [("no_row", "google_resized_256.tar:google/q0001/stray.jpg", None)]
    for number, options in enumerate(({"sources": ["google"]}, {"images": "copy"})):
        assert found("webvision", tmp_path / "set", tmp_path / f"root{number}", **options) == []


def test_many_are_counted_and_the_first_listed(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(fuseline.tasks.documents.findings, "LISTED", 4)
    put(tmp_path / "set/d.csv", "id,image\n1,0.jpg\n")
    for number in range(10):
        put(tmp_path / f"set/{number}.jpg", JPEGS[0])
    rows = found("csv", tmp_path / "set", tmp_path / "root")
    assert rows == [*(("no_row", f"{n}.jpg", None) for n in (1, 2, 3, 4)), ("no_row", "and 5 more", None)]
    assert "9 files that no row refers to" in caplog.text


def test_images_that_others_may_list_are_no_strays(tmp_path):
    """One file of several, images of another root, and a choice of the rows say nothing of the other images."""
    put(tmp_path / "set/train.csv", "id,image\n1,a.jpg\n")
    put(tmp_path / "set/test.csv", "id,image\n2,b.jpg\n")
    for name in ("a", "b"):
        put(tmp_path / f"set/{name}.jpg", JPEGS[0])
        put(tmp_path / f"all/{name}.jpg", JPEGS[0])
    assert found("csv", tmp_path / "set/train.csv", tmp_path / "root") == []
    put(tmp_path / "one/train.csv", "id,image\n1,a.jpg\n")
    assert found("csv", tmp_path / "one", tmp_path / "root1", root=str(tmp_path / "all")) == []
    LAYOUTS["hateful_memes"].make(tmp_path / "memes", 40)
    put(tmp_path / "memes/img/stray.png", JPEGS[0])
    assert found("products", tmp_path / "memes", tmp_path / "root2", preset="hateful_memes", dev="seen") == []


def test_forgotten_documents_leave_no_trace(tmp_path):
    put(tmp_path / "set/d.csv", "id,image\nann,ann.jpg\nbob,bob.jpg\n")
    for name in ("ann", "bob"):
        put(tmp_path / f"set/{name}.jpg", JPEGS[0])
    pets = "PetID,Description,PhotoAmt\nann,text,3\nbob,text,0\n"
    put(tmp_path / "pets/train/train.csv", pets)
    put(tmp_path / "pets/train_images/ann-1.jpg", JPEGS[0])
    Forgotten.load(open_root(tmp_path / "root")).with_ids(["ann"]).save(open_root(tmp_path / "root"))
    source = SourceConfig(reader="csv", path=str(tmp_path / "set"))
    for reader, folder in (("csv", "set"), ("petfinder", "pets")):
        source = SourceConfig(reader=reader, path=str(tmp_path / folder))
        node = ingest_stage("x", source, shard_size=16, split=SplitConfig())
        ingest(node, open_root(tmp_path / "root"), done=lambda report: None)
        assert found_beside(node.dataset(open_root(tmp_path / "root"))).num_rows == 0


def test_metadata_that_does_not_list_an_image(tmp_path):
    put(tmp_path / "set/train/metadata.csv", "file_name,text\na.jpg,x\n")
    for name in ("train/a", "train/b", "test/c"):
        put(tmp_path / f"set/{name}.jpg", JPEGS[0])
    rows = found("imagefolder", tmp_path / "set", tmp_path / "root")
    assert rows == [("no_row", "test/c.jpg", None), ("no_row", "train/b.jpg", None)]


def test_texts_without_an_image(tmp_path):
    LAYOUTS["food101"].make(tmp_path / "set/release", 40)
    put(tmp_path / "set/release/texts_txt/apple_pie1/apple_pie1_999.txt", "x")
    rows = found("food101", tmp_path / "set", tmp_path / "root")
    assert rows == [("no_image", "release/texts_txt/apple_pie1/apple_pie1_999.txt", None)]


def test_lines_of_yfcc_that_belong_to_no_row(tmp_path, caplog):
    LAYOUTS["yfcc_first"].make(tmp_path / "set", 40)
    first = (tmp_path / "set/yfcc100m_hash").read_text().partition("\n")[0]
    with (tmp_path / "set/yfcc100m_hash").open("a") as stream:
        stream.write(f"{first}\n5\tabc\n\nno pair\n")
    put(tmp_path / "set/data/images/stray.jpg", JPEGS[0])
    rows = found("yfcc", tmp_path / "set", tmp_path / "root", **LAYOUTS["yfcc_first"].options)
    assert rows == [
        *(("extra_line", f"yfcc100m_hash:{line}", None) for line in (41, 42, 44)),
        ("no_row", "data/images/stray.jpg", None),
    ]
    told = "3 lines of files beside the metadata that belong to no row (extra_line); first: yfcc100m_hash:41"
    assert f"ingest/x: {told}" in caplog.text


def pets(path):
    """Write three pets: a has two photos and all that belongs to it, b says three photos, c has no description."""
    put(path / "train/train.csv", "PetID,Description,PhotoAmt\na,text,2.0\nb,text,3\nc,,0\nd,text,\n")
    for photo in ("a-1", "a-2", "b-1"):
        put(path / f"train_images/{photo}.jpg", JPEGS[0])
        put(path / f"train_metadata/{photo}.json", "{}")
    put(path / "train_sentiment/a.json", dump({"documentSentiment": {"score": 0.5, "magnitude": 1}}))
    return path


def test_petfinder_photos_and_sentiments(tmp_path, caplog):
    pets(tmp_path / "set")
    put(tmp_path / "set/train_sentiment/b.json", "{")
    put(tmp_path / "set/train_sentiment/x.json", "{}")
    put(tmp_path / "set/train_metadata/a-2.json", "[]")
    put(tmp_path / "set/train_metadata/y-1.json", "{}")
    put(tmp_path / "set/test_images/z-1.jpg", JPEGS[0])
    assert found("petfinder", tmp_path / "set", tmp_path / "root") == [
        ("bad_metadata", "train_metadata/a-2.json", "a-2"),
        ("bad_sentiment", "train_sentiment/b.json", "b"),
        ("no_row", "test_images/z-1.jpg", None),
        ("no_row", "train_sentiment/x.json", None),
        ("no_row", "train_metadata/y-1.json", None),
        ("no_sentiment", "train/train.csv:5", "d"),
        ("photo_count", "train/train.csv:3", "b"),
    ]
    assert "1 rows whose photo count differs from their photos (photo_count); first: train/train.csv:3" in caplog.text


def test_petfinder_without_photos_or_sentiments_misses_none(tmp_path):
    put(tmp_path / "set/train/train.csv", "PetID,Description,PhotoAmt\na,text,2.0\n")
    assert found("petfinder", tmp_path / "set", tmp_path / "root") == []


@pytest.mark.parametrize(
    ("file", "what"),
    [("train_sentiment/x.json", "sentiments"), ("train_images/x-1.jpg", "photos"), ("train_metadata/x-1.json", "meta")],
)
def test_companions_that_match_nothing_are_an_error(file, what, tmp_path):
    put(tmp_path / "set/train/train.csv", "PetID,Description\na,text\n")
    put(tmp_path / "set" / file, "{}")
    with pytest.raises(DataError, match=rf"{what}.* of PetFinder: expected .*, got '{file}'; take both"):
        found("petfinder", tmp_path / "set", tmp_path / "root")


def test_findings_of_each_kind_are_counted_apart(tmp_path):
    pets(tmp_path / "set")
    counts = Counter(slug for slug, _, _ in found("petfinder", tmp_path / "set", tmp_path / "root"))
    assert counts == {"no_sentiment": 2, "photo_count": 1}
