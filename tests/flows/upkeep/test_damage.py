"""Every file under a root, harmed in every way: found, put right, and everything is as it was."""

import re
import shutil
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import orjson
import pytest
from drive import Nodes, Source, documents, nodes, run

from fuseline.flows.config import parse_config
from fuseline.flows.upkeep.damage import find_all_damage, find_damage
from fuseline.stores.fitted import RECORD
from fuseline.stores.forgotten import FILE as FORGOTTEN
from fuseline.stores.forgotten import Forgotten
from fuseline.stores.places import open_root
from fuseline.stores.published import Published
from fuseline.stores.root import Root
from fuseline.tasks.engine.planner import PlanOptions, plan_all
from tests.flows.conftest import Cli, settings, write_config


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    """Lose the second half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


HARMS: tuple[Callable[[Path], None], ...] = (flip, cut, Path.unlink)


def contents(root: Root) -> dict[str, bytes]:
    """Return every file of a root by its path, and nothing of a record that says how long a fit took."""
    files = {path: path.read_bytes() for path in sorted(root.local().rglob("*")) if path.is_file()}
    return {
        path.relative_to(root.local()).as_posix(): b"" if path.name == RECORD else data for path, data in files.items()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Nodes, Root]:
    """Return a finished pipeline: 15 documents in 2 shards, each with a picture, and a row in quarantine."""
    folder = tmp_path_factory.mktemp("damage")
    rows = [{**row, "image": f"{row['id']}.png"} for row in documents(15)]
    for row in rows:
        (folder / row["image"]).write_bytes(row["id"].encode())
    wanted = nodes(Source(folder / "x.jsonl").write([*rows, rows[3]]))
    run(wanted, open_root(folder / "root"))
    return wanted, open_root(folder / "root")


def damaged(wanted: Nodes, root: Root) -> list[str]:
    """Return what verify would name."""
    return [str(one) for _, _, damage in find_damage(list(wanted), root) for one in damage]


def survives(wanted: Nodes, root: Root, name: str, harm: Callable[[Path], None], before: dict[str, bytes]) -> None:
    """Assert that one harmed file is found and put right."""
    harm(root.local() / name)
    assert damaged(wanted, root) != [], name
    for _, _, damage in list(find_damage(list(wanted), root)):
        for one in damage:
            one.repair()
    run(wanted, root, look=False)
    assert damaged(wanted, root) == [], name
    assert not any(plan.todo or plan.scan for plan in plan_all(list(wanted), root, PlanOptions())), name
    assert contents(root) == before, name


def pairs(root: Root, *, every: bool) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Yield each file with every harm, or with one of them in turn."""
    turn = cycle(HARMS)
    for name in contents(root):
        yield from ((name, harm) for harm in (HARMS if every else (next(turn),)))


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_any_harmed_file_of_a_dataset_is_found_and_put_right(
    made: tuple[Nodes, Root], tmp_path: Path, every: bool
) -> None:
    wanted, root = made
    before = contents(root)
    assert len(before) > 40
    shutil.copytree(root.local(), tmp_path / "root")
    for name, harm in pairs(root, every=every):
        survives(wanted, open_root(tmp_path / "root"), name, harm, before)


