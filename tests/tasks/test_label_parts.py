"""Which labels a model of a part of them learns, whatever the order, and that both parts together are all."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuseline.models.features import Block
from fuseline.tasks.label_parts import LabelsConfig, OfLabels, of_labels

LISTS = st.lists(st.none() | st.lists(st.text("abcde", min_size=1, max_size=2), max_size=4), max_size=12)


def lists(rows):
    return pa.array(rows, pa.list_(pa.string()))


@given(LISTS, st.floats(0.1, 0.9), st.integers(0, 3))
def test_every_label_is_known_or_new_and_stays_in_its_place(rows, share, seed):
    known, new = (
        LabelsConfig(held_out=share, seed=seed, new=new).kept(lists(rows)).to_pylist() for new in (False, True)
    )
    ours = {label for row in known for label in row}
    theirs = {label for row in new for label in row}
    assert not ours & theirs
    for row, one, two in zip(rows, known, new, strict=True):
        assert one == [label for label in row or [] if label in ours]
        assert two == [label for label in row or [] if label in theirs]


def test_about_the_share_is_held_out_and_a_slice_is_cut_like_the_whole():
    names = lists([[f"class {i}"] for i in range(2000)])
    part = LabelsConfig(held_out=0.3, new=True)
    kept = part.kept(names)
    assert sum(map(len, kept.to_pylist())) == pytest.approx(600, abs=60)
    assert part.kept(names[700:900]).to_pylist() == kept[700:900].to_pylist()
    assert LabelsConfig(held_out=0.3, new=True, seed=1).kept(names) != kept


def test_features_and_shards_keep_their_documents():
    labels, part = lists([["a"], ["b", "c"], [], ["d"]]), LabelsConfig(held_out=0.5)

    class Source:
        n_rows = 4

        def blocks(self):
            yield Block(pa.array(list("wxyz")), labels)

    (block,) = OfLabels(Source(), part).blocks()
    assert block.labels == part.kept(labels)
    assert (OfLabels(Source(), part).n_rows, block.ids.to_pylist()) == (4, list("wxyz"))
    table = pa.table({"id": list("wxyz"), "labels": pa.chunked_array([labels[:2], labels[2:]])})
    ((first, second),) = of_labels(lambda: iter([[table, table]]), part, place=1)()
    assert first is table
    assert second["labels"].to_pylist() == part.kept(labels).to_pylist()
    assert second.schema == table.schema
    ((same,),) = of_labels(lambda: iter([[table]]), None)()
    assert same is table
    assert np.array_equal(part.kept(lists([])).to_pylist(), [])
