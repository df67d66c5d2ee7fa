"""The cache: made once, lent to many threads, bounded, closed when nobody holds it."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import sleep

import pytest

from fuseline.tasks.engine.cache import Cache


class Thing:
    """Something of a given size that remembers whether it was closed."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes, self.closed = nbytes, False

    def close(self) -> None:
        """Note it."""
        assert not self.closed
        self.closed = True


def test_a_value_is_made_once_and_lent_to_all_threads():
    cache, made, start = Cache(100), [], Barrier(4)

    def make() -> Thing:
        sleep(0.05)
        made.append(Thing(10))
        return made[-1]

    def use(_: int) -> Thing:
        start.wait()
        with cache.get_or_create("a", make) as thing:
            return thing

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(use, range(4)))
    assert len(made) == 1
    assert found == made * 4
    assert cache.nbytes == 10


def test_the_least_recently_used_goes_when_there_is_no_room():
    cache, things = Cache(25), {name: Thing(10) for name in "abc"}
    for name in ("a", "b", "a", "c"):
        with cache.get_or_create(name, lambda name=name: things[name]):
            pass
    assert [things[name].closed for name in "abc"] == [False, True, False]
    assert [name in cache for name in "abc"] == [True, False, True]
    assert cache.nbytes == 20


def test_what_somebody_holds_stays_open_even_when_it_is_too_large():
    cache, large = Cache(5), Thing(10)
    with cache.get_or_create("a", lambda: large), cache.get_or_create("a", lambda: Thing(10)) as same:
        assert same is large
        cache.close()
        assert not large.closed
    assert large.closed
    assert "a" not in cache


def test_what_could_not_be_made_is_tried_again():
    cache, fresh = Cache(5), Thing(1)

    def fail() -> Thing:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), cache.get_or_create("a", fail):
        pass
    with cache.get_or_create("a", lambda: fresh) as found:
        assert found is fresh


def test_closing_closes_everything():
    cache, things = Cache(100), [Thing(1), Thing(2)]
    for number, thing in enumerate(things):
        with cache.get_or_create(number, lambda thing=thing: thing):
            pass
    cache.close()
    assert all(thing.closed for thing in things)
    assert cache.nbytes == 0
