"""The memory of this process: for tests, and for pipelines whose results are not kept."""

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar, NoReturn

from fuseline.stores.errors import StorageError, mismatch
from fuseline.stores.root import Names, Root, Stat


@dataclass(frozen=True)
class MemoryRoot(Root):
    """Bytes in a dictionary, one per address; they end with the process, and no other process sees them."""

    kind: ClassVar[str] = "memory"
    summary: ClassVar[str] = "the memory of this process, memory://name: everything is gone when it ends"
    shared: ClassVar[bool] = False

    @property
    def _files(self) -> dict[str, tuple[bytes, int]]:
        """Key -> bytes, and the number of the write."""
        return _PLACES.setdefault(self.address, {})

    def get(self, name: str) -> bytes:
        """Return the bytes of a file."""
        try:
            return self._files[self.key(name)][0]
        except KeyError:
            raise FileNotFoundError(2, "No such file", self.uri(name)) from None

    def put(self, name: str, data: bytes, *, private: bool = False) -> None:
        """Keep the bytes."""
        self._files[self.key(name)] = (bytes(data), next(_writes))

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Keep the bytes unless there are some."""
        mine = (bytes(data), next(_writes))
        return self._files.setdefault(self.key(name), mine) is mine

    def list(self, below: str = "") -> Names:
        """Return the names of all files below a folder."""
        return self.names(list(self._files), below)

    def delete(self, name: str) -> None:
        """Let go of a file."""
        self._files.pop(self.key(name), None)

    def stat(self, name: str) -> Stat | None:
        """Return the size of a file, and the number of the write that left it."""
        data, write = self._files.get(self.key(name), (None, 0))
        return None if data is None else Stat(len(data), write, write)

    def __reduce__(self) -> NoReturn:
        cure = "choose a folder as `root`, or run.executor: local"
        raise StorageError(mismatch("root", "a place that other processes see", self.address, cure))


_PLACES: dict[str, dict[str, tuple[bytes, int]]] = {}
_writes: Any = itertools.count(1)
