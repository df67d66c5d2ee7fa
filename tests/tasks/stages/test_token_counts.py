"""Who owns which visual token: counts by hand, representatives, rows that do not count."""

import numpy as np
import pyarrow as pa
import pytest

from fuseline.models.quantizers import PQ, PQConfig
from fuseline.stores.errors import AlignmentError
from fuseline.stores.fitted import SavedCheckpoint
from fuseline.stores.places import open_root
from fuseline.stores.schemas import codes, embedding
from fuseline.tasks.engine.nodes import Context
from fuseline.tasks.stages.token_counts import TokenCountsConfig, count_tokens, representative_rows

CENTROIDS = [[[0.0], [10.0]], [[0.0], [20.0]]]  # two parts of one dimension


@pytest.fixture
def context(tmp_path):
    book = PQ(PQConfig(parts=2, codewords=2, unit=False))
    book.centroids, book.permutations = np.array(CENTROIDS, np.float32), np.arange(2, dtype=np.int32)[None]
    book.usage, book.train_error, book.seed = np.ones((2, 2), np.int64), 1.0, 0
    book.save(tmp_path)
    return Context("", {"codebooks/q": SavedCheckpoint(open_root(tmp_path.parent), tmp_path.name)}, {})


def tables(rows):
    """Return codes, documents and embeddings of (vector or None, split, status) rows."""
    ids = [f"d{i}" for i in range(len(rows))]
    there = [vector is not None for vector, _, _ in rows]
    X = np.array([vector or (0, 0) for vector, _, _ in rows], np.float32).reshape(len(rows), 2)
    coded = (np.abs(X) > [5, 10]).astype(np.uint8)
    error = np.square(X - coded * [10, 20]).sum(axis=1)

    def matrix(values):
        return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), 2)

    status = ["ok" if one else "missing" for one in there]
    errors = pa.array(error, pa.float32(), mask=~np.array(there, bool))
    return [
        pa.table([ids, status, there, matrix(coded), errors], schema=codes(2)),
        pa.table({"id": ids, "status": [s for _, _, s in rows], "split": [s for _, s, _ in rows]}),
        pa.table([ids, status, there, matrix(X)], schema=embedding(2, pa.float32())),
    ]


ROWS = [
    ((1, 0), "train", "ok"),
    ((2, 21), "valid", "ok"),
    (None, "train", "ok"),
    ((9, 19), "train", "ok"),
    ((0, 0), "train", "duplicate_image"),
    ((9.5, 24), None, "ok"),
]


def test_counts_errors_and_typical_documents_by_hand(context):
    found = count_tokens(tables(ROWS), TokenCountsConfig(quantizer="pq", representatives=2), context).to_pylist()
    assert [row["token"] for row in found] == [0, 1, 256, 257]
    assert [row["n"] for row in found] == [2, 2, 1, 3]
    assert [row["n_train"] for row in found] == [1, 1, 1, 1]
    # squared errors of the whole vectors: 1, 4 + 1, 1 + 1, 0.25 + 16
    assert [row["error"] for row in found] == [6, 18.25, 1, 23.25]
    assert [row["error_train"] for row in found] == [1, 2, 1, 2]
    assert [[(one["id"], one["distance"]) for one in row["representatives"]] for row in found] == [
        [("d0", 1), ("d1", 4)],
        [("d5", 0.25), ("d3", 1)],
        [("d0", 0)],
        [("d1", 1), ("d5", 16)],  # d3 is as far as d1 and may be the same picture
    ]


def test_a_shard_without_vectors_has_no_owners(context):
    config = TokenCountsConfig(quantizer="pq", representatives=2)
    assert count_tokens(tables([(None, "train", "ok")]), config, context).num_rows == 0
    assert count_tokens(tables([]), config, context).num_rows == 0


def test_no_typical_documents_when_none_are_wanted(context):
    found = count_tokens(tables(ROWS), TokenCountsConfig(quantizer="pq", representatives=0), context)
    assert found["representatives"].to_pylist() == [[], [], [], []]


def test_other_documents_are_refused(context):
    coded, documents, embedded = tables(ROWS)
    with pytest.raises(AlignmentError, match="token_counts"):
        count_tokens(
            [coded, documents.slice(1), embedded], TokenCountsConfig(quantizer="pq", representatives=1), context
        )
    shuffled = embedded.take([1, 0, 2, 3, 4, 5])
    with pytest.raises(AlignmentError, match="token_counts"):
        count_tokens([coded, documents, shuffled], TokenCountsConfig(quantizer="pq", representatives=1), context)


def test_typical_rows_are_the_nearest_of_each_token_without_copies():
    tokens = np.array([7, 3, 7, 7, 3, 7])
    distances = np.float32([4, 9, 1, 1, 2, 3])
    assert representative_rows(tokens, distances, 2).tolist() == [4, 1, 2, 5]
    assert representative_rows(tokens, distances, 9).tolist() == [4, 1, 2, 5, 0]
    assert representative_rows(tokens[:0], distances[:0], 2).tolist() == []
