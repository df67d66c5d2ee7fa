"""Images that look the same are found, listed, and the first stays."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from fuseline.stores.places import open_root
from fuseline.stores.schemas import IMAGE
from fuseline.tasks.documents.assignment import SplitConfig
from fuseline.tasks.documents.documents_node import SourceConfig
from fuseline.tasks.documents.ingest import ingest, ingest_quarantine, scan
from fuseline.tasks.documents.ingest import stage as ingest_stage
from fuseline.tasks.documents.near_duplicates import DuplicatesConfig, ImageDuplicates, difference_hash
from fuseline.tasks.engine.nodes import Ingest


def picture(seed: int, *, size: int = 96, quality: int | None = None) -> bytes:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8))
    out = io.BytesIO()
    image = coarse.resize((size, size), Image.Resampling.BICUBIC)
    image.save(out, "JPEG" if quality else "PNG", **({"quality": quality} if quality else {}))
    return out.getvalue()


def images(*data: bytes | None) -> pa.ChunkedArray:
    rows = [None if d is None else {"uri": None, "offset": None, "length": None, "bytes": d} for d in data]
    return pa.chunked_array([pa.array(rows, IMAGE)])


def test_the_hash_is_a_comparison_of_neighbours():
    rising = np.broadcast_to(np.linspace(0, 250, 90, dtype=np.uint8)[None, :, None], (80, 90, 3))
    assert difference_hash(np.ascontiguousarray(rising)) == 0
    assert difference_hash(np.ascontiguousarray(rising[:, ::-1])) == 2**64 - 1


def test_another_size_and_format_of_a_picture_is_the_same_picture():
    finder = ImageDuplicates(DuplicatesConfig(images=True, distance=4), ".")
    hashes = finder.hashes(images(picture(1), picture(2), picture(1, size=130, quality=80), None, b"broken"))
    repeats = finder.repeats(hashes, np.arange(5, dtype=np.uint64))
    assert repeats.tolist() == [False, False, True, False, False]


def test_a_document_is_no_duplicate_of_itself():
    finder = ImageDuplicates(DuplicatesConfig(images=True), ".")
    hashes = finder.hashes(images(picture(1), picture(2)))
    finder.remember(pa.chunked_array([hashes]), np.array([7, 8], np.uint64))
    assert finder.repeats(hashes, np.array([7, 9], np.uint64)).tolist() == [False, True]


@pytest.mark.parametrize("distance", [0, 3])
def test_exact_copies_are_found_at_any_distance(distance: int):
    finder = ImageDuplicates(DuplicatesConfig(images=True, distance=distance), ".")
    hashes = finder.hashes(images(picture(1), picture(1)))
    assert finder.repeats(hashes, np.array([1, 2], np.uint64)).tolist() == [False, True]


def node_of(path: Path) -> Ingest:
    source = SourceConfig(path=str(path))
    chosen = {"shard_size": 2, "split": SplitConfig(), "duplicates": DuplicatesConfig(images=True)}
    return ingest_stage("x", source, **chosen)


def test_ingest_leaves_duplicates_out_lists_them_and_stays_at_that(tmp_path: Path):
    for name, seed in (("a", 1), ("b", 2), ("c", 1), ("d", 3)):
        (tmp_path / f"{name}.png").write_bytes(picture(seed))
    lines = [f'{{"id": "{name}", "image": "{name}.png", "label": "x"}}' for name in "abcd"]
    path = tmp_path / "documents.jsonl"
    path.write_text("\n".join([*lines, '{"id": "e", "label": "x"}']))
    node, root = node_of(path), open_root(tmp_path / "out")
    ingest(node, root, done=lambda report: None)
    dataset = node.dataset(root)
    ids = [i for record in dataset.records().values() for i in dataset.read(record, ("id",))["id"].to_pylist()]
    assert ids == ["a", "b", "d", "e"]
    listed = ingest_quarantine(node, root).to_pylist()
    assert [(row["id"], row["reason"]) for row in listed] == [("c", "duplicate_image")]
    path.write_text("\n".join([lines[2], *lines, '{"id": "e", "label": "x"}', '{"id": "f", "label": "x"}']))
    found = scan(node, root)
    assert (found.changed, found.new_rows) == ({}, 1)


def test_copies_of_known_documents_are_found_though_another_shard_is_lost(tmp_path: Path):
    for name, seed in (("a", 1), ("b", 2), ("c", 3), ("d", 1)):
        (tmp_path / f"{name}.png").write_bytes(picture(seed))
    lines = [f'{{"id": "{name}", "image": "{name}.png", "label": "x"}}' for name in "abcd"]
    path = tmp_path / "documents.jsonl"
    path.write_text("\n".join(lines[:3]))
    node, root = node_of(path), open_root(tmp_path / "out")
    ingest(node, root, done=lambda report: None)
    dataset = node.dataset(root)
    dataset.store.delete(dataset.record(1).name)
    path.write_text("\n".join(lines[::-1]))
    ingest(node, root, broken=frozenset({1}), done=lambda report: None)
    ids = [dataset.read(record, ("id",))["id"].to_pylist() for record in dataset.records().values()]
    assert ids == [["a", "b"], ["c"]]
    assert ingest_quarantine(node, root)["id"].to_pylist() == ["d"]
