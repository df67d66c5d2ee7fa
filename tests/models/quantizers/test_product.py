"""PQ and RSPQ: faiss is the oracle for codes; identities and refusals."""

from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fuseline.models.errors import CheckpointError
from fuseline.models.quantizers import PQ, QUANTIZERS, RSPQ, PQConfig, RSPQConfig, kmeans

SMALL = PQConfig(parts=4, codewords=16, iterations=5, unit=False)


def vectors(n: int = 400, dim: int = 16, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def test_codes_are_those_of_faiss() -> None:
    X = vectors(2000)
    ours = PQ(SMALL).fit(X, seed=3)
    theirs = faiss.ProductQuantizer(16, 4, 4)
    faiss.copy_array_to_vector(ours.centroids.ravel(), theirs.centroids)
    packed = theirs.compute_codes(X)
    codes = np.stack([packed[:, 0] & 15, packed[:, 0] >> 4, packed[:, 1] & 15, packed[:, 1] >> 4], axis=1)
    np.testing.assert_array_equal(ours.encode(X).codes, codes)
    np.testing.assert_allclose(ours.decode(codes), theirs.decode(packed), rtol=1e-6)


def test_k_means_is_as_good_as_that_of_faiss() -> None:
    X = vectors(2000)
    theirs = faiss.ProductQuantizer(16, 4, 4)
    theirs.train(X)
    their_error = np.square(X - theirs.decode(theirs.compute_codes(X))).sum(1).mean()
    ours = PQ(PQConfig(parts=4, codewords=16, unit=False)).fit(X, seed=3)
    assert ours.train_error == pytest.approx(their_error, rel=0.03)


@settings(max_examples=8, deadline=None)
@given(parts=st.sampled_from([1, 2, 4, 8]), seed=st.integers(0, 2**31))
def test_rspq_with_one_identity_permutation_is_pq(parts: int, seed: int) -> None:
    X = vectors(60, 8, seed % 1000)
    pq = PQ(PQConfig(parts=parts, codewords=4, iterations=3)).fit(X, seed=seed)
    identity = np.arange(8, dtype=np.int32)[None]
    rspq = RSPQ(RSPQConfig(parts=parts, codewords=4, iterations=3, repeats=1)).fit(X, seed=seed, permutations=identity)
    np.testing.assert_array_equal(pq.encode(X).codes, rspq.encode(X).codes)
    np.testing.assert_array_equal(pq.decode(pq.encode(X).codes), rspq.decode(rspq.encode(X).codes))


def test_rspq_keeps_its_permutations(tmp_path: Path) -> None:
    X = vectors()
    rspq = RSPQ(RSPQConfig(parts=4, codewords=16, iterations=3, repeats=3)).fit(X, seed=1)
    assert rspq.tokens == 12
    assert {tuple(sorted(order)) for order in rspq.permutations.tolist()} == {tuple(range(16))}
    assert len({tuple(order) for order in rspq.permutations.tolist()}) == 3
    rspq.save(tmp_path)
    back = RSPQ.load(tmp_path)
    np.testing.assert_array_equal(back.permutations, rspq.permutations)
    np.testing.assert_array_equal(back.encode(X).codes, rspq.encode(X).codes)
    assert back.config == rspq.config


def test_absent_and_not_finite_rows_have_no_code() -> None:
    X = vectors()
    pq = PQ(SMALL.model_copy(update={"unit": True})).fit(X, seed=0)
    rows = X[:5].copy()
    rows[1, 3], rows[2, 0], rows[4] = np.nan, np.inf, 0
    given_present = np.array([False, True, True, True, True])
    codes, present = pq.encode(rows, given_present)
    assert present.tolist() == [False, False, False, True, False]
    np.testing.assert_array_equal(codes[3], pq.encode(X[3:4]).codes[0])
    assert given_present.tolist() == [False, True, True, True, True]


def test_rows_that_are_not_finite_teach_nothing() -> None:
    X = vectors()
    dirty = np.vstack([np.full((1, 16), np.nan, np.float32), X])
    np.testing.assert_array_equal(PQ(SMALL).fit(dirty, seed=5).centroids, PQ(SMALL).fit(X, seed=5).centroids)


def test_unit_length_makes_scale_irrelevant() -> None:
    X = vectors()
    pq = PQ(PQConfig(parts=2, codewords=8, iterations=3)).fit(X, seed=0)
    np.testing.assert_array_equal(pq.encode(X).codes, pq.encode(X * 4).codes)


def test_errors_are_squared_distances_to_the_decoded_row() -> None:
    X = vectors()
    pq = PQ(SMALL).fit(X, seed=0)
    codes = pq.encode(X).codes
    np.testing.assert_allclose(pq.errors(X, codes), np.square(X - pq.decode(codes)).sum(1), rtol=1e-5)
    assert pq.errors(X, codes).mean() == pytest.approx(pq.train_error, rel=1e-5)


def test_usage_counts_the_training_rows() -> None:
    X = vectors(300)
    pq = PQ(SMALL).fit(X, seed=0)
    assert pq.usage.shape == (4, 16)
    assert pq.usage.sum(1).tolist() == [300] * 4


def test_refusals_name_the_cure(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"choose one of \[1, 2, 3, 5, 6, 10, 15, 30\]"):
        PQ(PQConfig(parts=4, codewords=2)).fit(vectors(9, 30), seed=0)
    with pytest.raises(ValueError, match="codewords=16, got 15; lower codewords"):
        PQ(SMALL).fit(vectors(15), seed=0)
    pq = PQ(SMALL).fit(vectors(), seed=0)
    with pytest.raises(ValueError, match=r"expected \(n, 16\), got \(3, 8\)"):
        pq.encode(vectors(3, 8))
    pq.save(tmp_path)
    with pytest.raises(CheckpointError, match="expected 'quantizer/rspq', got 'quantizer/pq'"):
        RSPQ.load(tmp_path)


def test_every_quantizer_is_described_and_round_trips(tmp_path: Path) -> None:
    for name, entry in QUANTIZERS.items():
        folder = tmp_path / name
        folder.mkdir()
        fitted = entry(entry.Config(parts=2, codewords=4, iterations=2)).fit(vectors(), seed=1)
        fitted.save(folder)
        first = [path.read_bytes() for path in sorted(folder.iterdir())]
        entry.load(folder).save(folder)
        assert [path.read_bytes() for path in sorted(folder.iterdir())] == first
        assert len(entry.summary) > 20


def test_the_number_of_threads_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """faiss ends at other centroids for each number of threads, so that every machine had a codebook of its own."""
    distinct, before = vectors(200, 64), faiss.omp_get_max_threads()
    X = distinct[np.random.default_rng(0).integers(0, 200, 2000)]
    learned, fitted = [], []
    for threads in (1, 3):
        faiss.omp_set_num_threads(threads)
        learned.append(kmeans.learn(X, 256, iterations=5, seed=1))
        assert faiss.omp_get_max_threads() == threads
        monkeypatch.setattr("fuseline.models.quantizers.product.thread_limit", lambda threads=threads: threads)
        fitted.append(PQ(PQConfig(parts=4, codewords=16, iterations=3)).fit(X, seed=0).centroids)
    faiss.omp_set_num_threads(before)
    np.testing.assert_array_equal(*learned)
    np.testing.assert_array_equal(*fitted)


def test_part_errors_are_squared_distances_to_the_codeword_of_each_part() -> None:
    X = vectors()
    rspq = RSPQ(RSPQConfig(parts=4, codewords=16, iterations=3, repeats=2, unit=False)).fit(X, seed=1)
    codes = rspq.encode(X).codes
    found = rspq.part_errors(X, codes)
    for m in range(8):
        columns = rspq.permutations[m // 4][4 * (m % 4) : 4 * (m % 4) + 4]
        expected = np.square(X[:, columns] - rspq.centroids[m][codes[:, m]]).sum(axis=1)
        np.testing.assert_allclose(found[:, m], expected, rtol=1e-5)
    pq = PQ(SMALL).fit(X, seed=0)
    np.testing.assert_allclose(
        pq.part_errors(X, pq.encode(X).codes).sum(axis=1), pq.errors(X, pq.encode(X).codes), rtol=1e-5
    )
