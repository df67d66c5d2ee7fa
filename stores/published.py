"""What lies under a root beside its datasets (results, reports, runs): a sealed list of digests, written last."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from fuseline.stores.atomic import atomic_file, is_partial, write_bytes
from fuseline.stores.errors import DataError
from fuseline.stores.layouts.files import damaged_files, have_sizes, record_file
from fuseline.stores.manifest import FileRecord, file_records, parsed, sealed

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
    def load(cls, root: Path) -> Self:
        """Read the list of an output root; an absent one is empty. Raises DataError for a damaged one."""
        try:
            data = (root / FILE).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return cls()
        return parsed(data, str(root / FILE), cls._of)

    @classmethod
    def _of(cls, values: dict[str, Any]) -> Self:
        return cls(**{**values, "files": file_records(values["files"])})

    def save(self, root: Path) -> None:
        """Write the list."""
        write_bytes(root / FILE, sealed(asdict(self)))

    def whole(self, root: Path) -> bool:
        """Return whether everything that is CURRENT is there with its size (no digest is computed)."""
        current = {name: file for name, file in self.files.items() if _is_below(name, CURRENT)}
        return CURRENT[-1] in current and have_sizes(root, current)

    @classmethod
    def damaged(cls, root: Path, *places: str) -> list[str]:
        """Re-read every listed file, or those below some places, and the list; return what is missing or differs."""
        try:
            listed = cls.load(root)
        except DataError:
            return [FILE]
        if not (root / FILE).exists() and _there(root, PLACES):
            return [FILE]
        return damaged_files(root, {n: file for n, file in listed.files.items() if not places or _is_below(n, places)})


@contextmanager
def publishing(root: Path, *places: Path, inputs: str | None = None, run: str = "") -> Iterator[None]:
    """Let the block write files, and list them as they are afterwards; a kill inside leaves them unlisted.

    Args:
        root: output root.
        places: files and folders below it that the block may write or remove.
        inputs: where the block makes what is CURRENT: digest of the datasets that it shows.
        run: which does so.
    """
    names = tuple(place.relative_to(root).as_posix() for place in places)
    before = Published.load(root) if (root / FILE).exists() else _found(root)
    others = {name: file for name, file in before.files.items() if not _is_below(name, names)}
    begun = replace(before, files=others) if inputs is None else replace(before, files=others, inputs="")
    begun.save(root)
    yield
    written = {path.relative_to(root).as_posix(): record_file(path) for path in _there(root, names)}
    ended = begun if inputs is None else replace(begun, inputs=inputs, run=run)
    replace(ended, files={**others, **written}).save(root)


def note_forgotten(root: Path, count: int) -> None:
    """Note how many documents are on the list of forgotten ones."""
    replace(Published.load(root), forgotten=count).save(root)


def relist(root: Path) -> None:
    """Make the list again, of everything that lies there; what is CURRENT has to be published again."""
    _found(root).save(root)


def repair(root: Path, name: str) -> str | None:
    """Put a damaged file back from another of the same content, or remove it; return what people should know of that.

    Removed results stay on the list, so that the next run publishes them again.
    """
    listed, path = Published.load(root), root / name
    wanted = listed.files[name]
    for twin, file in listed.files.items():
        if twin != name and file == wanted and not damaged_files(root, {twin: file}):
            with atomic_file(path) as partial:
                shutil.copyfile(root / twin, partial)
            return None
    path.unlink(missing_ok=True)
    if _is_below(name, CURRENT):
        return None
    replace(listed, files={other: file for other, file in listed.files.items() if other != name}).save(root)
    if _is_below(name, ("sweep",)):
        return f"{name} was removed; `fuseline sweep` writes it again"
    return f"{name} tells of an earlier run and cannot be made again: it was removed"


def _is_below(name: str, places: tuple[str, ...]) -> bool:
    return any(name == place or name.startswith(f"{place}/") for place in places)


def _found(root: Path) -> Published:
    return Published(files={path.relative_to(root).as_posix(): record_file(path) for path in _there(root, PLACES)})


def _there(root: Path, places: tuple[str, ...]) -> list[Path]:
    """Return the files at and below some places, given as patterns relative to the root."""
    found = [path for place in places for path in root.glob(place)]
    below = [file for path in found for file in (path.rglob("*") if path.is_dir() else [path])]
    return sorted(file for file in below if file.is_file() and not is_partial(file))
