"""Remove forgotten documents from every dataset of an output root, whatever configuration wrote it."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from fuseline.stores.dataset import Dataset, list_datasets
from fuseline.stores.errors import DamagedError, DataError
from fuseline.stores.fitted import SCRATCH, scratch_folders
from fuseline.stores.forgotten import Forgotten, documents_of, naming
from fuseline.stores.manifest import ShardRecord
from fuseline.stores.root import Root
from fuseline.tasks.documents.side_files import (
    commit_documents,
    erase_images,
    erase_listed,
    listed_documents,
    listed_ids,
    recover_documents,
    state_kept,
)
from fuseline.tasks.engine.inputs import shard_inputs
from fuseline.tasks.engine.nodes import Node, ShardStage


@dataclass(frozen=True)
class AffectedShard:
    """One shard that holds forgotten documents, or may: no `ids` means that it cannot be read.

    `by_row` is False for a table that is about many documents and names some of them in its rows.
    """

    dataset: Dataset
    index: int
    ids: tuple[str, ...]
    by_row: bool = True
    record: ShardRecord | None = field(default=None, compare=False)  # None: it is lost, and so are the bytes

    @property
    def name(self) -> str:
        """Stage and key of the dataset."""
        return f"{self.dataset.manifest.stage}/{self.dataset.key}"

    @property
    def is_documents(self) -> bool:
        """Whether the shard was ingested, not derived from others."""
        return self.dataset.manifest.kind == "documents"


def datasets_of(root: Root, nodes: Sequence[Node]) -> list[Dataset]:
    """Return every dataset of shards, those of `nodes` first, in their order, even when their manifest is damaged."""
    known = {dataset.folder: dataset for dataset in (node.dataset(root) for node in nodes if node.kind != "checkpoint")}
    return [*known.values(), *(dataset for dataset in list_datasets(root) if dataset.folder not in known)]


def find_rows(datasets: Iterable[Dataset], forgotten: Forgotten) -> Iterator[AffectedShard]:
    """Read the ids of every shard; yield the shards that hold forgotten documents or cannot be read."""
    for dataset in datasets:
        lost = {index: dataset.recoverable(index) for index in dataset.lost_records()}
        for index, record in sorted({**dataset.readable_records(), **lost}.items()):
            try:
                by_row = record is not None and bool(record.ids)
                table = None if record is None else dataset.read(record, ("id",) if by_row else None)
            except (DamagedError, OSError):
                table = None
            if table is None:
                yield AffectedShard(dataset, index, ())
                continue
            named = [documents_of(table[name])[0] for name in naming(table.schema)]
            mine = [document for ids in named for document in ids.filter(pa.array(forgotten.mask(ids))).to_pylist()]
            if mine:
                yield AffectedShard(dataset, index, tuple(dict.fromkeys(mine)), by_row, record)


def find_listed(datasets: Iterable[Dataset], forgotten: Forgotten) -> set[str]:
    """Return the forgotten ids in the lists beside documents: of rows in quarantine, of shards that cannot be read."""
    ids: set[str] = set()
    for dataset in datasets:
        if dataset.manifest.kind == "documents":
            ids |= set(listed_documents(dataset, forgotten))
    return ids


def erase_rows(
    root: Root,
    nodes: Sequence[Node],
    datasets: Iterable[Dataset],
    affected: Sequence[AffectedShard],
    forgotten: Forgotten,
) -> None:
    """Rewrite the affected shards without the forgotten rows; remove superseded shards and partial files.

    A row is gone from all datasets, so that row r of shard i stays the same document everywhere; a shard of `nodes`
    that was fresh is fresh afterwards. Tables about many documents that name one of them are removed, to be remade.
    A kill leaves the rest to the next call, which finds it.

    Args:
        root: output root.
        nodes: known writers of datasets here, each after its inputs.
        datasets: as `datasets_of` returns them.
        affected: as `find_rows` yields them.
        forgotten: the list.
    """
    known = {node.key: node for node in nodes if isinstance(node, ShardStage) and node.by_row}
    fresh = {
        shard: node for shard in affected if (node := known.get(shard.dataset.key)) and _is_fresh(shard, node, root)
    }
    for dataset in datasets:
        mine = [shard for shard in affected if shard.dataset is dataset]
        documents = dataset.manifest.kind == "documents"
        for index in dataset.lost_records():
            recover_documents(dataset, index) if documents else dataset.recover(index)
        with state_kept(dataset) if documents else nullcontext():
            if mine and documents:
                erase_images(dataset)
            for shard in mine:
                _erase(shard, forgotten, root, fresh.get(shard))
            if documents:
                erase_listed(dataset, forgotten)
        for name in dataset.superseded():
            dataset.store.delete(name)
    for name in root.leftovers():
        root.remove(name)
    for fit in {scratch.fit for scratch in scratch_folders(root)}:
        root.remove(f"{fit}/{SCRATCH}")


def _erase(shard: AffectedShard, forgotten: Forgotten, root: Root, fresh: Node | None) -> None:
    dataset, index = shard.dataset, shard.index
    record = dataset.readable_records().get(index)
    try:
        table = dataset.read(record) if record is not None and record.ids else None
    except (DamagedError, OSError):
        table = None
    if record is not None and table is not None:
        kept = table.filter(pc.invert(pa.array(forgotten.mask(table["id"])))).combine_chunks()
        inputs = _inputs(fresh, root, index) if fresh is not None else None
        if shard.is_documents:
            commit_documents(dataset, index, kept)
        else:
            dataset.commit(index, kept, record.inputs if inputs is None else inputs)
    elif record is None or not shard.is_documents:
        dataset.drop(index)
    elif forgotten.mask(listed_ids(dataset, index)).any():
        # Its record must stay: the next run ingests the shard again.
        dataset.store.delete(record.name)


def _is_fresh(shard: AffectedShard, node: Node, root: Root) -> bool:
    record = shard.dataset.readable_records().get(shard.index)
    return record is not None and record.inputs == _inputs(node, root, shard.index)


def _inputs(node: Node, root: Root, index: int) -> dict[str, str] | None:
    """Return the inputs that a shard would have now; None when one is absent."""
    try:
        return shard_inputs(node, root, index)
    except DataError:
        return None
