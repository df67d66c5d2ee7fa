"""Tidy an output root: what nobody needs any more."""

import shutil
from pathlib import Path

from fuseline.flows.config import Config
from fuseline.flows.experiments.trials import sweep_nodes
from fuseline.flows.graph import build
from fuseline.flows.runs import RUNS, last_configs
from fuseline.stores.atomic import PARTIAL, is_partial
from fuseline.stores.dataset import list_datasets
from fuseline.stores.errors import DataError, mismatch
from fuseline.stores.fitted import RECORD, FittedRecord
from fuseline.stores.published import Published
from fuseline.tasks.engine.fit import stale_scratch


def find_garbage(config: Config) -> list[Path]:
    """Return what neither this configuration nor the last run of any other needs: old versions and left-overs.

    Bytes whose record cannot be read are no garbage. Raises DataError when the record of a run is damaged or missing:
    what its configuration needs is not known then.
    """
    root = Path(config.root)
    if unknown := Published.damaged(root, RUNS):
        cure = "run `fuseline repair` first"
        raise DataError(mismatch(str(root / unknown[0]), "a record that tells what runs need", "a damaged one", cure))
    configs = {**last_configs(root), config.name: config}.values()
    nodes = [node for one in configs for node in [*build(one), *sweep_nodes(one)]]
    kept = {(node.name, node.key) for node in nodes}
    garbage = [path for path in root.rglob(f".*{PARTIAL}") if is_partial(path)]
    for dataset in list_datasets(root):
        if (dataset.manifest.stage, dataset.key) not in kept:
            garbage.append(dataset.folder)
        elif dataset.manifest.kind != "checkpoint":
            garbage += [_shard_path(dataset.folder, name) for name in dataset.superseded()]
        else:
            garbage += old_checkpoints(dataset.folder)
    garbage += [path for path in stale_scratch(nodes, root) if path.parents[1] not in garbage]
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


def _shard_path(folder: Path, name: str) -> Path:
    return next(path for path in (folder / f"{name}.parquet", folder / f"{name}.zarr") if path.exists())


def old_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a fitted dataset that its record does not name; none when it cannot be read."""
    try:
        current = FittedRecord.from_bytes((folder / RECORD).read_bytes()).name
    except (FileNotFoundError, DataError):
        return []
    return [path for path in folder.glob("checkpoint-*") if path.name != current]
