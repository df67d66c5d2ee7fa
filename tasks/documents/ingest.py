"""Ingest a source as shards of documents; ingesting it again touches only what changed."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal, Required, TypedDict, Unpack

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fuseline.models.config import key_values
from fuseline.models.progress import note
from fuseline.stores.dataset import ROW_INPUTS, Dataset
from fuseline.stores.digests import row_digests
from fuseline.stores.errors import ConfigError, DamagedError, DataError, mismatch
from fuseline.stores.forgotten import Forgotten
from fuseline.stores.layouts.parquet import put_table
from fuseline.stores.manifest import ShardRecord
from fuseline.stores.redaction import redacted_values
from fuseline.stores.root import Root
from fuseline.stores.schemas import QUARANTINE
from fuseline.tasks.documents.assignment import Assignment, SplitConfig, settle_splits
from fuseline.tasks.documents.documents_node import DocumentsNode, IngestConfig, SourceConfig
from fuseline.tasks.documents.duplicate_ids import LastOfEach
from fuseline.tasks.documents.findings import References, findings_table
from fuseline.tasks.documents.image_digests import ImageDigests
from fuseline.tasks.documents.near_duplicates import DuplicatesConfig, ImageDuplicates
from fuseline.tasks.documents.presence import images_note
from fuseline.tasks.documents.routing import FORGOTTEN, Known, Router, id_hashes, usable
from fuseline.tasks.documents.side_files import (
    FOUND,
    IMAGES,
    QUARANTINED,
    State,
    commit_documents,
    known_images,
    listed_ids,
    quarantined,
    recover_documents,
)
from fuseline.tasks.documents.source_files import Listing
from fuseline.tasks.documents.sources import source_text, split_source
from fuseline.tasks.engine.images import DIGEST
from fuseline.tasks.engine.nodes import Scan
from fuseline.tasks.engine.timings import ShardReport
from fuseline.tasks.readers import READERS, looks_for
from fuseline.tasks.readers.places import source_names

logger = logging.getLogger(__name__)
lines = logging.getLogger("fuseline")  # what the user reads

ROLE = "documents"
INGEST = 5  # version: raised whenever the same source would give other documents


def scan(
    node: DocumentsNode,
    root: Root,
    *,
    broken: frozenset[int] = frozenset(),
    again: frozenset[int] = frozenset(),
    look: bool = True,
) -> Scan:
    """Compare the source with what was ingested; reads it only when its listing changed, or there is a reason to.

    Args:
        node: the ingest.
        root: output root.
        broken: shards whose file is missing.
        again: shards whose images are read again, whatever the listing shows.
        look: False when the ingest follows at once: the scan shows that the source changed, not what, and the source is
            read once instead of twice.
    """
    dataset, listing = node.dataset(root), _listed(node.source)
    state, records = State.load(dataset), dataset.records()
    lost = state.lost(dataset, records)
    unchanged = state.listing == listing.digest and state.fits(dataset, records)
    if unchanged and not (broken or lost or again):
        return Scan({})
    result = Scan({}, stale_state=True, lost=lost, listing=listing, again=again)
    if not look:
        return result
    changes = _Changes(node, root, broken, listing, again)
    shards = sum(1 for _ in changes.new_shards())
    new = tuple(range(changes.next_index, changes.next_index + shards))
    result = replace(
        result, changed=changes.touched(), new=new, new_rows=changes.router.new_rows, images=changes.images.counts.line
    )
    if not changes.total:
        raise DataError(_nothing(node.source, changes.quarantine()))
    return result


def ingest(
    node: DocumentsNode,
    root: Root,
    *,
    broken: frozenset[int] = frozenset(),
    listing: Listing | None = None,
    again: frozenset[int] = frozenset(),
    done: Callable[[ShardReport], None],
) -> None:
    """Materialize the documents dataset: new documents into new shards, changed ones in place.

    Args:
        node: the ingest.
        root: output root.
        broken: shards to make again from the source.
        listing: of the source, where it was listed just now.
        again: shards whose images are read again, though their files kept size and time.
        done: called with a report after each shard is committed.

    Raises:
        DataError: the source holds no document at all; documents ingested before stay.
    """
    dataset, listing = node.dataset(root), listing or _listed(node.source)
    for name in Forgotten.restore(root):
        logger.warning("%s was damaged or missing, and was written again from its other copy", root.uri(name))
    if _recovered(dataset) and not broken and not again and not scan(node, root, look=False).stale_state:
        return
    changes = _Changes(node, root, broken, listing, again)
    index, started = changes.next_index, time.perf_counter()
    for table in changes.new_shards():
        commit_documents(dataset, index, table)
        done(ShardReport(node.label, index, table.num_rows, table.num_rows, 0, time.perf_counter() - started))
        index, started = index + 1, time.perf_counter()
        del table  # before the next one is gathered: it may hold images
    if not changes.total:
        raise DataError(_nothing(node.source, changes.quarantine()))
    findings = changes.findings()
    if lost := changes.images.counts.line:
        lines.info("%s: %s", node.label, lost)
    for shard in sorted(changes.touched()):
        table, rows = changes.rebuilt(shard), changes.router.changed_rows(shard)
        commit_documents(dataset, shard, table)
        kept = table.num_rows - rows
        done(ShardReport(node.label, shard, table.num_rows, rows, kept, time.perf_counter() - started))
        started = time.perf_counter()
    put_table(dataset.folder, IMAGES, changes.images.table())
    for name, table in ((QUARANTINED, changes.quarantine()), (FOUND, findings)):
        put_table(dataset.folder, name, table)
    State.of(dataset, listing.digest).save(dataset)


def ingest_quarantine(node: DocumentsNode, root: Root) -> pa.Table:
    """Return the rows of the source that could not become documents; raises DamagedError when the list is damaged."""
    return quarantined(node.dataset(root))


class _Changes:
    """One pass over a source, compared with what was ingested."""

    def __init__(
        self, node: DocumentsNode, root: Root, broken: frozenset[int], listing: Listing, again: frozenset[int]
    ) -> None:
        self.node, self.dataset, self.total = node, node.dataset(root), 0
        self.forgotten, dataset = Forgotten.load(root), self.dataset
        self.records = dataset.records()
        healthy = {i: _read_rows(dataset, record) for i, record in self.records.items() if i not in broken}
        known = {index: table for index, table in healthy.items() if table is not None}
        self.broken = (self.records.keys() | State.load(dataset).lost(dataset, self.records)) - known.keys()
        known |= {index: _listed_rows(dataset, index) for index in self.broken}
        self.next_index = 1 + max(known, default=-1)
        size = None if node.config.shard_size == "auto" else node.config.shard_size
        self.router = Router(Known.of(known, ROW_INPUTS), size, workers=node.config.workers)
        self.images = ImageDigests.load(
            known_images(dataset),
            listing,
            root=node.source.image_root(),
            again=self._uris(again - self.broken),
        )
        self.assignment = Assignment(node.config.split).learn(documents for documents, _ in self._batches())
        self.duplicates = self._known_images(node.config.duplicates)
        self.last = self._last() if node.config.duplicates.ids == "last" else None
        self.references = References()  # of a reader with findings
        self._bad: list[pa.Table] = []
        self._empty: pa.Table = pa.table({})  # no rows, in the schema of this pass

    def new_shards(self) -> Iterator[pa.Table]:
        """Read the source to its end; yield each shard of new documents."""
        searched = READERS[self.node.source.reader].findings is not None
        for batch in self._raw():
            if searched:  # forgotten documents too: their images are no strays
                self.references.add(batch["image"])
            table, bad = self._sorted(batch)
            self._set_aside(bad, None)
            note(self.total)
            self.total += table.num_rows + pc.sum(pc.equal(bad["status"], FORGOTTEN), min_count=0).as_py()
            if table.num_rows == 0 and self._empty is not None:
                continue
            table = self._without_repeats(self._completed(self._without_earlier(table)))
            self._empty = table.slice(0, 0)
            digests = np.frombuffer(b"".join(table[ROW_INPUTS].to_pylist()), np.uint8).reshape(-1, 16)
            full, repeated = self.router.take(table, digests)
            if repeated.num_rows and self.node.config.duplicates.ids == "error":
                again = f"{repeated['id'][0]} at {source_text(repeated)[0]}"
                cure = "correct the source, or set duplicates.ids to first or last"
                raise DataError(mismatch("documents", "every id once", again, cure))
            yield from full
            self._set_aside(repeated, "duplicate_id")
        yield from self.router.rest()

    def touched(self) -> dict[int, int]:
        """Return how many documents of each known shard changed or are gone; broken shards are always among them."""
        sizes = {**dict.fromkeys(self.broken, 0), **{i: self.router.changed_rows(i) for i in self.router.changed}}
        for shard, rows in self.router.removed().items():
            sizes[shard] = sizes.get(shard, 0) + len(rows)
        return sizes

    def rebuilt(self, shard: int) -> pa.Table:
        """Return a known shard with its changed rows replaced and the removed ones gone."""
        rows, changed = self.router.new_content(shard)
        if shard in self.broken:
            order = np.argsort(rows)
            return (self._empty if changed is None else changed.take(pa.array(order))).combine_chunks()
        n, old = self.records[shard].n_rows, self.dataset.read(self.records[shard])
        places = np.arange(n)
        places[rows] = n + np.arange(len(rows))
        kept = np.delete(places, self.router.removed().get(shard, []))
        table = pa.concat_tables([old] if changed is None else [old, changed], promote_options="default")
        return table.take(pa.array(kept)).combine_chunks()

    def quarantine(self) -> pa.Table:
        """Return the rows that could not become documents."""
        return pa.concat_tables([QUARANTINE.empty_table(), *self._bad]).combine_chunks()

    def findings(self) -> pa.Table:
        """Return the findings of the source beside its rows, after these were read."""
        return findings_table(self.node.label, self.node.source, self.references, self.forgotten)

    def _set_aside(self, rows: pa.Table, reason: str | None) -> None:
        if not rows.num_rows:
            return
        unnamed = pc.if_else(pc.equal(rows["status"], "ok"), "no_id", rows["status"])
        values = {
            "stage": pa.repeat(self.node.label, rows.num_rows),
            "id": rows["id"],
            "source": source_text(rows),
            "reason": unnamed if reason is None else pa.repeat(reason, rows.num_rows),
            "shard": pa.nulls(rows.num_rows, pa.int32()),
        }
        self._bad.append(pa.table(values, schema=QUARANTINE))

    def _raw(self) -> Iterator[pa.Table]:
        source = self.node.source
        return READERS[source.reader].read(source.path, source.parsed())

    def _batches(self) -> Iterator[tuple[pa.Table, pa.Table]]:
        return map(self._sorted, self._raw())

    def _sorted(self, batch: pa.Table) -> tuple[pa.Table, pa.Table]:
        documents, bad = usable(settle_splits(batch, self.node.config.split), self.forgotten)
        return split_source(documents), split_source(bad)

    def _known_images(self, config: DuplicatesConfig) -> ImageDuplicates | None:
        if not config.images:
            return None
        images = ImageDuplicates(config, self.node.source.image_root())
        for index, record in self.records.items():
            if index not in self.broken:
                table = self.dataset.read(record, ("id", "image_hash"))
                images.remember(table["image_hash"], id_hashes(table["id"]))
        return images

    def _uris(self, shards: frozenset[int]) -> list[str | None]:
        tables = (self.dataset.read(self.records[index], ("image",)) for index in sorted(shards))
        return [uri for table in tables for uri in pc.struct_field(table["image"], "uri").to_pylist()]

    def _last(self) -> LastOfEach:
        return LastOfEach(documents["id"] for documents, _ in self._batches())

    def _without_earlier(self, table: pa.Table) -> pa.Table:
        """Leave out, and list, documents whose id comes again, where the last one counts."""
        if self.last is None:
            return table
        earlier = pa.array(self.last.earlier(table["id"]))
        self._set_aside(table.filter(earlier), "duplicate_id")
        return table.filter(pc.invert(earlier))

    def _without_repeats(self, table: pa.Table) -> pa.Table:
        """Leave out, and list, documents whose image was shown by an earlier one."""
        if self.duplicates is None:
            return table
        repeats = pa.array(self.duplicates.repeats(table["image_hash"], id_hashes(table["id"])))
        self._set_aside(table.filter(repeats), "duplicate_image")
        return table.filter(pc.invert(repeats))

    def _completed(self, table: pa.Table) -> pa.Table:
        table = self.assignment.apply(table)
        table = table.append_column(DIGEST, self.images.of(table["image"]))
        if self.duplicates is not None:
            table = table.append_column("image_hash", self.duplicates.hashes(table["image"]))
        places = table["image"].combine_chunks()
        located = table.append_column("uri", places.field("uri")).append_column("offset", places.field("offset"))
        names = [name for name in located.column_names if name not in ("id", "source_file", "source_row", "image")]
        digests = row_digests(located, names)
        rows = pa.Array.from_buffers(pa.binary(16), len(digests), [None, pa.py_buffer(digests)])
        return table.append_column(pa.field(ROW_INPUTS, pa.binary(16)), rows)


class Chosen(TypedDict, total=False):
    """Fields of an `IngestConfig` that do not follow from the source."""

    shard_size: Required[int | Literal["auto"]]
    split: Required[SplitConfig]
    duplicates: DuplicatesConfig
    workers: int


def stage(name: str, source: SourceConfig, **chosen: Unpack[Chosen]) -> DocumentsNode:
    """Return the node that makes the documents of a source; `chosen` holds the other fields of its configuration."""
    options = redacted_values(key_values(source.parsed()))  # a signature of today must not decide a key
    config = IngestConfig(dataset=name, reader=source.reader, options=options, **chosen)
    return DocumentsNode(
        role=ROLE, short=name, flow="ingest", version=INGEST, source=source, config=config, scan=scan, make=ingest,
        note=images_note,
    )  # fmt: skip


def _listed(source: SourceConfig) -> Listing:
    if not source.path:
        raise ConfigError(mismatch("source.path", "a file, folder or URL", "", "name the data to read"))
    return Listing.of(READERS[source.reader].files(source.path, source.parsed()))


def _recovered(dataset: Dataset) -> bool:
    """Write lost records again from the bytes of their shards; return whether there were any."""
    lost = State.load(dataset).lost(dataset, dataset.records())
    recovered = [index for index in sorted(lost) if recover_documents(dataset, index) is not None]
    for index in recovered:
        logger.warning("documents shard %d had lost its record, which was rebuilt from its bytes", index)
    return bool(recovered)


def _nothing(source: SourceConfig, aside: pa.Table) -> str:
    """Return the message on a source without documents: why the first row was set aside, else what lies there."""
    options = source.parsed()
    if aside.num_rows:
        why = f"first of {aside.num_rows:,} set aside: {aside['reason'][0]} at {aside['source'][0]}"
    else:
        there = source_names(source.path, LISTED)
        why = f"the source holds {', '.join(there)}" if there else "the source holds no file"
    looked = f"reader {source.reader} looks for {looks_for(source.reader, options)}"
    cure = f"{why}; {looked}; check `source.path` and `source.options`; documents ingested before are kept"
    return mismatch(f"source {source.path}", "at least one document", 0, cure)


def _read_rows(dataset: Dataset, record: ShardRecord) -> pa.Table | None:
    """Return ids and digests of an ingested shard, or None when it is damaged."""
    try:
        return dataset.read(record, ("id", ROW_INPUTS))
    except DamagedError:
        logger.warning("documents shard %d is damaged and will be ingested again", record.index)
        return None


def _listed_rows(dataset: Dataset, index: int) -> pa.Table:
    """Return the ids that were written beside a shard, with zeroes for digests so that every row counts as changed."""
    ids = listed_ids(dataset, index)
    return pa.table({"id": ids, ROW_INPUTS: pa.array([bytes(16)] * len(ids), pa.binary(16))})


LISTED = 5  # names of a source without documents that a message lists
