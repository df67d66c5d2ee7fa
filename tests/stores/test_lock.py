"""One run at a time, and the second says who is first."""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from faults import full_disk

from fuseline.stores.errors import LockedError, StorageError
from fuseline.stores.lock import hold, holder
from fuseline.stores.places import open_root

HOLD = """
import sys, time
from fuseline.stores.lock import hold
from fuseline.stores.places import open_root
with hold(open_root(sys.argv[1]), started="2026-01-02 03:04:05 UTC", wait=0):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def other(tmp_path):
    """Return a process that holds tmp_path / "root"."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "root")]
    here = Path(__file__).parents[2]
    with subprocess.Popen(
        command, cwd=here, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ}
    ) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_the_second_process_learns_who_holds_the_root(other, tmp_path):
    wanted = rf"process {other.pid} on {socket.gethostname()}, started 2026-01-02 03:04:05 UTC, holds it; .*--wait"
    with pytest.raises(LockedError, match=wanted), hold(open_root(tmp_path / "root"), started="now", wait=0):
        pytest.fail("two runs on one root")


def test_waiting_gets_the_lock_when_the_first_run_ends(other, tmp_path):
    threading.Timer(0.3, other.stdin.close).start()
    with hold(open_root(tmp_path / "root"), started="now", wait=30):
        assert f"process {os.getpid()} " in holder(open_root(tmp_path / "root"))


def test_who_waits_is_told_at_once_for_whom(other, tmp_path):
    said = []

    def waiting(line: str) -> None:
        said.append(line)
        other.stdin.close()

    with hold(open_root(tmp_path / "root"), started="now", wait=-1, command="fuseline gc", waiting=waiting):
        assert "started now by `fuseline gc`," in holder(open_root(tmp_path / "root"))
    (line,) = said
    assert f"process {other.pid} on {socket.gethostname()}, started 2026-01-02 03:04:05 UTC, holds it; waiting" in line
    with hold(open_root(tmp_path / "root"), started="now", wait=-1, waiting=waiting):
        assert len(said) == 1  # nobody is waited for


@pytest.mark.parametrize("before", [True, False])
def test_a_full_disk_can_be_held_and_names_nobody_wrongly(tmp_path, before):
    if before:
        with hold(open_root(tmp_path), started="then", wait=0):
            pass
    with full_disk(), hold(open_root(tmp_path), started="now", wait=0):
        pass
    assert holder(open_root(tmp_path)) == "another run"


def test_a_killed_run_frees_the_root(other, tmp_path):
    other.send_signal(signal.SIGKILL)
    other.wait()
    with hold(open_root(tmp_path / "root"), started="now", wait=0):
        pass


def test_one_process_may_hold_it_twice(tmp_path):
    with hold(open_root(tmp_path), started="now", wait=0), hold(open_root(tmp_path), started="now", wait=0):
        pass
    with hold(open_root(tmp_path), started="now", wait=0):
        pass


def test_the_outer_hold_outlives_the_inner(tmp_path):
    with hold(open_root(tmp_path / "root"), started="now", wait=0):
        with hold(open_root(tmp_path / "root"), started="now", wait=0):
            pass
        done = subprocess.run(
            [sys.executable, "-c", HOLD, str(tmp_path / "root")], cwd=Path(__file__).parents[2],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert "LockedError" in done.stderr
    assert f"process {os.getpid()} " in done.stderr


def test_one_process_may_name_the_root_differently(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with (
        hold(open_root(tmp_path / "root"), started="now", wait=0),
        hold(open_root(Path("root")), started="now", wait=0),
    ):
        pass


def test_one_process_may_hold_it_from_another_thread(tmp_path):
    """Prefect runs a subflow in a thread of its own."""
    got = []

    def inner() -> None:
        with hold(open_root(tmp_path), started="now", wait=0):
            got.append(True)

    with hold(open_root(tmp_path), started="now", wait=0):
        thread = threading.Thread(target=inner)
        thread.start()
        thread.join()
    assert got == [True]


def test_an_error_inside_frees_it(tmp_path, other):
    with pytest.raises(ZeroDivisionError), hold(open_root(tmp_path / "mine"), started="now", wait=0):
        raise ZeroDivisionError
    with hold(open_root(tmp_path / "mine"), started="now", wait=0):
        pass


def test_a_root_that_cannot_be_made_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(StorageError, match=r"cannot write .*file"),
        hold(open_root(tmp_path / "file" / "x"), started="", wait=0),
    ):
        pytest.fail("held a file")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}"])
def test_a_broken_note_still_names_somebody(tmp_path, data):
    (tmp_path / ".lock.json").write_bytes(data)
    assert holder(open_root(tmp_path)) == "another run"
