"""Blocks: cut, picked and joined, their single missing values included."""

from typing import Any

import numpy as np

from fuseline.models.blocks import cut, joined
from fuseline.models.columns import Dense
from fuseline.models.features import Block
from tests.models.synthetic import documents, present, tokens, vectors, with_parts


def missing(block: Block) -> Any:
    return block.column("embed/image", Dense).missing


def test_rows_are_cut_and_picked_alike() -> None:
    block = documents(20)
    block = with_parts(block, missing={"image": np.arange(20 * 12).reshape(20, 12) % 7 == 0})
    part, picked = cut(block, 3, 8), block.at(np.arange(3, 8))
    for one in (part, picked):
        assert one.ids.to_pylist() == block.ids.to_pylist()[3:8]
        assert one.text.to_pylist() == block.text.to_pylist()[3:8]
        np.testing.assert_array_equal(vectors(one, "image"), vectors(block, "image")[3:8])
        np.testing.assert_array_equal(tokens(one, "pq"), tokens(block, "pq")[3:8])
        np.testing.assert_array_equal(present(one, "pq"), present(block, "pq")[3:8])
        np.testing.assert_array_equal(missing(one), missing(block)[3:8])
    assert len(cut(block, 18, 30)) == 2


def test_a_block_without_gaps_joins_one_that_has_some() -> None:
    whole, gaps = documents(3), np.zeros((2, 12), np.bool_)
    gaps[1, 4] = True
    both = joined([whole, with_parts(documents(2, seed=1), missing={"image": gaps})])
    assert np.argwhere(missing(both)).tolist() == [[4, 4]]
    assert missing(joined([whole, whole])) is None
