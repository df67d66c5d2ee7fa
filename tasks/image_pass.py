"""One pass over a shard's images for any number of encoders and detectors: each image is read and decoded once."""

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.images import WHITE, ImageError, ImageLimits, Rgb, decode, decoded_size, open_image


class Outcome(NamedTuple):
    """What a consumer made of one image: `value` is None unless the status is ok."""

    status: str
    value: Any


class Consumer(Protocol):
    """Something computed from images, one outcome per document."""

    limits: ImageLimits
    background: tuple[int, int, int]
    min_side: int | None  # pixels of the shorter side below which a scaled decode may not go; None: full size
    batch_size: int

    def prepare(self, pixels: Rgb, row: int) -> Any:
        """Return what `compute` needs of the pixels (h, w, 3) uint8 of a row; called in decoding threads."""

    def compute(self, items: list[Any]) -> list[Outcome]:
        """Return one outcome per prepared item."""

    def table(self, ids: pa.Array, outcomes: list[Outcome]) -> pa.Table:
        """Return the stage's output, one row per document."""


@dataclass
class Account:
    """Where a pass spent its time, in seconds; reading to preparing are summed over the decoding threads."""

    read: float = 0.0
    decode: float = 0.0
    prepare: float = 0.0
    compute: float = 0.0
    wait: float = 0.0  # the consumers had nothing to do
    total: float = 0.0
    images: int = 0
    decodes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, **amounts: float) -> None:
        """Add to some of the numbers; safe in any thread."""
        with self._lock:
            for name, amount in amounts.items():
                setattr(self, name, getattr(self, name) + amount)

    def numbers(self) -> dict[str, float]:
        """Return every number by name."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name != "_lock"}


class PassResult(NamedTuple):
    """One table per consumer, and what the pass took."""

    tables: list[pa.Table]
    account: Account


class SharedImage:
    """One document's image while it is in use: bytes are read once, and decoded once per size that is needed."""

    def __init__(self, reference: dict[str, Any] | None, root: str, account: Account) -> None:
        self._reference, self._root, self._account = reference, root, account
        self._bytes: dict[ImageLimits, bytes] = {}
        self._pixels: dict[Any, Rgb] = {}

    def pixels(self, *, limits: ImageLimits, min_side: int | None, background: tuple[int, int, int] = WHITE) -> Rgb:
        """Return pixels (h, w, 3) uint8; raises ImageError.

        They depend on the arguments alone, never on what else was asked for in this pass.
        """
        data = self._read(limits)
        key = (limits, background, decoded_size(data, min_side))
        if key not in self._pixels:
            start = time.perf_counter()
            self._pixels[key] = decode(data, limits=limits, min_side=min_side, background=background)
            self._account.add(decode=time.perf_counter() - start, decodes=1)
        return self._pixels[key]

    def _read(self, limits: ImageLimits) -> bytes:
        if limits not in self._bytes:
            start = time.perf_counter()
            self._bytes[limits] = open_image(self._reference, self._root, limits)
            self._account.add(read=time.perf_counter() - start)
        return self._bytes[limits]


def run_pass(
    documents: pa.Table,
    consumers: Sequence[Consumer],
    *,
    source: str,
    wanted: Sequence[NDArray[np.bool_]] | None = None,
    decode_threads: int = 2,
) -> PassResult:
    """Return one table per consumer, in the documents' order.

    Args:
        documents: columns `id` and `image`; without `image` every row is missing.
        consumers: what to compute.
        source: folder or URL below which image references lie.
        wanted: per consumer a mask (n,) of the rows to compute; its table then holds only those rows.
        decode_threads: how many threads read, decode and prepare ahead of the consumers.

    Memory holds a few batches of prepared images, whatever the number of documents.
    """
    started, account = time.perf_counter(), Account()
    n = documents.num_rows
    masks = [np.ones(n, np.bool_) for _ in consumers] if wanted is None else list(wanted)
    outcomes = [[Outcome("missing", None)] * n for _ in consumers]
    if "image" in documents.column_names and consumers:
        images = documents["image"]

        def prepare(row: int) -> list[Outcome | None]:
            image = SharedImage(images[row].as_py(), source, account)
            return [_prepared(image, one, row, account) if mask[row] else None
                    for one, mask in zip(consumers, masks, strict=True)]  # fmt: skip

        rows = np.flatnonzero(np.any(masks, axis=0))
        depth = 2 * max(one.batch_size for one in consumers) + decode_threads
        with ThreadPoolExecutor(decode_threads, thread_name_prefix="decode") as pool:
            _consume(_ahead(pool, prepare, rows, depth, account), consumers, outcomes, account)
    ids = documents["id"].combine_chunks().cast(pa.string())
    tables = []
    for one, mask, found in zip(consumers, masks, outcomes, strict=True):
        tables.append(one.table(ids.filter(pa.array(mask)), [found[row] for row in np.flatnonzero(mask)]))
    account.add(total=time.perf_counter() - started)
    return PassResult(tables, account)


def _prepared(image: SharedImage, consumer: Consumer, row: int, account: Account) -> Outcome:
    try:
        pixels = image.pixels(limits=consumer.limits, min_side=consumer.min_side, background=consumer.background)
    except ImageError as refused:
        return Outcome(refused.slug, None)
    start = time.perf_counter()
    item = consumer.prepare(pixels, row)
    account.add(prepare=time.perf_counter() - start)
    return Outcome("ok", item)


def _consume(
    prepared: Iterator[tuple[int, list[Outcome | None]]],
    consumers: Sequence[Consumer],
    outcomes: list[list[Outcome]],
    account: Account,
) -> None:
    """Gather batches per consumer and compute each as soon as it is full."""
    batches: list[list[tuple[int, Any]]] = [[] for _ in consumers]

    def flush(which: int) -> None:
        start, batch = time.perf_counter(), batches[which]
        computed = consumers[which].compute([item for _, item in batch])
        account.add(compute=time.perf_counter() - start)
        for (row, _), outcome in zip(batch, computed, strict=True):
            outcomes[which][row] = outcome
        batch.clear()

    for row, items in prepared:
        account.add(images=1)
        for which, one in enumerate(items):
            if one is None:
                continue
            if one.status != "ok":
                outcomes[which][row] = one
                continue
            batches[which].append((row, one.value))
            if len(batches[which]) == consumers[which].batch_size:
                flush(which)
    for which, batch in enumerate(batches):
        if batch:
            flush(which)


def _ahead(
    pool: ThreadPoolExecutor, function: Any, rows: NDArray[np.int64], depth: int, account: Account
) -> Iterator[tuple[int, list[Outcome | None]]]:
    """Yield (row, function(row)) in order, at most `depth` rows ahead of the reader."""
    waiting: deque[tuple[int, Future[list[Outcome | None]]]] = deque()

    def next_result() -> tuple[int, list[Outcome | None]]:
        row, future = waiting.popleft()
        start = time.perf_counter()
        result = future.result()
        account.add(wait=time.perf_counter() - start)
        return row, result

    try:
        for row in rows.tolist():
            waiting.append((row, pool.submit(function, row)))
            if len(waiting) > depth:
                yield next_result()
        while waiting:
            yield next_result()
    finally:
        for _, future in waiting:
            future.cancel()
