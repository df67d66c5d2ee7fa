"""Assignment of documents to splits and folds: pure functions of keys and a seed, never of row order.

A key is the document's id, or its group when documents of one group must not lie on both sides (R13). The same key
always gets the same answer, so documents that are added later move no other in `hash_split` and `hash_folds`.
"""

import math

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from fuseline.stores.errors import ConfigError, mismatch


def hash_split(keys: pa.Array, *, valid: float, test: float, seed: int) -> pa.Array:
    """Return "train", "valid" or "test" per key, (n,) string; about `valid` and `test` of the keys.

    A larger `test` or `valid` only adds keys to what the smaller one chose. ConfigError for shares out of range.
    """
    check_shares(valid, test)
    place = hashed(keys, seed=seed) / 2.0**64
    index = np.where(place < test, 2, np.where(place >= 1.0 - valid, 1, 0)).astype(np.int8)
    return pa.DictionaryArray.from_arrays(index, pa.array(NAMES)).cast(pa.string())


def stratified_split(keys: pa.Array, labels: pa.Array, *, valid: float, test: float, seed: int) -> pa.Array:
    """Return a split with the same share of every label, rounded to the nearest document (paper M, section 4.1).

    Args:
        keys: (n,) string; documents with the same key get the same split, counted under the first one's label.
        labels: (n,) string, the label to balance by; null is a label of its own.
        valid: share of each label's keys, 0..1.
        test: likewise.
        seed: which keys are taken.

    The keys with the smallest hashes are taken, so added documents move few of the others.
    """
    check_shares(valid, test)
    _, inverse, rank, size = _ranks(keys, labels, seed=seed)
    n_test = np.rint(size * test)
    n_valid = np.rint(size * valid)
    index = np.where(rank < n_test, 2, np.where(rank < n_test + n_valid, 1, 0)).astype(np.int8)
    return pa.DictionaryArray.from_arrays(index[inverse], pa.array(NAMES)).cast(pa.string())


def hash_folds(keys: pa.Array, *, k: int, seed: int) -> NDArray[np.int32]:
    """Return the fold of each key, (n,) int32 in 0..k-1, of about equal sizes."""
    check_folds(k)
    return (hashed(keys, seed=seed) % np.uint64(k)).astype(np.int32)


def stratified_folds(keys: pa.Array, labels: pa.Array, *, k: int, seed: int) -> NDArray[np.int32]:
    """Return folds, (n,) int32, whose counts of a label differ by one key at most (five folds in papers P and R)."""
    check_folds(k)
    first, inverse, rank, _ = _ranks(keys, labels, seed=seed)
    # each label starts at a fold of its own, or small labels would all fill fold 0
    start = hashed(labels.take(pa.array(first)), seed=seed) % np.uint64(k)
    fold = (rank + start.astype(np.int64)) % k
    return np.asarray(fold[inverse], dtype=np.int32)


def hashed(keys: pa.Array, *, seed: int) -> NDArray[np.uint64]:
    """Return XXH3-64 of each key's UTF-8 bytes, (n,) uint64; a null hashes like an empty text."""
    digest = xxhash.xxh3_64_intdigest
    raw = keys.cast(pa.binary()).to_pylist()
    return np.fromiter((digest(key or b"", seed) for key in raw), np.uint64, len(raw))


def _ranks(
    keys: pa.Array, labels: pa.Array, *, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return per distinct key its first row, its rank by hash within its label and its label's size; and row -> key."""
    codes = _codes(keys)
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    label = _codes(labels)[first]
    order = np.lexsort((hashed(keys.take(pa.array(first)), seed=seed), label))
    sizes = np.bincount(label) if len(label) else np.zeros(1, np.int64)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    rank = np.empty(len(first), np.int64)
    rank[order] = np.arange(len(first)) - starts[label[order]]
    return first, inverse, rank, sizes[label]


def _codes(values: pa.Array) -> NDArray[np.int64]:
    """Number the distinct values, null being one of them."""
    encoded = values.dictionary_encode(null_encoding="encode")
    return np.asarray(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int64)


def check_shares(valid: float, test: float) -> None:
    """Raise ConfigError for shares outside 0..1, or whose sum is above 1."""
    if not (math.isfinite(valid) and math.isfinite(test) and valid >= 0 and test >= 0 and valid + test <= 1):
        cure = "give two numbers from 0 to 1 whose sum is at most 1"
        raise ConfigError(mismatch("split.valid and split.test", "shares of the documents", (valid, test), cure))


def check_folds(k: int) -> None:
    """Raise ConfigError for fewer than two folds."""
    if k < 2:
        raise ConfigError(mismatch("split.folds", "at least 2", k, "set folds to 5, as the papers do"))


NAMES = ("train", "valid", "test")
