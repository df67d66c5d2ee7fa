"""What every reader promises, checked on a set in each layout; a new layout is tested by being listed."""

import bz2
import gzip
import io
import os
import shutil
import zipfile
from collections import Counter
from pathlib import Path

import pytest
import zstandard
from fixtures.layouts import LAYOUTS
from fixtures.pieces import JPEGS

from fuseline.stores.errors import ConfigError
from fuseline.tasks.documents.source_files import Listing
from fuseline.tasks.engine.images import ImageLimits, open_image
from fuseline.tasks.readers import READERS, image_root, published, registry_rows

ROWS = 60
FAILED = ROWS // 50  # what img2dataset could not download
NO_IMAGES = {"fasttext", "amazon"}  # no images, or URLs alone
BARE = {"abo": 3} | dict.fromkeys(
    ("img2dataset", "img2dataset_files", "img2dataset_parquet"), FAILED
)  # rows without image


@pytest.fixture(scope="session")
def sets(tmp_path_factory):
    """Write every layout once."""
    root = tmp_path_factory.mktemp("sets")
    for name, layout in LAYOUTS.items():
        layout.make(root / name, ROWS)
    return root


def rows_of(name: str, path: Path, **more: object) -> list[dict]:
    layout = LAYOUTS[name]
    entry = READERS[layout.reader]
    tables = list(entry.read(str(path), entry.options(**layout.options, **more)))
    assert all(0 < len(table) <= int(more.get("batch_rows", 4096)) for table in tables)
    return [row for table in tables for row in table.to_pylist()]


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_document_is_read_once(sets, name):
    rows = rows_of(name, sets / name)
    assert len(rows) == ROWS
    assert len({row["id"] for row in rows} - {None}) == ROWS
    slugs = Counter(row["status"] for row in rows)
    failed = BARE.get(name, 0) if name.startswith("img2dataset") else 0
    assert slugs == Counter({"ok": ROWS - failed, **({"failed_to_download": failed} if failed else {})})
    assert sum(bool(row["labels"]) for row in rows) >= ROWS * (0.8 if name != "webdataset" else 1)
    if name != "imagefolder":
        assert all(
            row["title"] or row["text"] or row["html"] or row["description"]
            for row in rows
            if row["split"] in ("train", None)
        )


@pytest.mark.parametrize("name", sorted(set(LAYOUTS) - NO_IMAGES))
def test_each_reference_leads_to_its_image(sets, name):
    layout = LAYOUTS[name]
    path = str(sets / name)
    options = READERS[layout.reader].options(**layout.options)
    listed = {file.uri for file in READERS[layout.reader].files(path, options)}
    rows = rows_of(name, sets / name)
    images = [row["image"] for row in rows if row["image"] is not None]
    assert len(images) == ROWS - BARE.get(name, 0)
    for image in images:
        assert open_image(image, image_root(path, options), ImageLimits()) in JPEGS
        assert image["uri"] is None or image["uri"] in listed
    copies = [row["image"] for row in rows_of(name, sets / name, images="copy")]
    assert [image["bytes"] for image in copies if image] == [
        open_image(image, image_root(path, options), ImageLimits()) for image in images
    ]


@pytest.mark.parametrize("name", LAYOUTS)
def test_neither_batches_nor_the_place_matter(sets, name, tmp_path):
    rows = rows_of(name, sets / name)
    assert rows_of(name, sets / name, batch_rows=7) == rows
    shutil.copytree(sets / name, tmp_path / "elsewhere")
    assert rows_of(name, tmp_path / "elsewhere") == rows


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_listing_is_stable_and_sees_a_change(sets, name, tmp_path):
    layout = LAYOUTS[name]
    shutil.copytree(sets / name, tmp_path / "set")
    entry = READERS[layout.reader]
    options = entry.options(**layout.options)
    first = list(entry.files(str(tmp_path / "set"), options))
    assert first
    assert list(entry.files(str(tmp_path / "set"), options)) == first
    for file in first:
        assert (tmp_path / "set" / file.uri).stat().st_size == file.size
    changed = tmp_path / "set" / first[0].uri
    changed.write_bytes(changed.read_bytes() + b"\n")
    assert list(entry.files(str(tmp_path / "set"), options)) != first


