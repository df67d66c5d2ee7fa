"""Find what is damaged under an output root; put it right, or make the planner see it as missing."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from fuseline.flows.config import Config
from fuseline.flows.graph import build
from fuseline.flows.runs import known_nodes
from fuseline.stores.dataset import MANIFEST, Dataset, dataset_folders, manifest_in
from fuseline.stores.fitted import RECORD, Fitted
from fuseline.stores.forgotten import Forgotten
from fuseline.stores.manifest import Manifest
from fuseline.stores.places import open_root
from fuseline.stores.published import FILE as PUBLISHED
from fuseline.stores.published import Published, relist
from fuseline.stores.published import repair as repair_published
from fuseline.stores.root import Root
from fuseline.tasks.documents.side_files import State, damaged_beside, drop_beside, recover_documents, renew_ids
from fuseline.tasks.engine.nodes import Node


@dataclass(frozen=True)
class Damage:
    """Files that are missing, differ from their digest or cannot be read, and what puts them right.

    `repair` writes again what other files hold, and drops the rest, so that the next run makes it again and it alone;
    it returns what the user should know of that.
    """

    files: tuple[str, ...]
    repair: Callable[[], str | None] = field(compare=False, repr=False)
    where: str = ""  # number of the shard, behind the dataset if the label does not say it

    def __str__(self) -> str:
        return (f"{self.where}: " if self.where else "") + ", ".join(self.files)


class Checked(NamedTuple):
    """What was looked at: a stage by its label, how many shards, checkpoints or files, and what is damaged."""

    label: str
    checked: int
    damage: list[Damage]


def find_all_damage(config: Config) -> Iterator[Checked]:
    """Re-read every byte below the root of a configuration: its datasets and all others, and what lies beside them."""
    root, nodes = open_root(config.root), build(config)
    if damage := _forgotten_damage(root):
        yield damage
    yield from find_damage(nodes, root)
    yield _damage_of_others(config, nodes, root)
    yield _published_damage(root)


def find_damage(nodes: Sequence[Node], root: Root) -> Iterator[Checked]:
    """Re-read every byte of the datasets of some nodes."""
    for node in nodes:
        checked, damage = _damage_of(node.manifest, root)
        yield Checked(node.label, checked, [*_manifest_damage(node.dataset(root)), *damage])


def _forgotten_damage(root: Root) -> Checked | None:
    damaged, copies = tuple(Forgotten.damaged(root)), Forgotten.copies(root)
    if not damaged and not copies:
        return None

    def repair() -> None:
        Forgotten.restore(root)

    return Checked("list of forgotten documents", len(copies), [Damage(damaged, repair)] if damaged else [])


def _published_damage(root: Root) -> Checked:
    damage = [
        Damage((name,), partial(_relist, root) if name == PUBLISHED else partial(repair_published, root, name))
        for name in Published.damaged(root)
    ]
    listed = 0 if any(PUBLISHED in fault.files for fault in damage) else len(Published.load(root).files)
    return Checked("published files", listed, damage)


def _relist(root: Root) -> None:
    relist(root)
    Forgotten.restore(root)  # notes how long it is


def _damage_of_others(config: Config, nodes: Sequence[Node], root: Root) -> Checked:
    """Look at the datasets of other configurations, of earlier versions and of predictions."""
    mine = {f"{node.name}/{node.key}" for node in nodes}
    known = {f"{node.name}/{node.key}": node for node in known_nodes(config, root)}
    checked, damage = 0, list[Damage]()
    for folder in sorted(set(dataset_folders(root)) - mine):
        if folder in known:
            ((_, n, damages),) = find_damage([known[folder]], root)
        else:
            n, damages = _stranger_damage(folder, root)
        checked += n
        damage += [replace(fault, where=f"{folder} {fault.where}".rstrip()) for fault in damages]
    return Checked("other datasets", checked, damage)


def _stranger_damage(folder: str, root: Root) -> tuple[int, list[Damage]]:
    """Check a dataset that no known configuration needs; a damaged one is removed as a whole, as `gc` would do."""
    manifest = manifest_in(root, folder)
    if manifest is None:
        return 0, [Damage((MANIFEST,), partial(root.remove, folder))]
    checked, damage = _damage_of(manifest, root)
    return checked, [replace(fault, repair=partial(root.remove, folder)) for fault in damage]


def _damage_of(manifest: Manifest, root: Root) -> tuple[int, list[Damage]]:
    if manifest.kind == "checkpoint":
        return _fit_damage(Fitted(root, manifest))
    return _shard_damage(Dataset(root, manifest), documents=manifest.kind == "documents")


def _manifest_damage(dataset: Dataset) -> list[Damage]:
    folder, data = dataset.folder, dataset.manifest.to_bytes()
    if not folder.children() or (folder.exists(MANIFEST) and folder.get(MANIFEST) == data):
        return []
    return [Damage((MANIFEST,), partial(folder.put, MANIFEST, data))]


def _fit_damage(fitted: Fitted) -> tuple[int, list[Damage]]:
    files = tuple(fitted.damaged())
    if not fitted.folder.exists(RECORD) and fitted.checkpoints():
        files = (RECORD,)
    return 1, [Damage(files, fitted.drop, "0")] if files else []


def _shard_damage(dataset: Dataset, *, documents: bool) -> tuple[int, list[Damage]]:
    records = dataset.readable_records()
    damaged = {index: tuple(dataset.damaged(record)) for index, record in records.items()}
    lost = State.load(dataset).lost(dataset, records) if documents else dataset.lost_records()
    damaged |= {index: (dataset.record_name(index),) for index in lost}
    repair = _repair_documents if documents else _repair_shard
    damage = [
        Damage(files, partial(repair, dataset, index), str(index)) for index, files in sorted(damaged.items()) if files
    ]
    earlier = [name for name in dataset.superseded() if not dataset.sound(name)]
    damage += [Damage((name,), partial(dataset.store.delete, name)) for name in earlier]
    beside = tuple(damaged_beside(dataset)) if documents else ()
    return len(damaged), [*damage, *([Damage(beside, partial(drop_beside, dataset))] if beside else [])]


def _repair_shard(dataset: Dataset, index: int) -> None:
    if index not in dataset.lost_records() or dataset.recover(index) is None:
        dataset.drop(index)


def _repair_documents(dataset: Dataset, index: int) -> None:
    record = dataset.readable_records().get(index)
    if record is None:
        if recover_documents(dataset, index) is None:
            dataset.drop(index)
    elif dataset.store.damaged(record.files):
        # Its record must stay: it says which documents belong to this shard.
        dataset.store.delete(record.name)
    else:
        renew_ids(dataset, record)
