"""The DAG of a configuration: order, keys and what a prediction needs."""

from pathlib import Path

from flows.config import parse_config
from flows.graph import build, build_prediction
from tasks.ingest import SourceConfig
from tests.flows.conftest import settings


def config(**changes: object):
    return parse_config({**settings(Path("data")), **changes})


def keys(**changes: object) -> dict[str, str]:
    return {node.name: node.key for node in build(config(**changes))}


def test_every_node_comes_after_what_it_reads():
    seen: set[str] = set()
    for node in build(config(detect={"objects": {"detector": "ssdlite_coco"}})):
        assert {up.name for up in node.upstream} <= seen
        seen.add(node.name)


def test_knobs_and_places_are_in_no_key():
    base = keys()
    assert keys(root="elsewhere", run={"workers": 5}) == base
    assert keys(source={"reader": "jsonl", "path": "moved.jsonl"}) == base
    image = {"encoder": "efficientnet_lite2", "batch_size": 1, "decode_threads": 1}
    assert keys(embed={"image": image}) == base


def test_a_setting_changes_its_stage_and_what_is_downstream():
    base, other = keys(), keys(clean={"cleaner": "selectolax"})
    changed = {name.split("/")[0] for name in base if base[name] != other[name]}
    assert changed == {"clean", "models", "predictions", "statistics", "evaluation", "gallery", "tokens"}


def test_a_prediction_makes_all_that_its_model_reads_however_far_up():
    """A model on a text embedding once lacked the cleaning that the embedding reads."""
    spec = {"kind": "image", "options": {"image": "words", "dim": 4}}
    chosen = config(
        embed={"image": {"encoder": "efficientnet_lite2"}, "words": {"encoder": "minilm"}}, models={"m": spec}
    )
    _, nodes = build_prediction(chosen, "m", SourceConfig(path="new.jsonl"), name="new")
    assert [node.name for node in nodes] == ["documents/new", "clean/text", "embed/words", "predictions/m"]


def test_a_change_of_the_columns_encoder_reaches_what_reads_it_and_nothing_else():
    trees = {"kind": "lightgbm", "options": {"embeddings": ["columns"]}}
    models = {"trees": trees, "text": {"kind": "text"}}
    one = keys(embed={"columns": {"encoder": "tabular"}}, quantize={}, models=models)
    binned = {"encoder": "tabular", "options": {"numeric": "quantile"}}
    other = keys(embed={"columns": binned}, quantize={}, models=models)
    changed = {name for name in one if one[name] != other[name]}
    assert changed == {
        "encoders/columns", "embed/columns", "models/trees", "predictions/trees", "evaluation/trees", "gallery/trees"
    }  # fmt: skip
    half = keys(embed={"columns": {"encoder": "tabular", "dtype": "float16"}}, quantize={}, models=models)
    assert half["encoders/columns"] == one["encoders/columns"]
    assert half["embed/columns"] != one["embed/columns"]


def test_what_is_fitted_on_a_fitted_embedding_follows_it():
    """A codebook over refitted columns would otherwise stay, though its vectors mean something else."""
    chosen = config(
        embed={"columns": {"encoder": "tabular"}},
        quantize={"cells": {"embedding": "columns"}},
        models={"trees": {"kind": "lightgbm", "options": {"embeddings": ["columns"], "codes": ["cells"]}}},
    )
    fits = {node.name: [fit.name for fit in node.fits] for node in build(chosen)}
    assert fits["codebooks/cells"] == ["encoders/columns"]
    assert fits["models/trees"] == ["codebooks/cells", "encoders/columns"]


def test_words_in_images_come_from_the_detector():
    detect = {"signs": {"detector": "rapidocr"}}
    embed = {"signs": {"encoder": "minilm", "field": "ocr", "detections": "signs"}}
    models = {"words": {"kind": "text", "ocr": ["signs"]}, "plain": {"kind": "text"}}
    embed |= {"words": {"encoder": "vocabulary", "field": "ocr", "detections": "signs"}}
    nodes = {node.name: node for node in build(config(detect=detect, embed=embed, quantize={}, models=models))}
    assert [read.node.name for read in nodes["encoders/words"].reads] == ["documents/shapes", "detect/signs"]
    assert (nodes["embed/words"].layout, nodes["embed/signs"].layout) == ("parquet", "zarr")
    assert nodes["embed/words"].fits == (nodes["encoders/words"],)
    assert [(read.node.name, read.columns) for read in nodes["embed/signs"].reads] == [("detect/signs", ("text",))]
    assert "detect/signs" in {read.node.name for read in nodes["models/words"].reads}
    assert "detect/signs" not in {read.node.name for read in nodes["models/plain"].reads}
