"""The nodes of the DAG: what each dataset is made from, and therefore its key.

A node is a value: it can be sent to a worker process, and equal nodes name equal datasets. Three things can be
made: shards (`Ingest`, `ShardStage`), one fitted checkpoint (`Fit`) and one table over all shards (`Summary`).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Never, Protocol, cast

import pyarrow as pa

from fuseline.models.columns import Column, Text
from fuseline.models.config import FrozenConfig, key_values
from fuseline.models.features import Features
from fuseline.plain import JsonObject
from fuseline.stores.dataset import Dataset
from fuseline.stores.fitted import Fitted, SavedCheckpoint
from fuseline.stores.manifest import Kind, Manifest
from fuseline.stores.root import Root
from fuseline.tasks.engine.image_pass import ImageTransform
from fuseline.tasks.engine.rows import ORDINARY, Fold, Rows
from fuseline.tasks.engine.timings import ShardReport


@dataclass(frozen=True)
class Read:
    """What a node reads of an upstream dataset, row by row.

    `keyed` are the columns whose content decides whether anything changed; by default those that are read.
    """

    node: "Node"
    columns: tuple[str, ...]
    keyed: tuple[str, ...] = ()
    into: str = ""  # the column of a block that it adds to; by default its own

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns whose content decides freshness."""
        return self.keyed or self.columns


@dataclass(frozen=True)
class Feature:
    """What a stage makes for classifiers: one column of the documents."""

    kind: type[Column]
    field: str  # of its table
    modality: str = ""  # that it is made from: text, image or tabular

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of its table that a classifier reads."""
        return (self.field,) if self.kind is Text else ("present", self.field)


@dataclass(frozen=True)
class Context:
    """What a transform may need beside its tables, none of which changes bytes.

    `checkpoints` maps the names of fitted upstreams to where they are saved.
    """

    source: str  # where image references start
    checkpoints: dict[str, SavedCheckpoint]
    lineage: dict[str, str]  # upstream name -> dataset key, the node's own under "self"
    reads: tuple[Read, ...] = ()  # what the tables are
    scratch: Path | None = None  # of a fit: where it may keep what it goes on from when it is cut short
    facts: dict[str, JsonObject] = field(default_factory=dict)  # of the records of fitted upstreams, by their names
    fold: Fold | None = None  # of the node
    seen: tuple[bool, ...] = ()  # of a summary that compares: per shard, in order, whether the fit saw it as it is now


@dataclass(frozen=True, kw_only=True)
class Node:
    """What is common to all nodes.

    `weights` is the digest of any weights or library version that changes bytes.
    """

    kind: ClassVar[Kind] = "shards"

    role: str  # the role of its dataset, and the folder that holds it: "embed", "models"
    short: str  # its name among the datasets of its role: "image"
    flow: str  # the step, and so the deployment, that makes it: "embed", "train"; says nothing about when
    main: bool = True  # one of the datasets that its flow is about: its label need not say the role
    version: int
    config: FrozenConfig
    reads: tuple[Read, ...] = ()
    fits: tuple["Fit", ...] = ()
    weights: str = ""
    layout: str = "parquet"
    feature: Feature | None = None
    rows: Rows = ORDINARY  # that a fit sees; of any other node its fold counts alone
    unseen: tuple[str, ...] = ()  # splits of which nothing that it rests on may have learned: those it scores

    @cached_property
    def manifest(self) -> Manifest:
        """What this node's dataset is made from."""
        config = {**key_values(self.config), **({"weights": self.weights} if self.weights else {})}
        config |= {} if self.rows == ORDINARY else {"rows": asdict(self.rows)}
        upstream = {node.name: node.key for node in self.upstream}
        return Manifest(self.name, self.version, config, upstream, self.layout, role=self.role, kind=self.kind)

    @cached_property
    def key(self) -> str:
        """The dataset key."""
        return self.manifest.key

    @property
    def fold(self) -> Fold | None:
        """The fold of a cross-validation that it is in."""
        return self.rows.fold

    @property
    def column(self) -> str:
        """The name that its feature has for classifiers, the same in every fold: "embed/image"."""
        return f"{self.role}/{self.short}"

    @property
    def name(self) -> str:
        """The dataset's name, and its folder under the output root: "embed/image", "models/additive@fold2of5"."""
        return self.column + self._place

    @property
    def label(self) -> str:
        """The name that people read: flow and dataset, "train/additive"."""
        what = f"{self.flow}/{self.short}" if self.main else f"{self.flow}/{self.role}-{self.short}"
        return what + self._place

    @property
    def _place(self) -> str:
        return "" if self.fold is None else f"@{self.fold}"

    @property
    def upstream(self) -> tuple["Node", ...]:
        """Every node that this one reads or was fitted by."""
        return (*(read.node for read in self.reads), *self.fits)

    def dataset(self, root: Root) -> Dataset:
        """Open this node's dataset under an output root."""
        return Dataset(root, self.manifest)


