"""What a run says about the time it took."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from fuseline.flows.cli.console import time_table
from fuseline.flows.config import parse_config
from fuseline.flows.graph import build
from fuseline.flows.runtime import shares_of
from fuseline.flows.step import _summaries
from fuseline.tasks.engine.planner import Plan
from fuseline.tasks.engine.timings import ShardReport, Timings
from tests.flows.conftest import settings


def test_stages_of_a_pass_share_its_wall_time_as_they_shared_the_work() -> None:
    nodes = {node.label: node for node in build(parse_config(settings(Path("data"))))}
    image, text = Plan(nodes["embed/image"], missing={0: "x", 1: "x"}), Plan(nodes["clean/text"], (0,), {1: "x"})
    reports = [
        ShardReport("embed/image", 0, 9, 8, 1, 3.0, Timings(read=1, compute=2)),
        ShardReport("embed/image", 1, 9, 9, 0, 4.0, Timings(compute=4, wait=0.5)),
        ShardReport("clean/text", 1, 9, 9, 0, 1.0, Timings(write=1)),
    ]
    found = _summaries([image, text], reports, 4.0)
    first, second = found["embed/image"], found["clean/text"]
    assert (first.seconds, second.seconds) == (3.5, 0.5)
    assert (first.computed_shards, first.rows_computed, first.rows_reused, second.fresh) == (2, 17, 1, 1)
    assert first.timings == {"read": 1, "decode": 0, "prepare": 0, "compute": 6, "write": 0, "wait": 0.5}
    broken = _summaries([image], [*reports[:1], ShardReport("embed/image", 1, error="no memory")], 4.0)["embed/image"]
    assert (broken.failed_shards, broken.errors, broken.seconds) == (1, ("shard 1: no memory",), 4.0)


def test_shares_are_told_of_stages_that_did_something() -> None:
    timings = Timings(read=1, decode=2, compute=5).to_dict()
    assert shares_of(timings) == pytest.approx(
        {"read": 0.125, "decode": 0.25, "prepare": 0, "compute": 0.625, "write": 0, "wait": 0}
    )
    assert shares_of({}) == shares_of(Timings().to_dict()) == {}
    assert time_table([{"stage": "x", "timings": Timings().to_dict()}, {"stage": "of an older version"}]) is None
    out = io.StringIO()
    Console(file=out, width=100).print(
        time_table([{"stage": "x", "timings": {}}, {"stage": "embed/image", "timings": timings}])
    )
    header, *lines = out.getvalue().splitlines()
    assert header.split()[-6:] == ["read", "decode", "prepare", "compute", "write", "wait"]
    assert [line.split() for line in lines] == [["embed/image", "12.5", "25.0", "0.0", "62.5", "0.0", "0.0"]]
