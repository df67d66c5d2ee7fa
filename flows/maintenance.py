"""Tidy an output root: what nobody needs any more."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import orjson

from flows.cells import sweep_nodes
from flows.config import Config, parse_config
from flows.graph import build
from stores.atomic import is_partial
from stores.dataset import list_datasets
from stores.errors import ConfigError, DataError
from stores.fitted import RECORD, FittedRecord


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
    """Return the checkpoints of a fitted dataset that its record does not name; none when it cannot be read."""
    try:
        current = FittedRecord.from_bytes((folder / RECORD).read_bytes()).name
    except (FileNotFoundError, DataError):
        return []
    return [path for path in folder.glob("checkpoint-*") if path.name != current]


# Datasets that are one checkpoint each, and no shards.
FITTED = ("models/", "codebooks/", "encoders/", "sweep/")
