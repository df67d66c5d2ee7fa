"""Every file under a root, harmed in every way: found, put right, and everything is as it was."""

import shutil
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import pytest
from drive import Nodes, Source, documents, nodes, run

from flows.damage import find_damage
from stores.fitted import RECORD
from tasks.planner import PlanOptions, plan_all


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    """Lose the second half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


HARMS: tuple[Callable[[Path], None], ...] = (flip, cut, Path.unlink)


def contents(root: Path) -> dict[str, bytes]:
    """Return every file of a root by its path, and nothing of a record that says how long a fit took."""
    files = {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
    return {path.relative_to(root).as_posix(): b"" if path.name == RECORD else data for path, data in files.items()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Nodes, Path]:
    """Return a finished pipeline: 15 documents in 2 shards, each with a picture, and a row in quarantine."""
    folder = tmp_path_factory.mktemp("damage")
    rows = [{**row, "image": f"{row['id']}.png"} for row in documents(15)]
    for row in rows:
        (folder / row["image"]).write_bytes(row["id"].encode())
    wanted = nodes(Source(folder / "x.jsonl").write([*rows, rows[3]]))
    run(wanted, folder / "root")
    return wanted, folder / "root"


def damaged(wanted: Nodes, root: Path) -> list[str]:
    """Return what verify would name."""
    return [str(one) for _, _, damage in find_damage(list(wanted), root) for one in damage]


def survives(wanted: Nodes, root: Path, name: str, harm: Callable[[Path], None], before: dict[str, bytes]) -> None:
    """Assert that one harmed file is found and put right."""
    harm(root / name)
    assert damaged(wanted, root) != [], name
    for _, _, damage in list(find_damage(list(wanted), root)):
        for one in damage:
            one.mend()
    run(wanted, root, look=False)
    assert damaged(wanted, root) == [], name
    assert not any(plan.todo or plan.scan for plan in plan_all(list(wanted), root, PlanOptions())), name
    assert contents(root) == before, name


def pairs(root: Path, *, every: bool) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """Yield each file with every harm, or with one of them in turn."""
    turn = cycle(HARMS)
    for name in contents(root):
        yield from ((name, harm) for harm in (HARMS if every else (next(turn),)))


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_any_harmed_file_of_a_dataset_is_found_and_put_right(
    made: tuple[Nodes, Path], tmp_path: Path, every: bool
) -> None:
    wanted, root = made
    before = contents(root)
    assert len(before) > 40
    shutil.copytree(root, tmp_path / "root")
    for name, harm in pairs(root, every=every):
        survives(wanted, tmp_path / "root", name, harm, before)
