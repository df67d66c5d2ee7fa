"""The whole DAG: the flows of its steps, as its nodes follow one another."""

from collections.abc import Iterator
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from fuseline.flows.config import Config
from fuseline.flows.graph import build, built_once
from fuseline.flows.parameters import Chosen, Values, settings_of
from fuseline.flows.recorded import recorded_flow
from fuseline.flows.results.artifacts import publish_artifacts
from fuseline.flows.results.leaderboard import cells, published_leaderboard, title
from fuseline.flows.results.outcome import check_failures
from fuseline.flows.results.publish import publish_results, result_paths
from fuseline.flows.runs import write_run
from fuseline.flows.runtime import locked, new_run
from fuseline.flows.step import RunOptions
from fuseline.flows.steps import legs
from fuseline.stores.root import Root


@recorded_flow("pipeline")
def pipeline(
    config: Chosen,
    set: Values = None,  # noqa: A002
    retry_failed: bool = False,
    refit: bool = False,
) -> list[dict[str, Any]]:
    """Make every node after what it reads, if it is not fresh. Return one summary per stage.

    Raises:
        TooManyFailuresError: when all is published.
    """
    settings, run_options, run, summaries = settings_of(config, set), RunOptions(retry_failed, refit), new_run(), []
    lines = get_run_logger()  # those of the steps are on their own pages
    with locked(settings) as root, built_once():
        for step, nodes in legs(build(settings)):
            done = step.make(nodes, settings, run_options)
            summaries += done
            for row in done:
                if row["computed_shards"]:
                    lines.info("%s", _line(row))
        page = publish.with_options(task_run_name=f"report/{settings.name}")(Results(settings, summaries, run))
        write_run(root, run, settings, summaries, page)
        publish_artifacts(settings)
        for line in (*_standings(root), *(f"{name}: {path}" for name, path in result_paths(root).items())):
            lines.info("%s", line)
        check_failures(build(settings), root, settings.run.allowed_failures)
    return summaries


class Results:
    """What is published, opaque to Prefect."""

    def __init__(self, config: Config, summaries: list[dict[str, Any]], run: str) -> None:
        self.config, self.summaries, self.run = config, summaries, run


@task(name="report", cache_policy=NO_CACHE, persist_result=False, retries=0)
def publish(results: Results) -> str:
    """Publish the results if they changed; return the report's path."""
    return publish_results(results.config, results.summaries, results.run)


def _standings(root: Root) -> Iterator[str]:
    """Yield the leaderboard, a sentence per model."""
    for place, standing in enumerate(standings := published_leaderboard(root), 1):
        model, *scores = ((name, cell) for name, cell in cells(standing).items() if cell)
        if place == 1:
            yield title(standings)
        yield f"{place}. {model[1]}: {', '.join(f'{name} {cell}' for name, cell in scores)}"


def _line(summary: dict[str, object]) -> str:
    """Return what a stage did in a sentence."""
    shards, rows, reused = (summary[name] for name in ("computed_shards", "rows_computed", "rows_reused"))
    kept = f", {reused:,} rows kept" if reused else ""
    return f"{summary['stage']}: {shards:,} made, {rows:,} rows computed{kept}, {summary['seconds']:,.1f} s"
