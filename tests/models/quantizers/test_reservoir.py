"""A reservoir: everything while there is room, then a fair sample, however the stream is cut."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fuseline.models.quantizers.reservoir import Reservoir


def stream(n: int) -> np.ndarray:
    return np.arange(2 * n, dtype=np.float32).reshape(n, 2)


def drawn(rows: np.ndarray, size: int, *, seed: int, cuts: list[int]) -> np.ndarray:
    found = Reservoir(size, seed=seed)
    for part in np.split(rows, sorted(cuts)):
        found.add(part)
    assert found.count == len(rows)
    return found.rows()


def test_while_there_is_room_everything_is_kept_in_order() -> None:
    np.testing.assert_array_equal(drawn(stream(7), 10, seed=0, cuts=[3]), stream(7))
    np.testing.assert_array_equal(drawn(stream(10), 10, seed=0, cuts=[]), stream(10))
    assert Reservoir(5, seed=0).rows().shape == (0, 0)


@given(cuts=st.lists(st.integers(0, 60), max_size=6), seed=st.integers(0, 99), size=st.integers(1, 70))
def test_the_sample_does_not_depend_on_the_blocks(cuts: list[int], seed: int, size: int) -> None:
    whole = drawn(stream(60), size, seed=seed, cuts=[])
    np.testing.assert_array_equal(drawn(stream(60), size, seed=seed, cuts=cuts), whole)
    assert len(set(whole[:, 0].tolist())) == min(size, 60)
    assert {tuple(row) for row in whole.tolist()} <= {tuple(row) for row in stream(60).tolist()}


def test_every_row_has_the_same_chance() -> None:
    chosen = np.zeros(40)
    for seed in range(2000):
        chosen[(drawn(stream(40), 10, seed=seed, cuts=[13, 14])[:, 0] / 2).astype(int)] += 1
    # 500 expected of each, standard deviation 19
    assert np.abs(chosen - 500).max() < 5 * 19
