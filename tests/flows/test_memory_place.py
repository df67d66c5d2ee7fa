"""A pipeline gives in every place what it gives in a folder; made in this process, which sees all places."""

import duckdb
import pyarrow.parquet as pq
import pytest
from drive import run

from fuseline.flows.config import Config, load_config, parse_config
from fuseline.flows.graph import build
from fuseline.flows.results.leaderboard import published_leaderboard
from fuseline.flows.results.publish import plan_report, publish_results, result_paths
from fuseline.flows.runs import runs_of, write_run
from fuseline.flows.runtime import locked
from fuseline.flows.upkeep.damage import find_all_damage
from fuseline.flows.upkeep.forget import forget
from fuseline.flows.upkeep.maintenance import find_garbage
from fuseline.flows.upkeep.verification import verified
from fuseline.stores.errors import ConfigError
from fuseline.stores.places import PLACES, open_root
from fuseline.stores.root import Root
from fuseline.tasks.engine.nodes import Fit, Ingest, ShardStage
from fuseline.tasks.engine.planner import PlanOptions, plan_all

OTHERS = [kind for kind in PLACES if kind != "file"]


@pytest.fixture(scope="module", params=OTHERS)
def made(request, finished, tmp_path_factory) -> tuple[Config, Root]:
    """Return the small pipeline, made and published in a place that is no local folder."""
    address = f"{request.param}://{tmp_path_factory.mktemp('place')}/root"
    config = parse_config({**load_config(finished).model_dump(mode="json"), "root": address})
    with locked(config) as root:
        run(build(config), root, source=config.source.image_root())
        write_run(root, "run-1", config, [], publish_results(config, [], "run-1"))
    return config, root


def test_every_dataset_has_the_content_that_it_has_in_a_folder(made, finished):
    config, root = made
    local = open_root(load_config(finished).root)
    for node in build(config):
        if isinstance(node, Ingest | ShardStage) and node.flow != "predict" and not node.fits:
            mine, theirs = node.dataset(root).records(), node.dataset(local).records()
            assert {i: record.digest() for i, record in mine.items()} == {i: r.digest() for i, r in theirs.items()}
        elif isinstance(node, Fit):
            assert node.fitted(root).record().n_rows == node.fitted(local).record().n_rows


def test_nothing_is_left_to_do_or_damaged(made):
    config, root = made
    plans = plan_all(build(config), root, PlanOptions(config.source.image_root()))
    assert not any(plan.todo for plan in plans)
    assert plan_report(config, build(config), root, plans)["fresh"] == 1
    assert not any(one.damage for one in find_all_damage(config))
    assert find_garbage(config) == []
    assert [one.run for one in runs_of(root)] == ["run-1"]


def test_results_lie_where_they_are_said_to_lie(made):
    config, root = made
    assert result_paths(root)["report"] == f"{config.root}/latest/report.html"
    assert {row.model for row in published_leaderboard(root)} == set(config.models)
    with root.reading("latest/predictions.parquet") as path:
        n = pq.read_metadata(path).num_rows
    with root.reading("catalog.duckdb") as path, duckdb.connect(str(path), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM results").fetchall() == [(n,)]
        assert connection.execute("SELECT count(*) FROM predictions_history").fetchall() == [(n,)]


def test_damage_is_found_and_only_that(made):
    config, root = made
    node = next(node for node in build(config) if node.role == "embed")
    name = f"{node.name}/{node.key}/{max(node.dataset(root).record(1).files)}"
    whole = root.get(name)
    root.put(name, bytes(len(whole)))
    try:
        assert [(one.label, len(one.damage)) for one in find_all_damage(config) if one.damage] == [(node.label, 1)]
    finally:
        root.put(name, whole)


def test_forgotten_documents_leave_no_trace(made):
    config, root = made
    before = {name: root.get(name) for name in root.list()}
    erased = forget(config, ["doc-0004"])
    assert erased.rows
    assert erased.unknown == 0
    rows = verified(config).rows
    assert [row["damaged"] for row in rows] == [[]] * len(rows)
    for name in root.list():
        root.delete(name)
    for name, data in before.items():
        root.put(name, data)


@pytest.mark.parametrize("kind", [kind for kind in OTHERS if not PLACES[kind].shared])
def test_a_place_that_no_other_process_sees_is_refused_where_processes_are_needed(kind, finished):
    values = {**load_config(finished).model_dump(mode="json"), "root": f"{kind}://x", "run": {"executor": "dask"}}
    with (
        pytest.raises(ConfigError, match=r"^root: expected .*, got .*; choose another place"),
        locked(parse_config(values)),
    ):
        pytest.fail("nobody else would see it")
