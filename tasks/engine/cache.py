"""What many fits of one process read alike: made once, lent to all, within a bound of bytes."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

from fuseline.models.features import Shared

LIMIT = 1 << 30  # bytes kept in memory between two fits
T = TypeVar("T", bound=Shared)


@dataclass
class _Item:
    value: Any = None
    users: int = 0
    making: Lock = field(default_factory=Lock)


class Shelf:
    """Values by key; the least recently used ones that nobody holds are closed when all take more than `limit` bytes.

    Threads may use it at the same time: the first that asks for a key makes the value, the others wait for it.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._items: OrderedDict[Hashable, _Item] = OrderedDict()
        self._lock = Lock()

    @contextmanager
    def lend(self, key: Hashable, make: Callable[[], T]) -> Iterator[T]:
        """Yield the value of a key, made if it is not there; it is closed by nobody while the block runs."""
        with self._lock:
            item = self._items.setdefault(key, _Item())
            self._items.move_to_end(key)
            item.users += 1
        try:
            with item.making:
                if item.value is None:
                    item.value = make()
            yield item.value
        finally:
            with self._lock:
                item.users -= 1
            self._trim(self.limit)

    def close(self) -> None:
        """Close everything that nobody holds."""
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


SHELF = Shelf()  # of this process
