"""Files and folders appear whole or not at all, wherever the disk fails or the process dies."""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from faults import Killed, caught, failing

from fuseline.stores.atomic import atomic_file, atomic_folder, is_partial, storage_error, write_bytes
from fuseline.stores.errors import StorageError

OLD, NEW = {"a": b"old", "b": b"old too"}, {"a": b"new", "c": b"newer"}
FULL = OSError(errno.ENOSPC, "No space left on device")


def write_file(path: Path, files: dict[str, bytes]) -> None:
    with atomic_file(path) as partial:
        partial.write_bytes(b"".join(files.values()))


def write_folder(path: Path, files: dict[str, bytes]) -> None:
    with atomic_folder(path) as partial:
        (partial / "sub").mkdir()
        for name, data in files.items():
            (partial / "sub" / name).write_bytes(data)


def content(path: Path) -> object:
    if path.is_dir():
        return {file.name: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    return path.read_bytes() if path.exists() else None


def expected(write: Callable[..., None], files: dict[str, bytes]) -> object:
    return files if write is write_folder else b"".join(files.values())


writers = pytest.mark.parametrize("write", [write_file, write_folder])


@writers
def test_replaces_and_leaves_nothing_beside(write, tmp_path):
    path = tmp_path / "deep" / "x"
    for files in (OLD, NEW):
        write(path, files)
        assert content(path) == expected(write, files)
        assert list(path.parent.iterdir()) == [path]


@writers
@pytest.mark.parametrize("error", [FULL, OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
@pytest.mark.parametrize("after", [False, True])
def test_a_failure_at_any_call_leaves_old_or_new(write, error, after, tmp_path):
    for calls in range(1, 100):
        path = tmp_path / str(calls) / "x"
        write(path, OLD)
        with failing(calls, error, after=after) as countdown:
            raised = caught(lambda path=path: write(path, NEW))
        # Only a failure of the clean-up itself is passed over in silence.
        assert isinstance(raised, (StorageError if isinstance(error, OSError) else KeyboardInterrupt) | None)
        assert error is not FULL or raised is None or "free some space" in str(raised)
        assert content(path) in (expected(write, OLD), expected(write, NEW)), calls
        if not countdown.fired:
            break
        # A clean-up call that itself fails may leave a partial; nothing else may.
        assert sum(1 for _ in path.parent.iterdir()) <= 2
        assert all(p == path or is_partial(p) for p in path.parent.iterdir())
        write(path, NEW)
        assert content(path) == expected(write, NEW)
    else:
        pytest.fail("the write never ended")
    assert calls > 3


@pytest.mark.parametrize("after", [False, True])
def test_a_kill_at_any_call_leaves_the_old_file_or_the_new(after, tmp_path):
    for calls in range(1, 100):
        path = tmp_path / str(calls) / "x"
        write_file(path, OLD)
        with failing(calls, Killed(), after=after) as countdown, suppress(Killed):
            write_file(path, NEW)
        assert content(path) in (b"oldold too", b"newnewer")
        assert all(p == path or is_partial(p) for p in path.parent.iterdir())
        if not countdown.fired:
            break
    assert calls > 3


@pytest.mark.parametrize("after", [False, True])
def test_a_kill_at_any_call_leaves_a_new_folder_whole_or_absent(after, tmp_path):
    for calls in range(1, 100):
        path = tmp_path / str(calls) / "x"
        path.parent.mkdir()
        with failing(calls, Killed(), after=after) as countdown, suppress(Killed):
            write_folder(path, NEW)
        assert not path.exists() or content(path) == NEW
        assert all(p == path or is_partial(p) for p in path.parent.iterdir())
        if not countdown.fired:
            break
    assert calls > 3


@writers
def test_an_error_of_the_caller_passes_through(write, tmp_path):
    path = tmp_path / "x"
    write(path, OLD)
    context = atomic_folder if write is write_folder else atomic_file
    with pytest.raises(ZeroDivisionError), context(path):
        raise ZeroDivisionError
    assert content(path) == expected(write, OLD)
    assert list(tmp_path.iterdir()) == [path]


@writers
def test_a_file_in_place_of_the_folder_is_a_storage_error(write, tmp_path):
    (tmp_path / "root").write_bytes(b"")
    with pytest.raises(StorageError, match=r"cannot write .*root.*; .*choose another `root`"):
        write(tmp_path / "root" / "sub" / "x", OLD)


@writers
def test_bytes_and_names_are_synced_before_it_counts(write, tmp_path, monkeypatch):
    order = []
    monkeypatch.setattr(os, "fsync", lambda handle: order.append(Path(f"/proc/self/fd/{handle}").readlink().name))
    for name in ("replace", "rename"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, real=real: (order.append("RENAME"), real(*args))[1])
    write(tmp_path / "x", NEW)
    assert order.index("RENAME") < len(order) - 1
    assert all(".partial" in name or name in {"sub", *NEW} for name in order[: order.index("RENAME")])
    assert order[-1] == tmp_path.name


def test_write_bytes_writes_a_file(tmp_path):
    write_bytes(tmp_path / "a" / "b", b"x")
    assert (tmp_path / "a" / "b").read_bytes() == b"x"


def test_a_storage_error_is_not_wrapped_twice(tmp_path):
    inner = storage_error(tmp_path, FULL)
    assert storage_error(tmp_path / "outer", inner) is inner
    assert inner.errno == errno.ENOSPC
