"""What every quantizer of the registry promises; one that a package registers is tested by being installed."""

from pathlib import Path

import numpy as np
import pytest

from fuseline.models.config import FrozenConfig
from fuseline.models.dense import F32
from fuseline.models.errors import CheckpointError
from fuseline.models.quantizers import QUANTIZERS, Quantizer

every = pytest.mark.parametrize("name", sorted(QUANTIZERS))


def vectors(n: int = 400, dim: int = 12) -> F32:
    return np.random.default_rng(0).normal(size=(n, dim)).astype(np.float32)


def fitted(name: str, seed: int = 0) -> Quantizer:
    return QUANTIZERS[name](QUANTIZERS[name].Config.model_validate({"parts": 3})).fit(vectors(), seed=seed)


def saved(quantizer: Quantizer, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    quantizer.save(folder)
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


@every
def test_a_quantizer_says_what_it_is(name: str) -> None:
    quantizer = QUANTIZERS[name]
    assert quantizer.kind == name
    assert len(quantizer.summary) > 20
    assert issubclass(quantizer.Config, FrozenConfig)
    assert {"parts", "sample", "unit"} <= set(quantizer.Config.model_fields)
    assert quantizer.repeated in (True, False)


@every
def test_codes_are_bytes_and_absent_rows_have_none(name: str) -> None:
    quantizer, X = fitted(name), vectors(6)
    X[1, 2], X[4, 0] = np.nan, np.inf
    given = np.array([True, True, False, True, True, True])
    codes, present = quantizer.encode(X, given)
    assert (codes.shape, codes.dtype) == ((6, quantizer.tokens), np.uint8)
    assert present.tolist() == [True, False, False, True, False, True]
    assert (quantizer.parts, quantizer.tokens % 3) == (3, 0)
    np.testing.assert_array_equal(quantizer.encode(X[3:4]).codes[0], codes[3])
    decoded = quantizer.decode(codes)
    assert (decoded.shape, decoded.dtype) == (X.shape, np.float32)
    good = X[present]
    unit = good / np.linalg.norm(good, axis=1, keepdims=True) if quantizer.Config().unit else good
    errors = np.square(unit - decoded[present]).sum(axis=1)
    np.testing.assert_allclose(quantizer.errors(good, codes[present]), errors, rtol=1e-4)
    assert quantizer.part_errors(good, codes[present]).shape == (3, quantizer.tokens)


@every
def test_a_fit_counts_its_sample_and_repeats(name: str, tmp_path: Path) -> None:
    quantizer = fitted(name)
    assert quantizer.usage.sum(axis=1).tolist() == [400] * quantizer.tokens
    assert quantizer.train_error >= 0
    first = saved(quantizer, tmp_path / "first")
    assert saved(fitted(name), tmp_path / "again") == first
    back = QUANTIZERS[name].load(tmp_path / "first")
    assert saved(back, tmp_path / "loaded") == first
    np.testing.assert_array_equal(back.encode(vectors()).codes, quantizer.encode(vectors()).codes)
    other = next(one for kind, one in QUANTIZERS.items() if kind != name)
    with pytest.raises(CheckpointError):
        other.load(tmp_path / "first")
