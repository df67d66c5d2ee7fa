"""Nodes are values: equal ones name equal datasets."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from drive import CleanConfig, nodes

from fuseline.tasks.engine.nodes import Read, shard_nodes


def test_equal_nodes_have_equal_keys_wherever_the_source_lies():
    one, other = nodes(Path("/a/x.jsonl")), nodes(Path("/b/x.jsonl"))
    assert [node.key for node in one] == [node.key for node in other]


def test_a_key_follows_settings_version_weights_layout_and_everything_above():
    base = nodes(Path("x"))
    below = [node.name for node in base if node.name not in ("documents/x", "clean/title")]
    changed = nodes(Path("x"), cleaning=CleanConfig(suffix="!"))
    assert [a.name for a, b in zip(base, changed, strict=True) if a.key != b.key] == below
    for change in ({"version": 2}, {"weights": "w"}, {"layout": "zarr"}, {"name": "clean/y"}):
        assert replace(base.clean, **change).key != base.clean.key


def test_a_knob_is_no_part_of_the_key():
    assert nodes(Path("x"), cleaning=CleanConfig(workers=9)).clean.key == nodes(Path("x")).clean.key


def test_a_fit_is_upstream_of_what_it_serves():
    found = nodes(Path("x"))
    assert found.predictions.upstream == (found.clean, found.model)
    assert set(found.predictions.manifest.upstream) == {"clean/text", "models/longest"}


def test_decisive_columns_are_those_read_unless_others_are_named():
    node = nodes(Path("x")).documents
    assert Read(node, ("image",)).decisive == ("image",)
    assert Read(node, ("image",), ("image_digest",)).decisive == ("image_digest",)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("documents", "ingest/x"),
        ("clean", "clean/text"),
        ("model", "train/longest"),
        ("predictions", "predict/longest"),
    ],
)
def test_labels_are_flow_and_dataset(name, label):
    assert getattr(nodes(Path("x")), name).label == label


def test_a_node_travels_to_a_worker():
    node = nodes(Path("x")).predictions
    assert pickle.loads(pickle.dumps(node)) == node


def test_shard_nodes_leaves_out_fits_and_summaries():
    assert [node.name for node in shard_nodes(list(nodes(Path("x"))))] == [
        "documents/x", "clean/text", "clean/title", "embed/length", "predictions/longest"
    ]  # fmt: skip
