"""Find what is damaged under an output root; put it right, or make the planner see it as missing."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from stores.atomic import write_bytes
from stores.dataset import MANIFEST, Dataset
from stores.fitted import RECORD, Fitted
from stores.manifest import Manifest
from tasks.beside import State, damaged_beside, drop_beside, recover_documents, renew_ids
from tasks.nodes import Fit, Ingest, Node


@dataclass(frozen=True)
class Damage:
    """Files that are missing, differ from their digest or cannot be read, and what puts them right.

    `mend` writes again what other files hold, and drops the rest, so that the next run makes it again and it alone.
    """

    files: tuple[str, ...]
    mend: Callable[[], object] = field(compare=False, repr=False)
    where: str = ""  # number of the shard

    def __str__(self) -> str:
        return (f"{self.where}: " if self.where else "") + ", ".join(self.files)


class Checked(NamedTuple):
    """What was looked at: a stage by its label, how many shards, checkpoints or files, and what is damaged."""

    label: str
    checked: int
    damage: list[Damage]


def find_damage(nodes: Sequence[Node], root: Path) -> Iterator[Checked]:
    """Re-read every byte of the datasets of some nodes."""
    for node in nodes:
        if isinstance(node, Fit):
            checked, damage = _fit_damage(node.fitted(root))
        else:
            checked, damage = _shard_damage(node.dataset(root), documents=isinstance(node, Ingest))
        yield Checked(node.label, checked, [*_manifest_damage(root / node.name / node.key, node.manifest), *damage])


def _manifest_damage(folder: Path, manifest: Manifest) -> list[Damage]:
    path, data = folder / MANIFEST, manifest.to_bytes()
    if not folder.is_dir() or (path.is_file() and path.read_bytes() == data):
        return []
    return [Damage((MANIFEST,), partial(write_bytes, path, data))]


def _fit_damage(fitted: Fitted) -> tuple[int, list[Damage]]:
    files = tuple(fitted.damaged())
    if not (fitted.folder / RECORD).is_file() and any(fitted.folder.glob("checkpoint-*")):
        files = (RECORD,)
    return 1, [Damage(files, fitted.drop, "0")] if files else []


def _shard_damage(dataset: Dataset, *, documents: bool) -> tuple[int, list[Damage]]:
    records = dataset.readable_records()
    found = {index: tuple(dataset.damaged(record)) for index, record in records.items()}
    lost = State.load(dataset).lost(dataset, records) if documents else dataset.lost_records()
    found |= {index: (dataset.record_name(index),) for index in lost}
    mend = _mend_documents if documents else _mend_shard
    damage = [
        Damage(files, partial(mend, dataset, index), str(index)) for index, files in sorted(found.items()) if files
    ]
    beside = tuple(damaged_beside(dataset)) if documents else ()
    return len(found), [*damage, *([Damage(beside, partial(drop_beside, dataset))] if beside else [])]


def _mend_shard(dataset: Dataset, index: int) -> None:
    if index not in dataset.lost_records() or dataset.recover(index) is None:
        dataset.drop(index)


def _mend_documents(dataset: Dataset, index: int) -> None:
    record = dataset.readable_records().get(index)
    if record is None:
        if recover_documents(dataset, index) is None:
            dataset.drop(index)
    elif dataset.store.damaged(record.files):
        # Its record must stay: it says which documents belong to this shard.
        dataset.store.delete(record.name)
    else:
        renew_ids(dataset, record)
