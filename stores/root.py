"""A place for stored bytes: what lies above stores asks a Root by name, and joins no paths.

A name is relative and its parts are separated by slashes: "latest/report.html". A place implements the abstract
methods; what it can do faster than they do, as a local folder can, it overrides.
"""

import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

from fuseline.stores.digests import bytes_digest, key_digest
from fuseline.stores.errors import DataError, mismatch

Names = list[str]  # a method of Root is called list


class Stat(NamedTuple):
    """Size and times of a file, known without reading it."""

    size: int  # bytes
    written: int  # larger is later
    mark: Hashable  # differs when the bytes may have changed


@dataclass(frozen=True)
class Root(ABC):
    """An output root, or a folder in one: a small value that can be sent to other processes, unless it is not `shared`.

    Every write is atomic: a reader sees the old bytes or the new ones. A folder is there when a file lies below it.
    """

    kind: ClassVar[str]  # how an address begins: "memory" of memory://name
    summary: ClassVar[str]
    shared: ClassVar[bool] = True  # whether other processes see the same bytes

    address: str  # as a configuration says it
    prefix: str = ""  # the folder in it

    @abstractmethod
    def get(self, name: str) -> bytes:
        """Return the bytes of a file; raises FileNotFoundError."""

    @abstractmethod
    def put(self, name: str, data: bytes, *, private: bool = False) -> None:
        """Write a file atomically and durably, replacing any existing one; only the owner may read a private one.

        Raises StorageError when the place cannot be written.
        """

    @abstractmethod
    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Write a file unless there is one, and return whether it was written: of several writers one succeeds."""

    @abstractmethod
    def list(self, below: str = "") -> Names:
        """Return the names of all files below a folder, sorted; none when there is no such folder."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove a file; none there is fine."""

    @abstractmethod
    def stat(self, name: str) -> Stat | None:
        """Return what is known of a file without reading it; None when there is none."""

    def key(self, name: str = "") -> str:
        """Return a name from the top of the place on, "" for the top; raises DataError for one that leads elsewhere."""
        parts = name.split("/") if name else []
        if not {"", ".", ".."}.isdisjoint(parts) or "\0" in name:
            raise DataError(mismatch("name below the root", "parts between slashes", name, "leave out what leads away"))
        return "/".join([self.prefix, *parts] if self.prefix else parts)

    def names(self, keys: Iterable[str], below: str = "") -> Names:
        """Return the names below a folder, sorted, given all keys of the place: what `list` is for keys in a table."""
        start = f"{key}/" if (key := self.key(below)) else ""
        own = len(self.prefix) + 1 if self.prefix else 0
        return sorted(key[own:] for key in keys if key.startswith(start))

    def at(self, name: str) -> Self:
        """Return a folder of this place as a root of its own."""
        return type(self)(self.address, self.key(name))

    def uri(self, name: str = "") -> str:
        """Return where a name lies, as it is shown to people."""
        return "/".join(filter(None, [self.address, self.key(name)]))

    def link(self, name: str) -> str:
        """Return a URL of a name."""
        return self.uri(name)

    def absolute(self) -> Self:
        """Return the same place, named so that it does not depend on the working directory."""
        return self

    def __str__(self) -> str:
        return self.uri()

    def local(self, name: str = "") -> Path | None:
        """Return where a name lies on the disk of this machine; None in a place that lies elsewhere."""
        return None

    def beside(self) -> Path:
        """Return a folder on this machine's disk for what can lie nowhere else: the lock, the history of Prefect."""
        return Path(tempfile.gettempdir()) / f"fuseline-{os.getuid()}" / key_digest(self.uri())

    def children(self, below: str = "") -> Names:
        """Return the names of what lies in a folder itself, files and folders, sorted; each relative to that folder."""
        start = len(below) + 1 if below else 0
        return sorted({name[start:].partition("/")[0] for name in self.list(below)})

    def exists(self, name: str) -> bool:
        """Return whether there is a file of this name."""
        return self.stat(name) is not None

    def size(self, name: str) -> int:
        """Return the bytes of a file, or of all files below a folder."""
        return sum(stat.size for file in [name, *self.list(name)] if (stat := self.stat(file)) is not None)

    def digest(self, name: str) -> str:
        """Return "blake3:<hex>" of a file's bytes; raises FileNotFoundError."""
        return bytes_digest(self.get(name))

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all below it; nothing there is fine."""
        for file in [*self.list(name), name]:
            self.delete(file)

    def leftovers(self) -> Names:
        """Return the names of left-overs of killed writes, to be removed while no run writes; `list` skips them."""
        return []

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        """Yield a file, or a folder with all below it, on the local disk, for the block, which must not change it.

        Raises FileNotFoundError.
        """
        with tempfile.TemporaryDirectory(prefix="fuseline-") as folder:
            path, files = Path(folder) / name.rpartition("/")[2], self.list(name)
            for file in files:
                target = path / file[len(name) + 1 :]
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(self.get(file))
            if not files:
                path.write_bytes(self.get(name))
            yield path

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Yield a local path; the file written there appears at `name` when the block ends without error."""
        with tempfile.TemporaryDirectory(prefix="fuseline-") as folder:
            path = Path(folder) / "file"
            yield path
            self.put(name, path.read_bytes())

    @contextmanager
    def writing_folder(self, name: str) -> Iterator[Path]:
        """Yield an empty local folder; its content replaces the folder `name` when the block ends without error.

        Elsewhere than on a disk this is no one step: what must appear whole is told by a record that is written last.
        """
        with tempfile.TemporaryDirectory(prefix="fuseline-") as folder:
            yield Path(folder)
            written = {path.relative_to(folder).as_posix(): path for path in sorted(Path(folder).rglob("*"))}
            files = {f"{name}/{file}": path for file, path in written.items() if path.is_file()}
            for file, path in files.items():
                self.put(file, path.read_bytes())
            for file in set(self.list(name)) - files.keys():
                self.delete(file)
