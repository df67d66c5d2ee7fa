"""The shelf: made once, lent to many threads, bounded, closed when nobody holds it."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import sleep

import pytest

from fuseline.tasks.engine.cache import Shelf


class Thing:
    """Something of a given size that remembers whether it was closed."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes, self.closed = nbytes, False

    def close(self) -> None:
        """Note it."""
        assert not self.closed
        self.closed = True


def test_a_value_is_made_once_and_lent_to_all_threads():
    shelf, made, start = Shelf(100), [], Barrier(4)

    def make() -> Thing:
        sleep(0.05)
        made.append(Thing(10))
        return made[-1]

    def use(_: int) -> Thing:
        start.wait()
        with shelf.lend("a", make) as thing:
            return thing

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(use, range(4)))
    assert len(made) == 1
    assert found == made * 4
    assert shelf.nbytes == 10


def test_the_least_recently_used_goes_when_there_is_no_room():
    shelf, things = Shelf(25), {name: Thing(10) for name in "abc"}
    for name in ("a", "b", "a", "c"):
        with shelf.lend(name, lambda name=name: things[name]):
            pass
    assert [things[name].closed for name in "abc"] == [False, True, False]
    assert [name in shelf for name in "abc"] == [True, False, True]
    assert shelf.nbytes == 20


def test_what_somebody_holds_stays_open_even_when_it_is_too_large():
    shelf, large = Shelf(5), Thing(10)
    with shelf.lend("a", lambda: large), shelf.lend("a", lambda: Thing(10)) as same:
        assert same is large
        shelf.close()
        assert not large.closed
    assert large.closed
    assert "a" not in shelf


def test_what_could_not_be_made_is_tried_again():
    shelf, fresh = Shelf(5), Thing(1)

    def fail() -> Thing:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), shelf.lend("a", fail):
        pass
    with shelf.lend("a", lambda: fresh) as found:
        assert found is fresh


def test_closing_closes_everything():
    shelf, things = Shelf(100), [Thing(1), Thing(2)]
    for number, thing in enumerate(things):
        with shelf.lend(number, lambda thing=thing: thing):
            pass
    shelf.close()
    assert all(thing.closed for thing in things)
    assert shelf.nbytes == 0
