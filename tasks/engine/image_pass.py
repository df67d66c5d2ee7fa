"""One pass over a shard's images for any number of encoders and detectors: each image is read and decoded once."""

import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Never, Protocol, TypeVar, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fuseline.models.progress import note
from fuseline.tasks.engine.images import (
    ImageError,
    ImageLimits,
    ImageReference,
    Rgb,
    decode,
    decoded_size,
    image_digests,
    open_image,
)
from fuseline.tasks.engine.timings import Kind, Timings

AHEAD_BYTES = 256 << 20  # of images prepared and not yet computed


T = TypeVar("T")
Value_co = TypeVar("Value_co", covariant=True)


class Outcome(NamedTuple, Generic[Value_co]):
    """Outcome of one image for a consumer: `value` is None unless the status is ok."""

    status: str
    value: Value_co | None


class Consumer(Protocol):
    """Something computed from images, one outcome per document.

    What `prepare` returns goes to `compute`, and what that returns to `table`, in types of the consumer's own: `Never`
    says that no others will do.
    """

    limits: ImageLimits
    background: tuple[int, int, int]
    min_side: int | None  # pixels of the shorter side below which a scaled decode may not go; None: full size
    batch_size: int
    decode_threads: int

    def given(self, row: int) -> Outcome[object] | None:
        """Return the outcome of a row whose image need not be read, or None."""

    def prepare(self, pixels: Rgb, row: int) -> object:
        """Return what `compute` needs of the pixels (h, w, 3) uint8 of a row; called in decoding threads."""

    def compute(self, items: Sequence[Never]) -> Sequence[Outcome[object]]:
        """Return one outcome per prepared item."""

    def table(self, ids: pa.Array, outcomes: Sequence[Outcome[Never]]) -> pa.Table:
        """Return the stage's output, one row per document."""


@dataclass(frozen=True)
class ImageTransform:
    """The transform of a stage over images: makes its part of a pass from the tables that the stage reads.

    The first table holds the columns `id`, `image` and `image_digest`.
    """

    consumer: Callable[[list[pa.Table], Never], Consumer]


