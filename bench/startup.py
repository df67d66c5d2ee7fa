"""Where the time of small calls goes: python -m bench.startup [--documents 20] [--repeats 3] [--json]

A text-only configuration is run once, then again for one more document each time, and once more with nothing to do; the
quickest of the repeats counts. Shares of one more document:

imports   from the start of the program until a command can begin
plan      what is to do, and why
server    Prefect's server starts, while Prefect is imported and the workers start
api       answers of the server during the run
work      the stages
report    latest/, the catalog and the page
flows     the rest of the run: Prefect itself
end       tables on the terminal, the last records of the server, the end of all processes

The last line is {"seconds": {...}, "processor_seconds": {...}, "shares": {...}}; processor time is that of all
processes, which another user of the machine changes less. The target is 8 s for one more document and 0.6 s for
`--help` and `list`, on two quiet cores with the kernels' cache filled.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

REPO = Path(__file__).resolve().parents[1]
WORDS = {"round": "ball ring orb", "flat": "box tile board", "sharp": "peak roof blade"}
SPENT: dict[str, float] = {}


@contextmanager
def clock(part: str) -> Iterator[None]:
    """Add the block's seconds to a part."""
    started = time.time()
    try:
        yield
    finally:
        SPENT[part] = SPENT.get(part, 0.0) + time.time() - started


def timed(part: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose calls count for a part."""

    def wrapper(*values: Any, **named: Any) -> Any:
        with clock(part):
            return call(*values, **named)

    return wrapper


def child(config: str, started: float, told: str) -> None:
    """Run a configuration as the command does, and write what its parts took."""
    from fuseline.flows.cli import pipeline as commands

    SPENT["imports"] = time.time() - started
    commands._planned = timed("plan", commands._planned)
    prepare = timed("server", commands.prepare_prefect)

    def prepared(*values: Any, **named: Any) -> None:
        prepare(*values, **named)
        import httpx

        import fuseline.flows.pipeline

        httpx.Client.send = timed("api", httpx.Client.send)  # type: ignore[method-assign]
        fuseline.flows.pipeline.publish_results = timed("report", fuseline.flows.pipeline.publish_results)
        fuseline.flows.pipeline.pipeline = timed("run", fuseline.flows.pipeline.pipeline)

    commands.prepare_prefect = prepared
    try:
        commands.commands(["run", config], standalone_mode=False)
    finally:
        Path(told).write_text(json.dumps({**SPENT, "until": time.time()}))


def one_more(config: Path, told: Path) -> dict[str, float]:
    """Run the command in a process of its own; return the seconds of its parts."""
    started = time.time()
    _, processor = call([sys.executable, "-m", "bench.startup", "--child", str(config), str(started), str(told)])
    ended, parts = time.time(), json.loads(told.read_text())
    run, until = parts.pop("run"), parts.pop("until")
    records = sorted((config.parent / "out" / "runs").glob("*.json"), key=lambda path: path.stat().st_mtime)
    stages = json.loads(records[-1].read_bytes())["stages"]
    parts["work"] = sum(stage["seconds"] for stage in stages)
    parts["flows"] = max(0.0, run - parts["api"] - parts["report"] - parts["work"])
    parts["end"] = ended - until + max(0.0, until - started - sum(parts.values()))
    return {"total": ended - started, "processor": processor, **parts}


def call(command: list[str]) -> tuple[float, float]:
    """Run a command and return its seconds, and those of processors in it and all that it started."""
    started, before = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    # Nor does it count that modules are compiled, which happens once where they are kept.
    left_out = ("PREFECT_", "PYTHONDONTWRITEBYTECODE")
    env = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    subprocess.run(command, cwd=REPO, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds, after = time.time() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def write(folder: Path, n: int) -> None:
    """Write n documents of three classes."""
    rows = []
    for i in range(n):
        label = sorted(WORDS)[i % 3]
        words = WORDS[label].split()
        rows.append(json.dumps({"id": f"d{i}", "text": f"a {words[i % 2]} and a {words[i // 3 % 3]}", "label": label}))
    (folder / "documents.jsonl").write_text("\n".join(rows) + "\n")


def main() -> None:
    """Run the benchmark and print its figures."""
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], float(sys.argv[3]), sys.argv[4])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print the last line only")
    options = parser.parse_args()
    fuseline = [sys.executable, "-m", "fuseline.flows.cli"]
    with tempfile.TemporaryDirectory() as name:
        folder, config = Path(name), Path(name) / "c.yaml"
        source = {"reader": "jsonl", "path": str(folder / "documents.jsonl")}
        values = {
            "name": "startup",
            "root": str(folder / "out"),
            "source": source,
            "models": {"text": {"kind": "text"}},
        }
        config.write_text(yaml.safe_dump(values))
        write(folder, options.documents)
        first, parts = call([*fuseline, "run", str(config)]), []
        for i in range(options.repeats):
            write(folder, options.documents + 1 + i)
            parts.append(one_more(config, folder / "parts.json"))
        best = min(parts, key=lambda one: one["total"])
        small = {
            "nothing_to_do": [*fuseline, "run", str(config)], "help": [*fuseline, "--help"],
            "list": [*fuseline, "list", "models"],
        }  # fmt: skip
        figures = {"first_run": first, "one_more_document": (best.pop("total"), best.pop("processor"))}
        figures |= {name: min(call(command) for _ in range(options.repeats)) for name, command in small.items()}
    if not options.json:
        for name, (seconds, processor) in figures.items():
            print(f"{name.replace('_', ' '):<18}{seconds:6.2f} s, {processor:.2f} s of processors")
        for name, value in best.items():
            print(f"  {name:<16}{value:6.1f} s  {value / sum(best.values()):4.0%}")
    wall, processors = ({name: round(pair[i], 2) for name, pair in figures.items()} for i in (0, 1))
    shares = {name: round(value / sum(best.values()), 3) for name, value in best.items()}
    print(json.dumps({"seconds": wall, "processor_seconds": processors, "shares": shares}))


if __name__ == "__main__":
    main()