@dataclass(frozen=True)
class Scan:
    """What an ingest would do."""

    changed: dict[int, int]  # shard -> documents that changed or are gone
    new: tuple[int, ...] = ()  # shards that would be added
    new_rows: int = 0
    stale_state: bool = False  # the source must be read: files were touched, if nothing else
    lost: frozenset[int] = frozenset()  # shards whose record is gone
    listing: object = field(default=None, compare=False, repr=False)  # of a source that must be read
    again: frozenset[int] = frozenset()  # shards whose images are read again
    images: str = field(default="", compare=False)  # a note on images that were not found


class DocumentSource(Protocol):
    """Where documents come from."""

    def image_root(self) -> str:
        """Return the folder or URL where image references start."""


class ScanFunction(Protocol):
    """What an ingest has to do; `broken` shards lost their file, images of the shards `again` are read again."""

    def __call__(
        self, node: Never, root: Root, *, broken: frozenset[int] = ..., again: frozenset[int] = ..., look: bool = ...
    ) -> Scan: ...


class IngestFunction(Protocol):
    """Reads the source and commits its documents; `listing` is that of the scan, `done` gets a report per shard."""

    def __call__(
        self,
        node: Never,
        root: Root,
        *,
        broken: frozenset[int] = ...,
        listing: Never = ...,
        again: frozenset[int] = ...,
        done: Callable[[ShardReport], None],
    ) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Ingest(Node):
    """The first node: a source becomes shards of documents, by functions that the node carries as a fit carries its.

    `note(node, root)` returns the note that a plan shows when the documents are fresh.
    """

    source: DocumentSource  # no part of the key: documents may move
    scan: ScanFunction
    make: IngestFunction
    note: Callable[["Ingest", Root], str]

    kind: ClassVar[Kind] = "documents"


# The functions of a node take the config that it carries, of a class of their own: `Never` says that no other will do.
Transform = Callable[[list[pa.Table], Never, Context], pa.Table]


@dataclass(frozen=True, kw_only=True)
class ShardStage(Node):
    """One shard of each upstream becomes one shard, by a pure function, or as part of a pass over images.

    `by_row` says that row r of the output depends on row r of the inputs alone, so that unchanged rows can be reused.
    """

    transform: Transform | ImageTransform
    by_row: bool = True


class TrainingRows(Features, Protocol):
    """The rows of one split of all shards: as blocks, and as the tables that they are made of."""

    def tables(self) -> Iterator[list[pa.Table]]:
        """Yield one table per read of a shard, rows of the split alone."""


Save = Callable[[Path], None]
FitResult = tuple[Save, int, JsonObject]  # see `Fit`
FitFunction = Callable[[TrainingRows, TrainingRows, Never, Context], FitResult]


