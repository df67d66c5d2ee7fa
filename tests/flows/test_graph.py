"""The DAG of a configuration: order, keys and what a prediction needs."""

from pathlib import Path

import pytest

from fuseline.flows.config import parse_config
from fuseline.flows.experiments.trials import Grid
from fuseline.flows.graph import build, build_prediction
from fuseline.models.errors import MissingWeights
from fuseline.stores.errors import ConfigError
from fuseline.tasks.documents.documents_node import SourceConfig
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
        quantize={"trials": {"embedding": "columns"}},
        models={"trees": {"kind": "lightgbm", "options": {"embeddings": ["columns"], "codes": ["trials"]}}},
    )
    fits = {node.name: [fit.name for fit in node.fits] for node in build(chosen)}
    assert fits["codebooks/trials"] == ["encoders/columns"]
    assert fits["models/trees"] == ["codebooks/trials", "encoders/columns"]


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


def test_the_content_of_pretrained_vectors_is_in_the_keys_and_their_place_is_not(tmp_path: Path):
    def with_vectors(name: str, text: str) -> dict[str, str]:
        (tmp_path / name).write_text(text)
        options = {"preset": "fasttext", "dim": 2, "pretrained_vectors": str(tmp_path / name)}
        return keys(models={"text": {"kind": "text", "options": options}})

    one, moved = with_vectors("one.vec", "1 2\nsun 1 2\n"), with_vectors("two.vec", "1 2\nsun 1 2\n")
    assert one == moved
    assert (
        one["models/text"]
        != keys(models={"text": {"kind": "text", "options": {"preset": "fasttext", "dim": 2}}})["models/text"]
    )
    changed = with_vectors("one.vec", "1 2\nsun 1 3\n")
    different = {name.split("/")[0] for name in one if one[name] != changed[name]}
    assert different == {"models", "predictions", "evaluation", "gallery"}


def test_pretrained_vectors_that_do_not_fit_are_refused_before_anything_runs(tmp_path: Path):
    options = {"pretrained_vectors": str(tmp_path / "own.vec")}
    with pytest.raises(MissingWeights, match="pretrained_vectors: expected a weight file"):
        keys(models={"text": {"kind": "text", "options": options}})
    (tmp_path / "own.vec").write_text("1 2\nsun 1 2\n")
    with pytest.raises(ConfigError, match=r"options.dim: expected 2, the numbers per word of own.vec, got 100"):
        keys(models={"text": {"kind": "text", "options": options}})


def test_trials_of_a_grid_over_vectors_differ_and_change_with_the_files(tmp_path: Path):
    (tmp_path / "a.vec").write_text("1 2\nsun 1 2\n")
    (tmp_path / "b.vec").write_text("1 2\nsun 1 3\n")

    def trials() -> list[str]:
        files = [None, *(str(tmp_path / name) for name in ("a.vec", "b.vec"))]
        grids = {"text": {"dim": [2], "lr": [0.1], "epochs": [1], "pretrained_vectors": files}}
        models = {"text": {"kind": "text", "options": {"preset": "fasttext", "dim": 2}}}
        grid = Grid(config(models=models, sweep={"models": ["text"], "grids": grids}))
        return [trial.node.key for trial in grid.trials("text")]

    before = trials()
    assert len(set(before)) == 3
    (tmp_path / "b.vec").write_text("1 2\nsun 1 4\n")
    assert [a == b for a, b in zip(before, trials(), strict=True)] == [True, True, False]


HEAD = {"kind": "concat_frozen", "options": {"vectors": ["image", "hidden/net"]}}
WORDS = {"title": {"stage": "sequence", "options": {"field": "title"}}}
NET = {"kind": "text_cnn", "options": {"sequence": "title"}}


def test_hidden_vectors_are_made_when_a_model_reads_them_in_each_fold_by_its_own_network():
    alone = config(stages=WORDS, models={"net": NET})
    assert not [node for node in build(alone) if node.role == "hidden"]
    chosen = config(stages=WORDS, models={"head": HEAD, "net": NET}, evaluation={"folds": 2})
    nodes = {node.name: node for node in build(chosen)}
    head = nodes["models/head@fold1of2"]
    assert [read.node.name for read in head.reads[1:]] == ["embed/image", "hidden/net@fold1of2"]
    assert [fit.name for fit in nodes["hidden/net@fold1of2"].fits] == ["models/net@fold1of2"]
    assert [fit.name for fit in nodes["models/net@fold1of2"].fits] == ["encoders/title@fold1of2"]
    _, nodes = build_prediction(chosen, "head", SourceConfig(path="new.jsonl"), name="new")
    assert [node.name for node in nodes] == [
        "documents/new", "embed/image", "clean/text", "embed/title", "hidden/net", "predictions/head"
    ]  # fmt: skip


def test_a_network_that_starts_from_another_is_fitted_after_it_and_with_it_in_each_fold():
    joint = {"kind": "concat_e2e", "options": {"sequences": ["title"], "start": ["net"]}}
    chosen = config(stages=WORDS, models={"a": joint, "net": NET}, evaluation={"folds": 2})
    nodes = {node.name: node for node in build(chosen)}
    names = {"encoders/title@fold1of2", "models/net@fold1of2"}
    assert {fit.name for fit in nodes["models/a@fold1of2"].fits} == names
    order = list(nodes)
    assert order.index("models/net") < order.index("models/a")
    drawn = {**joint, "options": {**joint["options"], "start": []}}
    other = config(stages=WORDS, models={"a": drawn, "net": NET})
    assert nodes["models/a"].key != {node.name: node.key for node in build(other)}["models/a"]


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (
            {"a": {"kind": "concat_e2e", "options": {"sequences": ["title"], "start": ["b"]}}, "b": {"kind": "text"}},
            r"options\.start: .*a network with a branch per input.*got 'b'; text has no branches",
        ),
        ({"a": {"kind": "concat_e2e", "options": {"sequences": ["title"], "start": ["a"]}}}, "none that reads itself"),
        ({"head": HEAD}, r"models\.head\.options\.models: expected \['head'\], got 'net'"),
        ({"head": HEAD, "net": {"kind": "text"}}, r"hidden vectors of a network', got 'hidden/net'; text has"),
        ({"head": {**HEAD, "options": {"vectors": ["image", "hidden/head"]}}}, "none that reads itself"),
        ({"head": {**HEAD, "options": {"vectors": ["image", "titel"]}}}, r"\(embedding\): .*got 'titel'"),
        ({"net": {**NET, "options": {"sequence": "titel"}}}, r"\(sequence\): .*did you mean 'title'"),
        ({"net": {**NET, "options": {"sequence": "image"}}}, r"\(sequence\): expected \['title'\], got 'image'"),
        ({"head": {**HEAD, "options": {"vectors": ["image", "title"]}}}, r"\(embedding\): .*got 'title'"),
    ],
)
def test_inputs_of_networks_are_refused_by_name_with_those_that_there_are(models, message):
    with pytest.raises(ConfigError, match=message):
        config(stages=WORDS, models=models)
