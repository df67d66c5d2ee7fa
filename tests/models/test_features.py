"""Blocks: cut, picked and joined, their single missing values included."""

from dataclasses import replace

import numpy as np

from fuseline.models.blocks import cut, joined
from tests.models.synthetic import documents


def test_rows_are_cut_and_picked_alike() -> None:
    block = documents(20)
    block = replace(block, missing={"image": np.arange(20 * 12).reshape(20, 12) % 7 == 0})
    part, picked = cut(block, 3, 8), block.at(np.arange(3, 8))
    for one in (part, picked):
        assert one.ids.to_pylist() == block.ids.to_pylist()[3:8]
        assert one.text.to_pylist() == block.text.to_pylist()[3:8]
        np.testing.assert_array_equal(one.dense["image"], block.dense["image"][3:8])
        np.testing.assert_array_equal(one.codes["pq"], block.codes["pq"][3:8])
        np.testing.assert_array_equal(one.present["pq"], block.present["pq"][3:8])
        np.testing.assert_array_equal(one.missing["image"], block.missing["image"][3:8])
    assert len(cut(block, 18, 30)) == 2


def test_a_block_without_gaps_joins_one_that_has_some() -> None:
    whole, gaps = documents(3), np.zeros((2, 12), np.bool_)
    gaps[1, 4] = True
    both = joined([whole, replace(documents(2, seed=1), missing={"image": gaps})])
    assert np.argwhere(both.missing["image"]).tolist() == [[4, 4]]
    assert joined([whole, whole]).missing == {}
