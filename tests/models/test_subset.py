"""Documents drawn by a hash of their ids: about as many as asked, the same whatever the blocks."""

import pyarrow as pa
import pytest

from fuseline.models.subset import HashedPart, hashes
from tests.models.synthetic import Blocks, documents, with_parts


def ids(part: HashedPart) -> list[str]:
    return [one for block in part.blocks() for one in block.ids.to_pylist()]


@pytest.mark.parametrize("rows", [7, 100, 5000])
def test_the_part_does_not_depend_on_the_blocks(rows: int) -> None:
    block = documents(2000)
    assert ids(HashedPart(Blocks(block, rows), 0.25, 0.5)) == ids(HashedPart(Blocks(block), 0.25, 0.5))


def test_parts_are_about_as_large_as_asked_and_make_up_the_whole() -> None:
    features = Blocks(documents(4000))
    low, high = HashedPart(features, 0.0, 0.1), HashedPart(features, 0.1, 1.0)
    assert low.n_rows == 400
    assert len(ids(low)) == pytest.approx(400, abs=60)
    assert sorted(ids(low) + ids(high)) == sorted(features.block.ids.to_pylist())


def test_documents_without_a_label_are_left_out() -> None:
    block = documents(50)
    labels = [None if i % 2 else one for i, one in enumerate(block.labels.to_pylist())]
    features = Blocks(with_parts(block, labels=pa.array(labels, block.labels.type)))
    assert ids(HashedPart(features, 0.0, 1.0)) == block.ids.to_pylist()[::2]


def test_hashes_are_those_of_every_machine() -> None:
    assert hashes(pa.array(["d0", "é"])).tolist() == [0.9692622990780259, 0.8366193659300623]