@pytest.fixture(scope="module")
def config(cli: Cli, finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the configuration of a finished pipeline of one's own, with a forgotten document and two reports."""
    folder = tmp_path_factory.mktemp("root") / "data"
    shutil.copytree(finished.parent, folder, symlinks=True)
    config = write_config(folder, settings(folder))
    done = cli("forget", config, "--ids", "doc-0007")
    assert done.exit_code == 0, done.output
    result = cli("run", config)
    assert result.exit_code == 0, result.output
    assert verify(cli, config) == {}
    return config


def verify(cli: Cli, config: Path) -> dict[str, list[str]]:
    """Return what `fuseline verify` finds damaged, by row; the exit code must say so."""
    result = cli("verify", config, "--json")
    assert result.stdout, (result.output, result.exception)
    found = {row["stage"]: row["damaged"] for row in orjson.loads(result.stdout) if row["damaged"]}
    assert result.exit_code == int(bool(found)), result.output
    return found


def says_so_in_a_line(cli: Cli, config: Path) -> None:
    """Assert that no command ends in a traceback."""
    for command in ("plan", "status", "report", "gc --dry-run", "verify", "forget --dry-run --ids doc-0001"):
        name, *options = command.split()
        outcome = cli(name, config, *options)
        assert outcome.exception is None or isinstance(outcome.exception, SystemExit), command


def test_damage_beside_the_datasets_is_found_and_put_right(cli: Cli, config: Path) -> None:
    root = open_root(config.parent / "out")
    reports = sorted(root.local().glob("reports/*/index.html"))
    latest, runs = root.local("latest"), root.local().glob("runs/*.json")
    harmed = [latest / "predictions.parquet", root.local("catalog.duckdb"), max(reports), *runs,
              latest / "metrics.parquet", root.local("forgotten.json")]  # fmt: skip
    predictions = harmed[0].read_bytes()
    for path, harm in zip(harmed, cycle(HARMS), strict=False):
        harm(path)
    listed = sorted(path.relative_to(root.local()).as_posix() for path in harmed if path.name != "forgotten.json")
    found = verify(cli, config)
    assert found["published files"] == listed
    assert found["list of forgotten documents"] == ["forgotten.json"]
    lost = next(root.local().glob("documents/*/*/shards/000000.json"))
    lost.rename(lost.with_suffix(".aside"))
    says_so_in_a_line(cli, config)
    lost.with_suffix(".aside").rename(lost)
    assert "runs/" in cli("gc", config).output
    repaired = cli("repair", config)
    assert repaired.exit_code == 0, repaired.output
    assert "cannot be made again: it was removed" in repaired.output
    assert verify(cli, config) == {}
    assert harmed[0].read_bytes() == predictions
    run = Published.load(root).run  # what a run leaves twice repairs itself
    assert (root.local() / "metrics" / f"{run}.parquet").read_bytes() == (
        root.local() / "latest" / "metrics.parquet"
    ).read_bytes()
    assert (root.local() / "reports" / run / "index.html").read_bytes() == (
        root.local() / "latest" / "report.html"
    ).read_bytes()
    assert "nothing to do" in cli("run", config).output
    assert cli("gc", config).exit_code == 0


def test_a_lost_list_is_made_again_but_that_of_forgotten_documents(cli: Cli, config: Path) -> None:
    root = open_root(config.parent / "out")
    (root.local() / "published.json").write_bytes(b"{}")
    for command in ("plan", "run", "gc", "report"):
        outcome = cli(command, config)
        assert outcome.exit_code == 1, command
        assert "published.json" in outcome.output
    assert verify(cli, config) == {"published files": ["published.json"]}
    assert cli("repair", config).exit_code == 0
    assert verify(cli, config) == {}
    for name in ("forgotten.json", "forgotten.copy.json"):
        (root.local() / name).rename(root.local() / f"{name}.aside")
    assert verify(cli, config) == {"list of forgotten documents": ["forgotten.json, forgotten.copy.json"]}
    predict = ("--model", "pq", "--source", config.parent / "documents.jsonl", "-o", config.parent / "new.parquet")
    for command, more in (("repair", ()), ("predict", predict)):
        outcome = cli(command, config, *more)
        assert outcome.exit_code == 1, command
        assert "a list of 1 documents" in outcome.output
    again = cli("forget", config, "--ids", "doc-0007", "--missing-ok")
    assert again.exit_code == 0, again.output
    assert verify(cli, config) == {}


def test_damaged_results_stop_no_erasure(cli: Cli, config: Path) -> None:
    root = open_root(config.parent / "out")
    for name, harm in zip(("report.html", "documents.parquet", "predictions.parquet"), HARMS, strict=True):
        harm(root.local() / "latest" / name)
    outcome = cli("forget", config, "--ids", "doc-0008")
    assert outcome.exit_code == 0, outcome.output
    assert verify(cli, config) == {}
    assert cli("run", config).exit_code == 0  # publishes what is left
    assert "doc-0008" not in (root.local() / "latest" / "report.html").read_text("utf-8")
    assert verify(cli, config) == {}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_any_harmed_file_of_a_root_is_found_and_put_right(cli: Cli, config: Path) -> None:
    """One of every kind of file under the root after a run, but the lock and Prefect's history."""
    root = open_root(config.parent / "out")
    names = [name for name in contents(root) if not name.startswith((".lock", ".prefect/"))]
    kinds = {re.sub(r"[0-9a-f]{6,}|(?<=^models/)\w+", "#", name): name for name in names}
    for name, harm in zip(kinds.values(), cycle(HARMS), strict=False):
        assert cli("gc", config).exit_code == 0
        if not (root.local() / name).exists():
            continue  # an earlier version by now
        print(name, harm)  # shown when it fails
        harm(root.local() / name)
        assert verify(cli, config), name
        says_so_in_a_line(cli, config)
        repaired = cli("repair", config)
        assert repaired.exit_code == 0, (name, repaired.output)
        assert verify(cli, config) == {}, name


def test_the_list_of_forgotten_documents_is_looked_at_where_there_is_one(tmp_path: Path) -> None:
    source = {"path": str(tmp_path / "x.jsonl"), "options": {}}
    config = parse_config({"name": "x", "root": str(tmp_path / "root"), "source": source})
    root = open_root(config.root)

    def looked_at() -> list[tuple[int, list[str]]]:
        found = [one for one in find_all_damage(config) if one.label == "list of forgotten documents"]
        for damage in (damage for one in found for damage in one.damage):
            damage.repair()
        return [(one.checked, [str(damage) for damage in one.damage]) for one in found]

    assert looked_at() == []
    Forgotten.load(root).with_ids(["d1"]).save(root)
    assert looked_at() == [(2, [])]
    flip(root.local() / FORGOTTEN)
    assert looked_at() == [(2, [FORGOTTEN])]
    assert looked_at() == [(2, [])]


def test_other_datasets_come_by_their_names(tmp_path: Path) -> None:
    config = parse_config({"name": "x", "root": str(tmp_path), "source": {"path": "x.jsonl", "options": {}}})
    folders = [f"clean/text/{digit * 20}" for digit in "71350264"]
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "manifest.json").write_text("nothing")
    (others,) = (one for one in find_all_damage(config) if one.label == "other datasets")
    assert [str(damage) for damage in others.damage] == [f"{folder}: manifest.json" for folder in sorted(folders)]