@dataclass(frozen=True, kw_only=True)
class Fit(Node):
    """The documents of `rows` become a checkpoint.

    `fit(train, valid, config, context)` returns (save, documents seen, facts). The first of `reads` are the documents,
    which hold splits and labels.
    """

    kind: ClassVar[Kind] = "checkpoint"

    fit: FitFunction

    def fitted(self, root: Root) -> Fitted:
        """Open this node's checkpoint under an output root."""
        return Fitted(root, self.manifest)


Shards = Callable[[], Iterator[list[pa.Table]]]


@dataclass(frozen=True, kw_only=True)
class Summary(Node):
    """All shards become some tables, each of which can be read by its name.

    `summarise(shards, config, context)` gets a callable that streams [one table per read] shard by shard, and returns
    the `tables` by name. With `compares`, one of `fits`, the context tells the shards that it saw from those that came
    or changed since.
    """

    kind: ClassVar[Kind] = "tables"

    tables: tuple[str, ...]  # table i is shard i of the dataset
    summarise: Callable[[Shards, Never, Context], dict[str, pa.Table]]
    compares: Fit | None = None

    def table(self, root: Root, name: str) -> pa.Table | None:
        """Read one of the tables; None when it has not been made."""
        dataset, index = self.dataset(root), self.tables.index(name)
        record = dataset.record(index)
        return None if record is None else dataset.read(record)


def ordered(nodes: Iterable[Node], *, fitted: bool = True) -> list[Node]:
    """Return nodes with all that they read, each once and after its upstream, else in the order given.

    With `fitted`, what they were fitted by is among them.
    """
    nodes_by_name: dict[str, Node] = {}

    def add(node: Node) -> None:
        if node.name not in nodes_by_name:
            for upstream in node.upstream if fitted else [read.node for read in node.reads]:
                add(upstream)
            nodes_by_name[node.name] = node

    for node in nodes:
        add(node)
    return list(nodes_by_name.values())


def over(node: Node, documents: Ingest) -> Node:
    """Return a node, and all that it reads, over other documents; what was fitted stays as it is."""
    if not node.reads:
        return documents
    reads = tuple(replace(read, node=over(read.node, documents)) for read in node.reads)
    return replace(node, reads=reads)


def fits_of(nodes: Iterable[Node]) -> tuple[Fit, ...]:
    """Return what nodes were fitted by, each once, by name."""
    fits = {fit.name: fit for node in nodes for fit in node.fits}
    return tuple(fits[name] for name in sorted(fits))


def whole(nodes: Iterable[Node]) -> list[Node]:
    """Return the nodes that are in no fold: those that are made of all documents."""
    return [node for node in nodes if node.fold is None]


def in_fold(nodes: Iterable[Node], fold: Fold) -> list[Node]:
    """Return nodes as they are in a fold.

    Fits, and all that rests on one, are made again for the fold; what no fit touches stays as it is, and is shared. Who
    reads the documents' split reads it as it is in the fold.
    """
    moved: dict[str, Node] = {}

    def move(node: Node) -> Node:
        if node.name not in moved:
            moved[node.name] = _moved(node, move, fold)
        return moved[node.name]

    return [move(node) for node in nodes]


def _moved(node: Node, move: Callable[[Node], Node], fold: Fold) -> Node:
    reads = [replace(read, node=move(read.node)) for read in node.reads]
    fits = cast("tuple[Fit, ...]", tuple(map(move, node.fits)))
    rests = isinstance(node, Fit) or fits or any(read.node.fold for read in reads)
    if not rests:
        return node
    reads = [_with_fold(read) if isinstance(read.node, Ingest) and "split" in read.columns else read for read in reads]
    moved = replace(node, reads=tuple(reads), fits=fits, rows=replace(node.rows, fold=fold))
    if isinstance(moved, Summary) and moved.compares is not None:
        return replace(moved, compares=cast(Fit, move(moved.compares)))
    return moved


def _with_fold(read: Read) -> Read:
    keyed = (*read.keyed, "fold") if "split" in read.keyed else read.keyed
    return replace(read, columns=(*read.columns, "fold"), keyed=keyed)
