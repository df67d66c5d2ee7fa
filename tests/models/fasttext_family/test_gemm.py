"""Matrix products of the kernels against NumPy's, and their bits wherever a row lies."""

import numpy as np
import pytest
from numpy.typing import NDArray

from fuseline.models.fasttext.kernels import gemm

FLOATS = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def numbers(*shape: int, dtype: type, seed: int = 0) -> NDArray[np.floating]:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def near(got: NDArray[np.floating], want: NDArray[np.floating]) -> None:
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-5 if got.dtype == np.float32 else 1e-13)


@FLOATS
@pytest.mark.parametrize("n", [0, 1, 5, 16])
def test_outer_products_are_added_to_the_columns_asked_for(dtype: type, n: int) -> None:
    a, b, out = numbers(16, 8, dtype=dtype), numbers(16, 64, dtype=dtype, seed=1), numbers(8, 64, dtype=dtype, seed=2)
    want = out.copy()
    want[:, 16:48] += a[:n].T @ b[:n, 16:48]
    gemm.add_outer(out, a, b, n, 16, 48)
    near(out, want)


@FLOATS
@pytest.mark.parametrize("rows", [0, 1, 4, 7])
def test_inner_products_are_added_over_the_columns_asked_for(dtype: type, rows: int) -> None:
    a, b, out = numbers(8, 80, dtype=dtype), numbers(12, 80, dtype=dtype, seed=1), numbers(8, 12, dtype=dtype, seed=2)
    want, even = out.copy(), rows + rows % 2
    want[:rows] += a[:rows, 16:64] @ b[:, 16:64].T
    gemm.add_inner(out, a, b, rows, 16, 64)
    near(out[:rows], want[:rows])
    np.testing.assert_array_equal(out[even:], want[even:])


@FLOATS
@pytest.mark.parametrize("rows", [1, 2, 5, 16])
def test_the_gram_matrix_below_its_diagonal(dtype: type, rows: int) -> None:
    a, out = numbers(16, 48, dtype=dtype), np.full((16, 16), np.nan, dtype)
    gemm.gram(out, a, rows)
    below = np.tril_indices(rows)
    near(out[below], (a[:rows] @ a[:rows].T)[below])


def test_a_row_has_the_same_bits_beside_any_others() -> None:
    a, b = numbers(8, 96, dtype=np.float32), numbers(4, 96, dtype=np.float32, seed=1)
    whole, alone = np.zeros((8, 4), np.float32), np.zeros((8, 4), np.float32)
    gemm.add_inner(whole, a, b, 8, 0, 96)
    gemm.add_inner(alone, np.ascontiguousarray(a[[5, 2]]), b, 1, 0, 96)
    np.testing.assert_array_equal(whole[5], alone[0])