@pytest.mark.parametrize(
    "name",
    ["food101", "mmimdb", "petfinder", "webvision", "webvision2", "rakuten", "hateful_memes", "jsonl", "parquet"],
)
def test_the_releases_own_split_is_kept(sets, name):
    splits = Counter(row["split"] for row in rows_of(name, sets / name))
    three = {"train": ROWS * 8 // 10, "valid": ROWS // 10, "test": ROWS // 10}
    two = {"train": ROWS * 9 // 10, "test": ROWS // 10}
    assert splits == (two if name in ("food101", "petfinder", "rakuten") else three)


@pytest.mark.parametrize("name", ["food101", "mmimdb", "petfinder", "webvision", "webvision2", "pitt_ads"])
def test_vocabularies_hold_the_labels(sets, name):
    layout = LAYOUTS[name]
    entry = READERS[layout.reader]
    assert entry.vocabulary is not None
    names = entry.vocabulary(str(sets / name), entry.options(**layout.options))
    labels = {label for row in rows_of(name, sets / name) for label in row["labels"]}
    assert len(names) == len(set(names))
    assert labels <= set(names) or (name == "food101" and not names)


PACKINGS = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": zstandard.compress,
    ".zip": lambda data: zipped({"inner.csv": data}),  # the name inside says nothing
}


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", PACKINGS)
@pytest.mark.parametrize("name", ["webdataset", "img2dataset", "parquet", "fasttext", "flickrtag", "jsonl", "csv"])
def test_an_interchange_format_may_be_packed(sets, name, suffix, tmp_path):
    """The documents are those of the plain files; images of a packed archive come with their bytes."""
    shutil.copytree(sets / name, tmp_path / "set")
    for file in (tmp_path / "set").rglob("*"):
        if file.is_file() and file.suffix in ("", ".tar", ".parquet", ".txt", ".jsonl", ".csv"):
            file.with_name(file.name + suffix).write_bytes(PACKINGS[suffix](file.read_bytes()))
            file.unlink()
    layout = LAYOUTS[name]
    plain, packed = rows_of(name, sets / name), rows_of(name, tmp_path / "set")
    root = image_root(str(sets / name), READERS[layout.reader].options(**layout.options))

    def told(rows: list[dict], root: str) -> list[dict]:
        data = [row["image"] and open_image(row["image"], root, ImageLimits()) for row in rows]
        parts = ("id", "title", "text", "labels", "split", "status")[name == "fasttext" :]  # its ids name the file
        return [{**{part: row[part] for part in parts}, "image": one} for row, one in zip(rows, data, strict=True)]

    assert told(packed, str(tmp_path / "set")) == told(plain, root)
    assert len(packed) == ROWS


@pytest.mark.parametrize("name", LAYOUTS)
def test_file_names_that_are_no_text_end_no_run(sets, name, tmp_path):
    """Beside the first file of each kind lies a copy whose name is no UTF-8: what was read before still is."""
    shutil.copytree(sets / name, tmp_path / "set")
    kinds = {file.suffix: file for file in sorted((tmp_path / "set").rglob("*"), reverse=True) if file.is_file()}
    for suffix, file in kinds.items():
        shutil.copyfile(file, os.fsdecode(os.fsencode(file.with_suffix("")) + b"\xff" + suffix.encode()))
    rows = rows_of(name, tmp_path / "set")
    found = {row["id"] for row in rows}
    assert found >= {row["id"] for row in rows_of(name, sets / name)}
    layout = LAYOUTS[name]
    assert Listing.of(
        READERS[layout.reader].files(str(tmp_path / "set"), READERS[layout.reader].options(**layout.options))
    )


@pytest.mark.parametrize("reader", sorted(READERS))
def test_a_path_that_is_not_there_names_the_setting(tmp_path, reader):
    entry = READERS[reader]
    options = entry.options(**({"preset": "fashion"} if reader == "products" else {}))
    for call in (
        lambda: list(entry.read(str(tmp_path / "absent"), options)),
        lambda: list(entry.files(str(tmp_path / "absent"), options)),
    ):
        with pytest.raises(ConfigError, match=r"source\.path"):
            call()


def test_the_registry_lists_every_reader():
    rows = registry_rows()
    assert [row["name"] for row in rows] == sorted(READERS)
    assert all(set(row) == {"name", "summary", "weights"} and row["summary"] for row in rows)
    assert {layout.reader for layout in LAYOUTS.values()} == set(READERS)
    for name, layout in LAYOUTS.items():
        counts = published(layout.reader, READERS[layout.reader].options(**layout.options))
        assert all(isinstance(count, int) and count > 0 for count in counts.values()), name
