"""Caches of one process: features that several fits share, within a bound of bytes, and fitted objects in use."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TypeVar, cast

from fuseline.models.errors import CheckpointError
from fuseline.models.features import Shared
from fuseline.stores.errors import DataError
from fuseline.stores.fitted import SavedCheckpoint

LIMIT = 1 << 30  # bytes kept in memory between two fits
T = TypeVar("T", bound=Shared)
Fitted = TypeVar("Fitted")


@dataclass
class _Item:
    value: Shared | None = None
    users: int = 0
    making: Lock = field(default_factory=Lock)


class Cache:
    """Values by key; above `limit` bytes in all, the least recently used ones that are not in use are closed.

    Threads may use it at the same time: the first that asks for a key makes the value, the others wait for it.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._items: OrderedDict[Hashable, _Item] = OrderedDict()
        self._lock = Lock()

    @contextmanager
    def get_or_create(self, key: Hashable, make: Callable[[], T]) -> Iterator[T]:
        """Yield the value of a key, created if it is absent; it is not closed while the block runs."""
        with self._lock:
            item = self._items.setdefault(key, _Item())
            self._items.move_to_end(key)
            item.users += 1
        try:
            with item.making:
                if item.value is None:
                    item.value = make()
            yield cast(T, item.value)
        finally:
            with self._lock:
                item.users -= 1
            self._trim(self.limit)

    def close(self) -> None:
        """Close every value that is not in use."""
        self._trim(-1)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the values take."""
        with self._lock:
            return sum(item.value.nbytes for item in self._items.values() if item.value is not None)

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._items and self._items[key].value is not None

    def _trim(self, limit: int) -> None:
        dropped = []
        with self._lock:
            total = sum(item.value.nbytes for item in self._items.values() if item.value is not None)
            for key, item in list(self._items.items()):
                if item.users or (item.value is not None and total <= limit):
                    continue
                del self._items[key]
                if item.value is not None:
                    total -= item.value.nbytes
                    dropped.append(item.value)
        for value in dropped:
            value.close()


CACHE = Cache()  # of this process


@lru_cache(maxsize=8)
def loaded(load: Callable[[Path], Fitted], saved: SavedCheckpoint) -> Fitted:
    """Return `load(folder)` of the folder where it is saved, once per process.

    Raises DataError when the checkpoint, whose digests fit, is not what its kind saves.
    """
    try:
        with saved.opened() as folder:
            return load(folder)
    except CheckpointError as error:
        raise DataError(f"{saved}: {error}: run `fuseline run --refit`") from error
