"""Steps in the order of what their nodes read, and what a run does once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fuseline.flows.graph
from fuseline.flows.config import Config, load_config, parse_config
from fuseline.flows.experiments.trials import features_todo
from fuseline.flows.graph import build, built_once
from fuseline.flows.steps import STEPS, legs
from fuseline.models.config import FrozenConfig
from fuseline.tasks.documents.image_digests import ImageDigests
from fuseline.tasks.documents.ingest import _Changes
from fuseline.tasks.engine.nodes import Fit, Node, Read, ShardStage, ordered
from fuseline.tasks.stages import predict, train
from tests.flows.conftest import Cli, document, settings, write_config, write_documents
from tests.flows.test_run import busy, last_summaries, plan_of


def plain() -> Config:
    return parse_config(settings(Path("data")))


def test_a_pipeline_is_one_leg_per_step() -> None:
    nodes = build(plain())
    found = list(legs(nodes))
    assert [step for step, _ in found] == list(STEPS)
    assert [node for _, leg in found for node in leg] == nodes


def over_predictions(nodes: list[Node]) -> list[Node]:
    """Return nodes with a model that is fitted on what the others predicted, and its predictions."""
    first = [node for node in nodes if isinstance(node, ShardStage) and node.role == predict.ROLE]
    documents = first[0].reads[0]
    reads = (documents, *(Read(node, ("label", "score")) for node in first))
    common: dict[str, Any] = {"short": "policy", "version": 1, "config": FrozenConfig(), "reads": reads}
    fit = Fit(role=train.ROLE, flow="train", fit=first[0].fits[0].fit, **common)
    policy = ShardStage(role=predict.ROLE, flow="predict", transform=first[0].transform, fits=(fit,), **common)
    return ordered([*nodes, policy])


def test_a_model_over_models_is_trained_after_their_predictions_in_a_leg_of_its_own() -> None:
    found = list(legs(over_predictions(build(plain()))))
    flows = [step.flow.name for step, _ in found]
    assert flows.count("train") == flows.count("predict") == 2
    assert flows.index("predict") < len(flows) - 1 - flows[::-1].index("train")
    made: set[str] = set()
    for _, leg in found:
        for node in leg:
            assert {upstream.name for upstream in node.upstream} <= made
            made.add(node.name)


def test_nodes_are_built_once_in_a_block_whatever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(monkeypatch, fuseline.flows.graph, "_build")
    one, other = plain(), plain().model_copy(update={"shard_size": 7})
    with built_once():
        nodes = build(one)
        assert build(plain()) == nodes
        with built_once():
            assert build(one) == nodes
        assert [node.key for node in build(other)] != [node.key for node in nodes]
    assert len(calls) == 2
    build(one)
    assert len(calls) == 3


def counted(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[Any]:
    """Return a list that grows by one entry for each call of a function."""
    calls: list[Any] = []
    function = getattr(owner, name)

    def call(*args: Any, **options: Any) -> Any:
        calls.append(args)
        return function(*args, **options)

    monkeypatch.setattr(owner, name, call)
    return calls


def passes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list that grows by one entry whenever a source is read, not when it only might be."""
    found: list[Any] = []
    read = _Changes._raw

    def raw(changes: _Changes) -> Iterator[Any]:
        found.append(changes)
        yield from read(changes)

    monkeypatch.setattr(_Changes, "_raw", raw)
    return found


def test_a_run_reads_a_changed_source_and_its_images_once(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan of a run read all that its ingest was about to read, and every image was digested in both."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    documents = [document(folder, number) for number in range(4)]
    write_documents(folder, documents)
    config = write_config(folder, settings(folder) | {"embed": {}, "quantize": {}, "models": {}})
    reads, digests = passes(monkeypatch), counted(monkeypatch, ImageDigests, "_read")
    builds = counted(monkeypatch, fuseline.flows.graph, "_build")
    result = cli("run", config)
    assert result.exit_code == 0, result.output
    assert (len(reads), len(digests), len(builds)) == (1, 4, 1)
    write_documents(folder, [*documents, document(folder, 4)])
    reads.clear()
    digests.clear()
    result = cli("run", config)
    assert result.exit_code == 0, result.output
    assert (len(reads), len(digests)) == (1, 1)
    assert last_summaries(Path(load_config(config).root))["ingest/shapes"]["rows_computed"] == 1
    assert busy(plan_of(cli, config)) == set()


def test_whether_a_sweep_must_make_features_is_known_without_reading_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "images").mkdir()
    write_documents(tmp_path, [document(tmp_path, 0)])
    models = {"words": {"kind": "text"}}
    config = load_config(write_config(tmp_path, settings(tmp_path) | {"embed": {}, "quantize": {}, "models": models}))
    reads = passes(monkeypatch)
    assert features_todo(config)
    assert reads == []
