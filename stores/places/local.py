"""A folder on a disk of this machine: files are lent where they lie, and written beside before they are renamed."""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self
from urllib.parse import unquote, urlsplit

from fuseline.stores.atomic import PARTIAL, atomic_file, atomic_folder, is_partial, linked, write_bytes
from fuseline.stores.digests import file_digest
from fuseline.stores.root import Names, Root, Stat


@dataclass(frozen=True)
class LocalRoot(Root):
    """A local folder; its address is a path, or a URL of the scheme "file"."""

    kind: ClassVar[str] = "file"
    summary: ClassVar[str] = "a folder on a disk of this machine: the path, or file://"

    @cached_property
    def _top(self) -> Path:
        return Path(unquote(urlsplit(self.address).path) if self.address.startswith("file://") else self.address)

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.local()

    def local(self, name: str = "") -> Path:
        """Return where a name lies."""
        return self._top / self.key(name)

    def uri(self, name: str = "") -> str:
        """Return the path of a name."""
        return str(self.local(name))

    def link(self, name: str) -> str:
        """Return the URL of a name, for browsers."""
        return self.local(name).absolute().as_uri()

    def absolute(self) -> Self:
        """Return the same folder by its absolute path."""
        return type(self)(str(self.folder.absolute()))

    def beside(self) -> Path:
        """Return the folder itself."""
        return self.folder

    def get(self, name: str) -> bytes:
        """Return the bytes of a file."""
        try:
            return self.local(name).read_bytes()
        except NotADirectoryError as error:
            raise FileNotFoundError(*error.args) from error

    def put(self, name: str, data: bytes, *, private: bool = False) -> None:
        """Write a file beside, and rename it."""
        write_bytes(self.local(name), data, private=private)

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Write a file beside, and link it to its name, which fails where there is one."""
        return linked(self.local(name), data)

    def list(self, below: str = "") -> Names:
        """Return the names of all files below a folder, except left-overs of killed writes."""
        names, top = [], str(self.local(below))
        for folder, folders, files in os.walk(top):
            folders[:] = [name for name in folders if not _is_partial(name)]
            start = "/".join(filter(None, [below, folder[len(top) :].lstrip("/")]))
            names += [f"{start}/{name}" if start else name for name in files if not _is_partial(name)]
        return sorted(names)

    def children(self, below: str = "") -> Names:
        """Return the names in a folder, which alone is read."""
        with suppress(FileNotFoundError, NotADirectoryError):
            return sorted(entry.name for entry in os.scandir(self.local(below)) if not _is_partial(entry.name))
        return []

    def delete(self, name: str) -> None:
        """Remove a file."""
        with suppress(NotADirectoryError):
            self.local(name).unlink(missing_ok=True)

    def stat(self, name: str) -> Stat | None:
        """Return the size and modification time of a file."""
        try:
            status = self.local(name).stat()
        except OSError:
            return None
        # Size and modification time can be kept while bytes change; the time of the last change of any kind cannot.
        mark = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        return Stat(status.st_size, status.st_mtime_ns, mark) if stat.S_ISREG(status.st_mode) else None

    def digest(self, name: str) -> str:
        """Return the digest of a file, read piece by piece."""
        return file_digest(self.local(name))

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all that lies in it, left-overs too."""
        path = self.local(name)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            self.delete(name)

    def leftovers(self) -> Names:
        """Return what killed writes left beside the files they were to become."""
        paths = self.folder.rglob(f".*{PARTIAL}")
        return sorted(path.relative_to(self.folder).as_posix() for path in paths if is_partial(path))

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        """Yield the path of a file or folder itself, so that it can be mapped into memory."""
        path = self.local(name)
        path.stat()
        yield path

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Yield a temporary path beside the file, which is renamed to it at the end."""
        with atomic_file(self.local(name)) as partial:
            yield partial

    @contextmanager
    def writing_folder(self, name: str) -> Iterator[Path]:
        """Yield a temporary folder, renamed at the end; a kill between the two renames loses a replaced folder."""
        with atomic_folder(self.local(name)) as partial:
            yield partial


def _is_partial(name: str) -> bool:
    return name.startswith(".") and name.endswith(PARTIAL)