@dataclass
class ConsumerPass:
    """One consumer's part of a pass; its failure is its own."""

    consumer: Consumer
    wanted: NDArray[np.bool_]  # (n,) rows to compute
    outcomes: dict[int, Outcome[object]] = field(default_factory=dict)
    timings: Timings = field(default_factory=Timings)
    rows: pa.Table | None = None  # one per wanted document
    error: Exception | None = None
    pending: NDArray[np.bool_] = field(init=False)  # (n,) wanted rows whose image is needed
    _batch: list[tuple[int, object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for row in np.flatnonzero(self.wanted).tolist():
            if (outcome := self.consumer.given(row)) is not None:
                self.outcomes[row] = outcome
        self.pending = self.wanted.copy()
        self.pending[list(self.outcomes)] = False

    def prepare(self, image: "SharedImage", row: int) -> "Item | None":
        """Return one row ready to compute, or None when this part does not want it; called in decoding threads."""
        if self.error is not None or not self.pending[row]:
            return None
        timings = Timings()
        try:
            pixels = image.pixels(self.consumer, timings)
            with timings.on("prepare"):
                return Item(Outcome("ok", self.consumer.prepare(pixels, row)), None, timings)
        except ImageError as refused:
            return Item(Outcome(refused.slug, None), None, timings)
        except Exception as error:
            return Item(None, error, timings)

    def take(self, row: int, item: "Item") -> None:
        """Keep a row's outcome, or add it to the batch and compute the batch when it is full."""
        self.timings += item.timings
        if item.outcome is None:
            self.error = self.error or item.error
        elif item.outcome.status != "ok":
            self.outcomes[row] = item.outcome
        else:
            self._batch.append((row, item.outcome.value))
            if len(self._batch) >= self.consumer.batch_size:
                self.flush()

    def flush(self) -> None:
        """Compute the gathered batch."""
        batch, self._batch = self._batch, []
        if not batch or self.error is not None:
            return
        try:
            with self.timings.on("compute"):
                computed = self.consumer.compute(cast("Sequence[Never]", [item for _, item in batch]))
            self.outcomes.update({row: outcome for (row, _), outcome in zip(batch, computed, strict=True)})
        except Exception as error:
            self.error = error

    def finish(self, ids: pa.Array) -> None:
        """Build the table of the wanted rows."""
        self.flush()
        if self.error is not None:
            return
        missing: Outcome[object] = Outcome("missing", None)
        outcomes = [self.outcomes.get(row, missing) for row in np.flatnonzero(self.wanted).tolist()]
        try:
            with self.timings.on("compute"):
                own = cast("list[Outcome[Never]]", outcomes)
                self.rows = self.consumer.table(ids.filter(pa.array(self.wanted)), own)
        except Exception as error:
            self.error = error

    def table(self) -> pa.Table:
        """Return one row per wanted document; raises what the consumer raised."""
        if self.error is not None:
            raise self.error
        return self.rows


class Item(NamedTuple):
    """Result of a decoding thread for one row and one part: an outcome to compute or to keep, or an error."""

    outcome: Outcome[object] | None
    error: Exception | None
    timings: Timings


@dataclass(frozen=True)
class PassResult:
    """Results of all consumers of a pass, and its counts."""

    parts: list[ConsumerPass]
    images: int  # looked at
    decodes: int

    @property
    def tables(self) -> list[pa.Table]:
        """One table per consumer; raises the first error."""
        return [part.table() for part in self.parts]


class SharedImage:
    """One document's image while it is in use: bytes are read once, and decoded once per size that is needed."""

    def __init__(self, reference: ImageReference | None, root: str, *, digest: str | None = None) -> None:
        self._reference, self._root, self._digest = reference, root, digest
        self._steps: dict[Hashable, _Step] = {}

    @property
    def decodes(self) -> int:
        """How often it was decoded."""
        return sum(step.kind == "decode" for step in self._steps.values())

    def pixels(self, consumer: Consumer, user: Timings) -> Rgb:
        """Return pixels (h, w, 3) uint8 for a consumer, and note what they cost; raises ImageError.

        They depend on the consumer's options alone, never on what else was asked for in this pass.
        """
        limits, side, background = consumer.limits, consumer.min_side, consumer.background
        reference, root, digest = self._reference, self._root, self._digest
        data = self._once("read", limits, lambda: open_image(reference, root, limits, digest=digest), user)
        key = (limits, background, decoded_size(data, side))
        return self._once(
            "decode", key, lambda: decode(data, limits=limits, min_side=side, background=background), user
        )

    def charge(self) -> None:
        """Share the cost of what was read and decoded among those who used it."""
        for step in self._steps.values():
            for user in step.users:
                user.add(step.kind, step.seconds / len(step.users))

    def _once(self, kind: Kind, key: Hashable, make: Callable[[], T], user: Timings) -> T:
        if (kind, key) not in self._steps:
            started = time.perf_counter()
            value: object
            try:
                value = make()
            except ImageError as refused:
                value = refused
            self._steps[kind, key] = _Step(kind, value, time.perf_counter() - started, [])
        step = self._steps[kind, key]
        step.users.append(user)
        if isinstance(step.value, ImageError):
            raise step.value
        return cast(T, step.value)  # of this kind and key


class _Step(NamedTuple):
    kind: Kind
    value: object  # or the ImageError that came instead
    seconds: float
    users: list[Timings]


class _Row(NamedTuple):
    row: int
    items: list[Item | None]  # per part
    decodes: int

    @property
    def nbytes(self) -> int:
        return sum(_nbytes(item.outcome) for item in self.items if item is not None)


def run_pass(
    documents: pa.Table,
    consumers: Sequence[Consumer],
    *,
    source: str,
    wanted: Sequence[NDArray[np.bool_]] | None = None,
) -> PassResult:
    """Compute every consumer over one reading of the images; tables come in the documents' order.

    Args:
        documents: columns `id`, `image` and perhaps `image_digest`, which the bytes are compared with; without
            `image` every row is missing.
        consumers: what to compute; each sees exactly what it would see alone.
        source: folder or URL below which image references lie.
        wanted: per consumer a mask (n,) of the rows to compute; its table then holds only those rows.

    Threads read, decode and prepare ahead while this one computes. Memory holds a few batches of prepared images, at
    most about AHEAD_BYTES, whatever the number of documents.
    """
    n = documents.num_rows
    masks = [np.ones(n, np.bool_) for _ in consumers] if wanted is None else wanted
    parts = [ConsumerPass(consumer, mask) for consumer, mask in zip(consumers, masks, strict=True)]
    images = decodes = 0
    if "image" in documents.column_names and parts:
        pending = int(np.any([part.pending for part in parts], axis=0).sum())
        for prepared, waited in _rows(documents, parts, source):
            note(images, pending)
            images, decodes = images + 1, decodes + prepared.decodes
            takers = [(part, item) for part, item in zip(parts, prepared.items, strict=True) if item is not None]
            for part, item in takers:
                part.timings.add("wait", waited / len(takers))
                part.take(prepared.row, item)
    ids = documents["id"].combine_chunks().cast(pa.string())
    for part in parts:
        part.finish(ids)
    return PassResult(parts, images, decodes)


def _rows(documents: pa.Table, parts: list[ConsumerPass], source: str) -> Iterator[tuple[_Row, float]]:
    """Yield every row that some part needs, prepared for each, in order, and how long it was waited for."""
    references, digests = documents["image"], image_digests(documents)

    def prepare(row: int) -> _Row:
        image = SharedImage(references[row].as_py(), source, digest=digests[row].as_py())
        items = [part.prepare(image, row) for part in parts]
        image.charge()
        return _Row(row, items, image.decodes)

    rows = np.flatnonzero(np.any([part.pending for part in parts], axis=0)).tolist()
    threads = max(part.consumer.decode_threads for part in parts)
    depth = 2 * max(part.consumer.batch_size for part in parts) + threads
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        yield from _ahead(pool, prepare, rows, depth)


def _ahead(
    pool: ThreadPoolExecutor, prepare: Callable[[int], _Row], rows: list[int], depth: int
) -> Iterator[tuple[_Row, float]]:
    """Yield the prepared rows in order, at most `depth` ahead of the reader, and the seconds waited for each."""
    waiting: deque[Future[_Row]] = deque()
    nbytes = 0.0  # of a row, lately; unknown until there is one

    def next_result() -> tuple[_Row, float]:
        nonlocal nbytes
        future, started = waiting.popleft(), time.perf_counter()
        prepared = future.result()
        waited = time.perf_counter() - started
        nbytes = (3 * nbytes + prepared.nbytes) / 4 if nbytes else float(max(1, prepared.nbytes))
        return prepared, waited

    try:
        for row in rows:
            waiting.append(pool.submit(prepare, row))
            # One image may be wanted at full size beside one whose batches are large.
            while len(waiting) > min(depth, max(1, AHEAD_BYTES // nbytes if nbytes else 1)):
                yield next_result()
        while waiting:
            yield next_result()
    finally:
        for future in waiting:
            future.cancel()


def _nbytes(value: object) -> int:
    """Return the bytes of the arrays in something prepared."""
    if isinstance(value, np.ndarray):
        return value.nbytes
    return sum(map(_nbytes, value)) if isinstance(value, list | tuple) else 0
