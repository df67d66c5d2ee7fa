"""Check, heal and tidy an output root."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from flows.cells import sweep_nodes
from flows.config import Config, parse_config
from flows.graph import build
from stores.atomic import is_partial
from stores.dataset import list_datasets
from stores.errors import ConfigError
from tasks.nodes import Fit, Ingest, Node


@dataclass(frozen=True)
class Damage:
    """One shard or checkpoint whose bytes are missing or differ from their digest."""

    node: Node
    index: int
    files: tuple[str, ...]


def find_damage(nodes: list[Node], root: Path) -> Iterator[tuple[Node, int, list[Damage]]]:
    """Re-read every byte of every dataset; yield (node, shards checked, damage)."""
    for node in nodes:
        if isinstance(node, Fit):
            files = tuple(node.fitted(root).damaged())
            yield node, 1, [Damage(node, 0, files)] if files else []
            continue
        dataset = node.dataset(root)
        records = dataset.records()
        found = {index: tuple(dataset.store.damaged(record.files)) for index, record in records.items()}
        yield node, len(records), [Damage(node, index, files) for index, files in found.items() if files]


def drop_damaged(damage: Damage, root: Path) -> None:
    """Make the planner see a damaged shard as missing, so that the next run makes it alone again."""
    if isinstance(damage.node, Fit):
        damage.node.fitted(root).forget()
        return
    dataset = damage.node.dataset(root)
    record = dataset.record(damage.index)
    if isinstance(damage.node, Ingest) and record is not None:
        # Its record must stay: it says which documents belong to this shard.
        dataset.store.delete(record.name)
    else:
        dataset.forget(damage.index)


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
            named = {record.name for record in dataset.records().values()}
            garbage += [_shard_path(dataset.folder, name) for name in dataset.store.names() if name not in named]
        else:
            garbage += _old_checkpoints(dataset.folder)
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


def _last_configs(root: Path, name: str) -> Iterator[Config]:
    last: dict[str, dict[str, object]] = {}
    for path in sorted((root / "runs").glob("*.json")):
        run = orjson.loads(path.read_bytes())
        last[run["name"]] = run["config"]
    for other, values in last.items():
        if other != name:
            try:
                yield parse_config(values)
            except ConfigError:
                continue


def _shard_path(folder: Path, name: str) -> Path:
    return next(path for path in (folder / f"{name}.parquet", folder / f"{name}.zarr") if path.exists())


def _old_checkpoints(folder: Path) -> list[Path]:
    try:
        current = orjson.loads((folder / "record.json").read_bytes())["name"]
    except FileNotFoundError:
        current = ""
    return [path for path in folder.glob("checkpoint-*") if path.name != current]


# Datasets that are one checkpoint each, and no shards.
FITTED = ("models/", "codebooks/", "encoders/", "sweep/")
