"""How long a run takes that finds nothing to do: python bench/plan_speed.py [--shards 1000] [--stages 8] [--json]

Makes a chain of cheap row-wise stages (half Parquet, half Zarr) over JSON lines, runs it once, then plans it again. The
last line is {"ratios": {"nothing_to_do_vs_first_run": ...}, "seconds": {...}}; the target is 0.01 and 10 s.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from fuseline.stores.places import open_root
from fuseline.tasks.documents.ingest import stage as ingest_stage

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import pyarrow as pa

from fuseline.models.config import FrozenConfig
from fuseline.tasks.documents.assignment import SplitConfig
from fuseline.tasks.documents.documents_node import SourceConfig
from fuseline.tasks.documents.ingest import ingest
from fuseline.tasks.engine.nodes import Context, Node, Read, ShardStage
from fuseline.tasks.engine.planner import PlanOptions, plan_all
from fuseline.tasks.engine.shard import make_shards


class Step(FrozenConfig):
    """Tells one stage from another."""

    number: int


def step(tables: list[pa.Table], config: Step, context: Context) -> pa.Table:
    """Return a short text and a vector of 64 numbers per row."""
    n = tables[0].num_rows
    vectors = np.random.default_rng(config.number).standard_normal(n * 64).astype(np.float16)
    matrix = pa.FixedSizeListArray.from_arrays(pa.array(vectors), 64)
    return pa.table({"id": tables[0]["id"], "text": ["x"] * n, "status": ["ok"] * n, "embedding": matrix})


def chain(path: Path, shard_size: int, stages: int) -> list[Node]:
    """Return an ingest and the stages after it, each reading the one before."""
    source = SourceConfig(path=str(path))
    nodes: list[Node] = [ingest_stage("bench", source, shard_size=shard_size, split=SplitConfig())]
    for number in range(1, stages):
        nodes.append(
            ShardStage(
                role="step", short=str(number), flow="step", version=1, config=Step(number=number), transform=step,
                reads=(Read(nodes[-1], ("text",)),), layout="zarr" if number % 2 else "parquet",
            )
        )  # fmt: skip
    return nodes


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument("--stages", type=int, default=8)
    parser.add_argument("--rows", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="print the last line only")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, root = Path(folder) / "data" / "documents.jsonl", open_root(Path(folder) / "out")
        path.parent.mkdir()
        lines = (json.dumps({"id": f"d{i}", "text": f"text {i}"}) for i in range(options.shards * options.rows))
        path.write_text("\n".join(lines))
        nodes = chain(path, options.rows, options.stages)
        started = time.perf_counter()
        ingest(nodes[0], root, done=lambda report: None)  # type: ignore[arg-type]
        for node in nodes[1:]:
            for index in range(options.shards):
                make_shards([node], root, index, source="")  # type: ignore[list-item]
        first = time.perf_counter() - started
        started = time.perf_counter()
        plans = plan_all(nodes, root, PlanOptions())
        again = time.perf_counter() - started
        assert all(not plan.todo and len(plan.fresh) == options.shards for plan in plans)
    if not options.json:
        size = f"{options.shards} shards x {options.stages} stages"
        print(f"{size}: first run {first:.1f} s, nothing to do {again:.2f} s")
    seconds = {"first_run": round(first, 2), "nothing_to_do": round(again, 2)}
    print(json.dumps({"ratios": {"nothing_to_do_vs_first_run": round(again / first, 4)}, "seconds": seconds}))


if __name__ == "__main__":
    main()
