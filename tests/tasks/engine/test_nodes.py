"""Nodes are values: equal ones name equal datasets."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from drive import CleanConfig, nodes

from fuseline.tasks.engine.nodes import Read, ordered, over


def test_equal_nodes_have_equal_keys_wherever_the_source_lies():
    one, other = nodes(Path("/a/x.jsonl")), nodes(Path("/b/x.jsonl"))
    assert [node.key for node in one] == [node.key for node in other]


def test_a_key_follows_settings_version_weights_layout_and_everything_above():
    base = nodes(Path("x"))
    below = [node.name for node in base if node.name not in ("documents/x", "clean/title")]
    changed = nodes(Path("x"), cleaning=CleanConfig(suffix="!"))
    assert [a.name for a, b in zip(base, changed, strict=True) if a.key != b.key] == below
    for change in ({"version": 2}, {"weights": "w"}, {"layout": "zarr"}, {"short": "y"}, {"role": "y"}):
        assert replace(base.clean, **change).key != base.clean.key


def test_a_knob_is_no_part_of_the_key():
    assert nodes(Path("x"), cleaning=CleanConfig(workers=9)).clean.key == nodes(Path("x")).clean.key


def test_a_fit_is_upstream_of_what_it_serves():
    found = nodes(Path("x"))
    assert found.predictions.upstream == (found.clean, found.model)
    assert set(found.predictions.manifest.upstream) == {"clean/text", "models/longest"}


def test_key_columns_are_those_read_unless_others_are_named():
    node = nodes(Path("x")).documents
    assert Read(node, ("image",)).key_columns == ("image",)
    assert Read(node, ("image",), ("image_digest",)).key_columns == ("image_digest",)


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


def test_nodes_come_once_and_after_what_they_read_else_in_the_order_given():
    every = nodes(Path("x"))
    order = [node.name for node in ordered([every.total, every.title])]
    assert order == [
        "documents/x", "clean/text", "models/longest", "predictions/longest", "evaluation/total", "clean/title"
    ]  # fmt: skip
    assert ordered(every) == list(every)
    read = ordered([every.predictions], fitted=False)
    assert [node.name for node in read] == ["documents/x", "clean/text", "predictions/longest"]


def test_a_node_over_other_documents_keeps_what_was_fitted():
    every, others = nodes(Path("x")), nodes(Path("x"), shard_size=3).documents
    moved = over(every.predictions, others)
    assert moved.reads[0].node.reads[0].node == others
    assert moved.fits == every.predictions.fits
    assert moved.key != every.predictions.key
    assert over(every.predictions, every.documents).key == every.predictions.key
