"""Workers that outlive a stage, and their death."""

import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from drive import Source, clean, content, documents, nodes, run

from fuseline.models.progress import note
from fuseline.tasks.engine.meters import Meters
from fuseline.tasks.engine.pool import Pool, close_pool, shared_pool


@pytest.fixture
def wanted(tmp_path, root):
    wanted = nodes(Source(tmp_path / "x.jsonl").write(documents(30)), shard_size=5)
    run([wanted.documents], root)
    return wanted


@pytest.fixture
def pool():
    pool = Pool(2)
    yield pool
    pool.close(kill=True)


def dies_once(tables, config, context):
    """Kill the worker at the first call, as the kernel does when memory runs out."""
    mark = Path(context.source) / "died"
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return clean(tables, config, context)
    return os.kill(os.getpid(), signal.SIGKILL)


def dies(tables, config, context):
    return os.kill(os.getpid(), signal.SIGKILL)


def threads_allowed(tables, config, context):
    made = clean(tables, config, context)
    limit = os.environ["OMP_NUM_THREADS"]
    return made.set_column(2, "text", [[limit] * made.num_rows])


def test_a_worker_makes_a_shard_with_one_thread(wanted, root, pool):
    stage = replace(wanted.clean, transform=threads_allowed)
    (report,) = pool.make_shards([stage], root, 1, source="")
    assert report.computed == 5
    assert content(stage, root)["d5"]["text"] == "1"


def modules_there(tables, config, context):
    made = clean(tables, config, context)
    return made.set_column(2, "text", [[str("wave" in sys.modules)] * made.num_rows])


def test_the_worker_that_was_started_early_makes_the_shards(wanted, root, pool):
    """It is one: another one starts when it is busy, which it is not with little to do."""
    pool.start(["wave"]).result()
    early = set(pool._executor._processes)
    assert len(early) == 1
    for index in (0, 1):
        pool.make_shards([replace(wanted.clean, transform=modules_there)], root, index, source="")
    assert set(pool._executor._processes) == early
    assert content(wanted.clean, root)["d5"]["text"] == "True"


def test_killed_workers_are_replaced_and_every_shard_is_made(wanted, root, pool, tmp_path):
    """Two threads that meet the same broken pool must not end each other's new one."""
    stage, reports = replace(wanted.clean, transform=dies_once), []

    def work(index: int) -> None:
        reports.extend(pool.make_shards([stage], root, index, source=str(tmp_path)))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(report.index for report in reports) == [0, 1, 2]
    assert len(content(stage, root)) == 15


def test_a_stage_that_always_kills_fails_alone(wanted, root, pool):
    """Out of memory in one detector must not lose the others that shared its pass."""
    deadly = replace(wanted.title, transform=dies)
    first, second = pool.make_shards([deadly, wanted.clean], root, 0, source="")
    assert first.error == (
        "clean/title: shard 0 ended its worker process twice; lower its batch_size or shard_size if memory ran out"
    )
    assert (second.computed, second.error) == (5, "")
    assert pool.make_shards([wanted.clean], root, 1, source="")[0].computed == 5


def test_the_shared_pool_is_kept_until_the_number_of_workers_changes():
    try:
        one = shared_pool(1)
        assert shared_pool(1) is one
        assert shared_pool(2) is not one
    finally:
        close_pool(kill=True)


def halfway(tables, config, context):
    """Say that three of five rows are done, and wait until somebody has seen it."""
    note(3, 5)
    seen = Path(context.source) / "seen"
    for _ in range(1000):
        if seen.exists():
            break
        time.sleep(0.01)
    return clean(tables, config, context)


def test_the_rows_inside_a_shard_are_seen_from_outside_of_its_process(wanted, root, pool, tmp_path):
    found = []

    @contextmanager
    def watch(meter):
        over = threading.Event()

        def look():
            while not over.wait(0.01):
                if (meter.done, meter.total) == (3, 5):
                    found.append(meter.place)
                    (tmp_path / "seen").touch()

        thread = threading.Thread(target=look)
        thread.start()
        yield
        over.set()
        thread.join()

    stage = replace(wanted.clean, transform=halfway)
    (report,) = pool.make_shards([stage], root, 1, source=str(tmp_path), watch=watch)
    assert report.computed == 5
    assert found
    with pool._meters.taken() as meter:
        assert (meter.done, meter.total) == (0, 0)


def test_more_work_than_meters_goes_without_one():
    meters = Meters(1)
    with meters.taken() as first, meters.taken() as second:
        assert first is not None
        assert second is None
    with meters.taken() as again:
        assert again is not None
