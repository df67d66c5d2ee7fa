"""Where a command writes what the user asked for: a file of theirs, or standard output."""

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fuseline.stores.atomic import atomic_file
from fuseline.stores.errors import ConfigError, mismatch

STDOUT = "-"


def check_output(output: str, source: str) -> None:
    """Refuse, before any work, an output that would harm what is there, or that cannot be written.

    Args:
        output: path of a new or regular file, links followed, or "-" for standard output.
        source: path or URL of what is read; it must be another file.

    Raises:
        ConfigError: the output is a folder, device or the source, its folder cannot be written, or it is a terminal.
    """
    if output == STDOUT:
        if sys.stdout.isatty():
            cure = "send it to a file or a program: ... -o - > new.parquet"
            raise ConfigError(mismatch("--output", "standard output that is no terminal", "a terminal", cure))
        return
    path = Path(output).resolve()
    kind = _kind(path)
    if kind not in ("", "a file"):
        raise ConfigError(mismatch("--output", "a new or a regular file", f"{output} ({kind})", "choose another path"))
    if kind and "://" not in source and Path(source).exists() and path.samefile(source):
        raise ConfigError(mismatch("--output", "another file than --source", output, "choose another path"))
    folder = next(parent for parent in path.parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(mismatch("--output", "a folder that can be written", str(folder), "choose another path"))


@contextmanager
def written(output: str) -> Iterator[Path]:
    """Yield a path to write to; what is there then appears whole at `output`, or goes to standard output.

    A link stays a link: the file that it names is replaced.
    """
    if output != STDOUT:
        with atomic_file(Path(output).resolve()) as partial:
            yield partial
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "output"
        yield path
        with path.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()


def _kind(path: Path) -> str:
    """Return what lies at a path: "" for nothing."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return ""
    kinds = {stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFBLK: "a device", stat.S_IFCHR: "a device"}
    return kinds.get(stat.S_IFMT(mode), "a pipe or socket")
