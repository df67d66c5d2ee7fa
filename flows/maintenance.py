"""Check, heal and tidy an output root."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from flows.cells import sweep_nodes
from flows.config import Config, parse_config
from flows.graph import build
from stores.atomic import is_partial, write_bytes
from stores.dataset import MANIFEST, list_datasets
from stores.errors import ConfigError
from tasks.nodes import Fit, Ingest, Node


@dataclass(frozen=True)
class Damage:
    """Files of one shard, checkpoint or dataset that are missing, differ from their digest or cannot be read."""

    node: Node
    index: int | None  # None: the dataset's manifest
    files: tuple[str, ...]

    def __str__(self) -> str:
        where = "" if self.index is None else f"{self.index}: "
        return where + ", ".join(self.files)


def find_damage(nodes: list[Node], root: Path) -> Iterator[tuple[Node, int, list[Damage]]]:
    """Re-read every byte of every dataset; yield (node, shards checked, damage)."""
    for node in nodes:
        checked, damage = _fit_damage(node, root) if isinstance(node, Fit) else _shard_damage(node, root)
        yield node, checked, [*_manifest_damage(node, root), *damage]


def mend(damage: Damage, root: Path) -> None:
    """Write again what other files hold; make the planner see the rest as missing, so that it alone is made again."""
    node = damage.node
    if damage.index is None:
        write_bytes(_folder(node, root) / MANIFEST, node.manifest.to_bytes())
        return
    if isinstance(node, Fit):
        node.fitted(root).drop()
        return
    dataset = node.dataset(root)
    record = dataset.readable_records().get(damage.index)
    if dataset.recover(damage.index) is not None:
        return
    if isinstance(node, Ingest) and record is not None:
        # Its record must stay: it says which documents belong to this shard.
        dataset.store.delete(record.name)
    else:
        dataset.drop(damage.index)


def _fit_damage(node: Fit, root: Path) -> tuple[int, list[Damage]]:
    files = tuple(node.fitted(root).damaged())
    return 1, [Damage(node, 0, files)] if files else []


def _shard_damage(node: Node, root: Path) -> tuple[int, list[Damage]]:
    dataset = node.dataset(root)
    records, lost = dataset.readable_records(), dataset.damaged_records()
    found = {index: tuple(dataset.store.damaged(record.files)) for index, record in records.items()}
    found |= {index: (dataset.record_name(index),) for index in lost}
    return len(found), [Damage(node, index, files) for index, files in sorted(found.items()) if files]


def _manifest_damage(node: Node, root: Path) -> list[Damage]:
    path = _folder(node, root) / MANIFEST
    whole = not path.exists() or path.read_bytes() == node.manifest.to_bytes()
    return [] if whole else [Damage(node, None, (MANIFEST,))]


def _folder(node: Node, root: Path) -> Path:
    return root / node.name / node.key


def find_garbage(config: Config) -> list[Path]:
    """Return what neither this configuration nor the last run of any other needs: old versions and left-overs."""
    root = Path(config.root)
    configs = [config, *_last_configs(root, config.name)]
    kept = {(node.name, node.key) for one in configs for node in [*build(one), *sweep_nodes(one)]}
    garbage = [path for path in root.rglob(".*.partial") if is_partial(path)]
    for dataset in list_datasets(root):
        if (dataset.manifest.stage, dataset.key) not in kept:
            garbage.append(dataset.folder)
        elif not dataset.manifest.stage.startswith(FITTED):
            garbage += [_shard_path(dataset.folder, name) for name in dataset.superseded()]
        else:
            garbage += old_checkpoints(dataset.folder)
    return sorted(garbage)


def size_of(path: Path) -> int:
    """Return the bytes below a path."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def remove(path: Path) -> None:
    """Remove a file or folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def configs_of_runs(root: Path) -> Iterator[tuple[str, Config]]:
    """Yield the name and configuration of every run, the oldest first; those of another version are passed over."""
    for path in sorted((root / "runs").glob("*.json")):
        run = orjson.loads(path.read_bytes())
        try:
            yield run["run"], parse_config(run["config"])
        except ConfigError:
            continue


def _last_configs(root: Path, name: str) -> Iterator[Config]:
    last = {config.name: config for _, config in configs_of_runs(root)}
    return (config for other, config in last.items() if other != name)


def _shard_path(folder: Path, name: str) -> Path:
    return next(path for path in (folder / f"{name}.parquet", folder / f"{name}.zarr") if path.exists())


def old_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a fitted dataset that its record does not name."""
    try:
        current = orjson.loads((folder / "record.json").read_bytes())["name"]
    except FileNotFoundError:
        current = ""
    return [path for path in folder.glob("checkpoint-*") if path.name != current]


# Datasets that are one checkpoint each, and no shards.
FITTED = ("models/", "codebooks/", "encoders/", "sweep/")
