"""Where a source lies: local paths and fsspec URLs, safe listing, and references that cannot climb out."""

import difflib
import errno
import os
import posixpath
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import fsspec
import pyarrow as pa
import pyarrow.compute as pc

from fuseline.stores.errors import ConfigError, DataError, mismatch
from fuseline.stores.remote import UnreachableError, buffered, reached, refuse_secret, stamp
from fuseline.tasks.readers.base import ReaderOptions, SourceFile

LOOKED_AT = 20_000  # names among which a misspelt one is looked for


class Openable(Protocol):
    """What is read like a file: a file, or a member where it lies in an archive."""

    def open(self) -> IO[bytes]:
        """Open for reading."""
        ...


class Place(NamedTuple):
    """A file system and a path on it."""

    fs: Any  # fsspec.AbstractFileSystem, which ships without types
    path: str

    def __truediv__(self, uri: str) -> "Place":
        return Place(self.fs, posixpath.join(self.path, uri) if self.path else uri)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return posixpath.basename(self.path.rstrip("/"))

    @property
    def parent(self) -> "Place":
        """The folder that holds it."""
        return Place(self.fs, posixpath.dirname(self.path.rstrip("/")))

    @property
    def local(self) -> bool:
        """Whether it lies on this machine's own disk."""
        return bool(isinstance(self.fs, fsspec.implementations.local.LocalFileSystem))

    def open(self) -> IO[bytes]:
        """Open for reading, unbuffered decisions left to the caller."""
        if self.local:
            return Path(self.path).open("rb")
        with reached(self.path):
            return buffered(self.fs.open(self.path, "rb"), self.path)

    def part(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset` on, fewer at the end; of a URL nothing else is fetched."""
        if self.local:
            with self.open() as stream:
                stream.seek(offset)
                return stream.read(length)
        try:
            with reached(self.path):
                return bytes(self.fs.cat_file(self.path, start=offset, end=offset + length))
        except UnreachableError as error:
            if getattr(error.__cause__, "errno", None) == errno.EINVAL:  # S3's word for a range past the end
                return b""
            raise

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        with reached(self.path):
            return bool(self.fs.isdir(self.path))

    def exists(self) -> bool:
        """Whether anything is there."""
        with reached(self.path):
            return bool(self.fs.exists(self.path))


def place(path: str) -> Place:
    """Resolve a local path or an fsspec URL; ConfigError when nothing is there."""
    refuse_secret(path)
    try:
        fs, inner = fsspec.core.url_to_fs(path)
        resolved = Place(fs, inner if inner == "/" else inner.rstrip("/"))
        exists = resolved.exists() or resolved.is_dir()
    except (ValueError, OSError, ImportError, UnreachableError) as error:
        raise ConfigError(mismatch("source.path", "a readable file, folder or URL", path, str(error))) from error
    if not exists:
        cure = "check the spelling, or download the data first"
        raise ConfigError(mismatch("source.path", "a file or folder that exists", path, cure))
    return resolved


def image_root(path: str, options: ReaderOptions) -> str:
    """Return the folder or URL that image references are relative to.

    A relative `root` lies under the source's folder. Join a reference as f"{image_root}/{uri}".
    """
    base = path.rstrip("/") or "/"
    if "://" in path or "::" in path:
        folder = base if place(path).is_dir() else posixpath.dirname(base)
    else:
        folder = base if Path(base).is_dir() else str(Path(base).parent)
    if options.root is None:
        return folder
    refuse_secret(options.root)
    absolute = "://" in options.root or Path(options.root).is_absolute()
    return options.root if absolute else posixpath.join(folder, options.root)


def walk(start: Place, *, prefix: str = "") -> Iterator[SourceFile]:
    """Yield every file under a folder in sorted order, folder by folder; hidden names are left out.

    Memory is bounded by the largest folder. Links to folders are followed once, so a cycle ends.
    """
    if start.local:
        yield from _walk_local(Path(start.path), prefix, frozenset())
        return
    start.fs.invalidate_cache()  # stores keep listings, and would never see a change
    yield from _walk_remote(start, prefix)


def _walk_remote(start: Place, prefix: str) -> Iterator[SourceFile]:
    with reached(start.path):
        infos = sorted(start.fs.ls(start.path, detail=True), key=lambda info: info["name"])
    for info in infos:
        name = posixpath.basename(info["name"].rstrip("/"))
        if not name or name.startswith(".") or info["name"].rstrip("/") == start.path:
            continue
        if info["type"] == "directory":
            yield from _walk_remote(Place(start.fs, info["name"].rstrip("/")), f"{prefix}{name}/")
        else:
            yield SourceFile(prefix + name, int(info.get("size") or 0), _mtime(info))


def _walk_local(folder: Path, prefix: str, seen: frozenset[tuple[int, int]]) -> Iterator[SourceFile]:
    stat = folder.stat()
    inode = (stat.st_dev, stat.st_ino)
    if inode in seen:
        return
    with os.scandir(folder) as entries:
        files = sorted(entries, key=lambda entry: entry.name)
    for entry in files:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk_local(Path(entry.path), f"{prefix}{entry.name}/", seen | {inode})
        elif entry.is_file():
            info = entry.stat()
            yield SourceFile(prefix + entry.name, info.st_size, info.st_mtime_ns)


def is_utf8(name: str) -> bool:
    """Return whether a file's name is UTF-8: another one can be opened, but not referred to from a table."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def listed(file: Place, uri: str) -> SourceFile:
    """Return the listing of one file under the name `uri`."""
    if not file.local:
        file.fs.invalidate_cache(file.parent.path)
    with reached(file.path):
        info = file.fs.info(file.path)
    mtime = Path(file.path).stat().st_mtime_ns if file.local else _mtime(info)
    return SourceFile(uri, int(info.get("size") or 0), mtime)


def _mtime(info: dict[str, Any]) -> int:
    for key in ("mtime", "LastModified", "last_modified", "modified", "created"):
        value = info.get(key)
        if isinstance(value, datetime):
            return stamp(value.timestamp(), info)
        if isinstance(value, int | float):
            return stamp(value, info)
    date = info.get("date_time")  # of a zip member, without a zone
    return int("".join(f"{part:02d}" for part in date)) if date else 0


def manifests(path: str, suffixes: tuple[str, ...]) -> list[Place]:
    """Return the files that a table source consists of: the file itself, or those of a folder by suffix, sorted.

    A packed name counts by what it packs: `a.jsonl.gz`, `a.jsonl.zip`. An empty folder gives an empty list.
    """
    source = place(path)
    if not source.is_dir():
        return [source]
    ends = tuple(suffix + packed for suffix in suffixes for packed in ("", ".gz", ".bz2", ".zst", ".zip"))
    return [source / file.uri for file in walk(source) if f"/{file.uri.lower()}".endswith(ends)]


def relative(file: Place, path: str) -> str:
    """Name a file of the source for messages and image references: relative to the source's folder."""
    return relatives([file], path)[0]


def relatives(files: Sequence[Place], path: str) -> list[str]:
    """Name several files of the source; a store is asked once."""
    start = place(path)
    base = start.path if start.is_dir() else start.parent.path
    names = (posixpath.relpath(file.path, base) if base else file.path for file in files)
    # The query of a URL is no part of the name: it holds signatures, other ones tomorrow.
    return list(names) if start.local else [name.partition("?")[0] for name in names]


def source_folder(path: str) -> Place:
    """Return the folder of a source: itself, or the one that holds its file."""
    source = place(path)
    return source if source.is_dir() else source.parent


def source_names(path: str, count: int) -> list[str]:
    """Return the first names in a source, for messages; the last is "and others" when there are more."""
    source = place(path)
    if not source.is_dir():
        return [source.name]
    names = [ascii(file.uri)[1:-1] for file in islice(walk(source), count + 1)]
    return names if len(names) <= count else [*names[:count], "and others"]


def companion(path: str, name: str, option: str) -> Place:
    """Return the file or folder beside the data that an option names; ConfigError with the nearest names without it."""
    folder = source_folder(path)
    beside = folder / name
    if beside.exists():
        return beside
    there = {part for file in islice(walk(folder), LOOKED_AT) for part in (file.uri, posixpath.dirname(file.uri))}
    raise ConfigError(
        mismatch(f"source.options.{option}", f"a file or folder in {folder.path}", name, nearest(name, there))
    )


def check_keys(option: str, wanted: Iterable[str], seen: Collection[str]) -> None:
    """Raise ConfigError for a key that an option names and that no row has; without rows nothing is checked."""
    for name in wanted:
        if seen and name not in seen:
            raise ConfigError(mismatch(f"source.options.{option}", "a key of the rows", name, nearest(name, seen)))


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the cure for a misspelt name: the names that resemble it, or else the first known ones."""
    names = sorted({one for one in known if one})
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(map(repr, close))}?"
    return f"there are {', '.join(map(repr, names[:5]))}" + (" and others" if len(names) > 5 else "")


def safe_references(uris: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return the image references with leading "./" gone, and which of them are refused (R11).

    Refused: absolute, with "..", with a NUL, or a URL other than http(s); they come back null.
    """
    if not pc.any(pc.match_substring_regex(uris, pattern=r"^[./]|\.\.|[\\:\x00]")).as_py():  # nearly always
        return uris, pa.repeat(False, len(uris))
    uris = pc.replace_substring_regex(uris, pattern=r"^(?:\./+)+", replacement="")
    climbs = pc.match_substring_regex(uris, pattern=r"^[/\\]|^[A-Za-z]:[/\\]|(?:^|[/\\])\.\.(?:[/\\]|$)|\x00")
    url = pc.match_substring_regex(uris, pattern=r"^[A-Za-z][A-Za-z0-9+.\-]+:/|://")
    web = pc.match_substring_regex(uris, pattern=r"^https?://[^/]")
    bad = pc.fill_null(pc.or_(climbs, pc.and_not(url, web)), False)
    # They are never fetched: what they hold beside the name of the file may be secret.
    uris = pc.if_else(web, pc.replace_substring_regex(uris, r"^(https?://)(?:[^/@]*@)?([^?]*).*$", r"\1\2"), uris)
    return pc.if_else(bad, pa.scalar(None, pa.string()), uris), bad


def same_root(path: str) -> Place:
    """Resolve a folder source; DataError when it is a file."""
    folder = place(path)
    if not folder.is_dir():
        raise DataError(mismatch("source.path", "a folder", path, "give the folder that holds the release"))
    return folder
