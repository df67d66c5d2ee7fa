"""Shards in tasks: few rows are one task, for one worker."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from drive import Source, documents, nodes, run

from fuseline.stores.root import Root
from fuseline.tasks.engine import prefect_tasks
from fuseline.tasks.engine.planner import Plan
from fuseline.tasks.engine.prefect_tasks import Execution, run_plans

LISTENER: Any = SimpleNamespace(advance=lambda report: None)


class Runner:
    """Runs tasks where they are submitted, and remembers their names."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def submit(self, task: Any, parameters: dict[str, Any]) -> Any:
        self.names.append(task.task_run_name)
        reports = task.fn(**parameters)
        return SimpleNamespace(result=lambda: reports)


@pytest.fixture
def plan(tmp_path: Path, root: Root) -> Plan:
    wanted = nodes(Source(tmp_path / "x.jsonl").write(documents(30)), shard_size=5)
    run([wanted.documents], root)
    return Plan(wanted.clean, missing={1: "new", 2: "new", 4: "new"})


def made_by(plan: Plan, root: Root) -> list[str]:
    runner: Any = Runner()
    reports = run_plans([plan], Execution(root, "", 2, local=False), runner=runner, listen=LISTENER)
    assert [(report.index, report.error) for report in reports] == [(index, "") for index in plan.todo]
    return runner.names


def test_shards_of_few_rows_are_one_task(plan: Plan, root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of two workers imports and loads for seconds what makes fifteen rows at once."""
    monkeypatch.setattr(prefect_tasks, "FEW_ROWS", 15)
    assert made_by(plan, root) == ["clean/text shard 1-4"]


def test_shards_of_more_rows_are_a_task_each(plan: Plan, root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefect_tasks, "FEW_ROWS", 14)
    assert made_by(plan, root) == ["clean/text shard 1", "clean/text shard 2", "clean/text shard 4"]


def test_shards_of_few_images_are_a_task_each(plan: Plan, monkeypatch: pytest.MonkeyPatch, root: Root) -> None:
    """A detector takes a second for an image: both workers are wanted."""
    assert prefect_tasks.few_rows([plan], root)
    monkeypatch.setattr(prefect_tasks, "over_images", lambda node: node is plan.node)
    assert not prefect_tasks.few_rows([plan], root)
