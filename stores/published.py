"""What lies under a root beside its datasets (results, reports, runs): a sealed list of digests, written last."""

import fnmatch
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from fuseline.stores.errors import DataError
from fuseline.stores.layouts.files import damaged_files, have_sizes, record_file
from fuseline.stores.manifest import FileRecord, file_records, parsed, sealed
from fuseline.stores.root import Root

FILE = "published.json"
CURRENT = ("latest", "catalog.duckdb")  # made again from the datasets whenever they do not fit
PLACES = (*CURRENT, "metrics", "reports", "runs", "sweep/*.*")


@dataclass(frozen=True)
class Published:
    """The files that were published, and of what."""

    inputs: str = ""  # digest of the datasets whose results are CURRENT; "" while those are written
    run: str = ""  # which published them
    forgotten: int = 0  # documents on the list of forgotten ones, so that its loss is noticed
    files: dict[str, FileRecord] = field(default_factory=dict)  # by path relative to the root

    @classmethod
    def load(cls, root: Root) -> Self:
        """Read the list of an output root; an absent one is empty. Raises DataError for a damaged one."""
        try:
            data = root.get(FILE)
        except FileNotFoundError:
            return cls()
        return parsed(data, root.uri(FILE), cls._of)

    @classmethod
    def _of(cls, values: dict[str, Any]) -> Self:
        return cls(**{**values, "files": file_records(values["files"])})

    def save(self, root: Root) -> None:
        """Write the list."""
        root.put(FILE, sealed(asdict(self)))

    def whole(self, root: Root) -> bool:
        """Return whether everything that is CURRENT is there with its size (no digest is computed)."""
        current = {name: file for name, file in self.files.items() if _is_below(name, CURRENT)}
        return CURRENT[-1] in current and have_sizes(root, current)

    @classmethod
    def damaged(cls, root: Root, *places: str) -> list[str]:
        """Re-read every listed file, or those below some places, and the list; return what is missing or differs."""
        try:
            listed = cls.load(root)
        except DataError:
            return [FILE]
        if not root.exists(FILE) and _there(root, PLACES):
            return [FILE]
        return damaged_files(root, {n: file for n, file in listed.files.items() if not places or _is_below(n, places)})


@contextmanager
def publishing(root: Root, *places: str, inputs: str | None = None, run: str = "") -> Iterator[None]:
    """Let the block write files, and list them as they are afterwards; a kill inside leaves them unlisted.

    Args:
        root: output root.
        places: files and folders below it that the block may write or remove.
        inputs: where the block makes what is CURRENT: digest of the datasets that it shows.
        run: which does so.
    """
    before = Published.load(root) if root.exists(FILE) else _listed(root)
    others = {name: file for name, file in before.files.items() if not _is_below(name, places)}
    begun = replace(before, files=others) if inputs is None else replace(before, files=others, inputs="")
    begun.save(root)
    yield
    written = {name: record_file(root, name) for name in _there(root, places)}
    ended = begun if inputs is None else replace(begun, inputs=inputs, run=run)
    replace(ended, files={**others, **written}).save(root)


def note_forgotten(root: Root, count: int) -> None:
    """Note how many documents are on the list of forgotten ones."""
    replace(Published.load(root), forgotten=count).save(root)


def relist(root: Root) -> None:
    """Make the list again, of everything that lies there; what is CURRENT has to be published again."""
    _listed(root).save(root)


def repair(root: Root, name: str) -> str | None:
    """Put a damaged file back from another of the same content, or remove it; return what people should know of that.

    Removed results stay on the list, so that the next run publishes them again.
    """
    listed = Published.load(root)
    wanted = listed.files[name]
    for twin, file in listed.files.items():
        if twin != name and file == wanted and not damaged_files(root, {twin: file}):
            root.put(name, root.get(twin))
            return None
    root.delete(name)
    if _is_below(name, CURRENT):
        return None
    replace(listed, files={other: file for other, file in listed.files.items() if other != name}).save(root)
    if _is_below(name, ("sweep",)):
        return f"{name} was removed; `fuseline sweep` writes it again"
    return f"{name} tells of an earlier run and cannot be made again: it was removed"


def _is_below(name: str, places: tuple[str, ...]) -> bool:
    return any(name == place or name.startswith(f"{place}/") for place in places)


def _listed(root: Root) -> Published:
    return Published(files={name: record_file(root, name) for name in _there(root, PLACES)})


def _there(root: Root, places: tuple[str, ...]) -> list[str]:
    """Return the files at and below some places, the last part of which may be a pattern."""
    return sorted({file for place in places for name in _matching(root, place) for file in _files(root, name)})


def _matching(root: Root, place: str) -> list[str]:
    folder, _, pattern = place.rpartition("/")
    return [f"{folder}/{name}" for name in fnmatch.filter(root.children(folder), pattern)] if "*" in place else [place]


def _files(root: Root, name: str) -> list[str]:
    return [name] if root.exists(name) else root.list(name)
