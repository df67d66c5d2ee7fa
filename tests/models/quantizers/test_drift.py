"""Drift: nothing on the same data, a refit on other data, hand numbers."""

import numpy as np
import pytest

from fuseline.models.quantizers import PQ, PQConfig
from fuseline.models.quantizers.drift import CodewordUsage, Drift, DriftConfig, drift, jensen_shannon

NOTHING = CodewordUsage.nothing(2, 16)


def normal(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 8)).astype(np.float32)


def fitted(n: int) -> PQ:
    return PQ(PQConfig(parts=2, codewords=16, iterations=5, unit=False)).fit(normal(n, 0), seed=0)


BOOK = fitted(4000)


def tally(book: PQ, rows: np.ndarray) -> CodewordUsage:
    codes, _ = book.encode(rows.astype(np.float32))
    usage = np.stack([np.bincount(column, minlength=16) for column in codes.T])
    return CodewordUsage(usage, float(book.errors(rows.astype(np.float32), codes).sum(dtype=np.float64)))


def of(vectors: np.ndarray, *, book: PQ = BOOK, held_out: CodewordUsage = NOTHING, **config: float) -> Drift:
    new = tally(book, vectors)
    return drift(book.usage, book.train_error, new=new, held_out=held_out, config=DriftConfig(**config))


def test_data_of_the_same_kind_do_not_drift() -> None:
    found = of(normal(2000, 1))
    assert found.error_ratio == pytest.approx(1, abs=0.1)
    assert found.divergence.max() < 0.02
    assert found.empty.tolist() == [0, 0]
    assert (found.rows, found.reasons, found.refit) == (2000, (), False)


def test_data_far_away_ask_for_a_refit() -> None:
    found = of(normal(2000, 1) * 0.1 + 3)
    assert found.error_ratio > 1.25
    assert found.empty.min() > 10
    assert found.hot.min() >= 1
    assert found.divergence.min() > 0.5
    assert found.refit
    assert found.reasons[0] == f"mean squared error {found.error_ratio:.2f} x that of known rows"
    assert "codewords fell out of use in 2 of 2 parts" in found.reasons[1]


def test_well_quantized_rows_that_leave_codewords_empty_ask_for_a_refit_too() -> None:
    found = of(BOOK.decode(np.zeros((1500, 2), np.uint8)))
    assert found.error_ratio == 0
    assert found.empty.tolist() == [15, 15]
    assert found.hot.tolist() == [1, 1]
    assert found.reasons == ("codewords fell out of use in 2 of 2 parts, 15 of 16 codewords of part 0",)


def test_few_rows_say_nothing() -> None:
    assert not of(normal(50, 1) + 9).refit
    assert of(normal(50, 1) + 9, rows=50).refit


def test_a_codebook_of_few_rows_is_compared_with_rows_that_it_did_not_learn_from() -> None:
    """An overfitted codebook once asked for a refit as soon as anything came that it had not learned by heart."""
    small = fitted(40)
    assert of(normal(2000, 1), book=small).refit
    found = of(normal(2000, 1), book=small, held_out=tally(small, normal(500, 2)))
    assert found.error_ratio == pytest.approx(1, abs=0.1)
    assert not found.refit
    assert of(normal(2000, 1), book=small, held_out=tally(small, normal(99, 2))).refit  # too few to say


def test_the_share_of_empty_codewords_is_what_chance_does_not_explain() -> None:
    trained = np.array([[98, 1, 1], [50, 50, 0]])
    new = CodewordUsage(np.array([[10, 0, 0], [10, 0, 0]]), 5.0)
    found = drift(trained, 0.5, new=new, held_out=NOTHING, config=DriftConfig(rows=10, empty_share=0.45))
    assert found.empty.tolist() == [2, 1]
    np.testing.assert_allclose(found.expected, [2 * 0.99**10 + 0.02**10, 2 * 0.5**10])
    # part 0: 2 - 1.81 of 3 used; part 1: 1 - 0.002 of the 2 used
    assert found.reasons == ("codewords fell out of use in 1 of 2 parts, 1 of 2 codewords of part 1",)
    assert found.error_ratio == 1.0


def test_no_new_rows_have_no_ratio_and_ask_for_nothing() -> None:
    found = drift(BOOK.usage, BOOK.train_error, new=NOTHING, held_out=NOTHING, config=DriftConfig())
    assert np.isnan(found.error_ratio)
    assert not found.refit


def test_an_error_after_none_at_all_is_endlessly_larger() -> None:
    trained, new = np.array([[5, 5]]), CodewordUsage(np.array([[5, 5]]), 1.0)
    config, nothing = DriftConfig(rows=1), CodewordUsage.nothing(1, 2)
    assert drift(trained, 0.0, new=new, held_out=nothing, config=config).refit
    assert drift(trained, 0.0, new=new._replace(error=0.0), held_out=nothing, config=config).error_ratio == 1


def test_tallies_add() -> None:
    whole, half = normal(60, 1), tally(BOOK, normal(60, 1)[:25])
    both, at_once = half.plus(tally(BOOK, whole[25:])), tally(BOOK, whole)
    np.testing.assert_array_equal(both.usage, at_once.usage)
    assert both.mean_error == pytest.approx(at_once.mean_error)
    assert both.rows == 60


def test_divergence_by_hand() -> None:
    p, q = np.array([[1.0, 0.0], [0.5, 0.5], [1, 0]]), np.array([[0.0, 1.0], [0.5, 0.5], [0.5, 0.5]])
    # third: (log2(1/.75) + .5 log2(.5/.75) + .5 log2(.5/.25)) / 2
    np.testing.assert_allclose(jensen_shannon(p, q), [1, 0, (0.4150375 - 0.2924813 + 0.5) / 2], atol=1e-6)
