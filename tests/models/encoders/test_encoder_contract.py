"""What every encoder of the registry promises; one that a package registers is tested by being installed."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from fuseline.models.config import FrozenConfig
from fuseline.models.encoders import ENCODERS, column_encoder, encoder_config, get_encoder, new_encoder
from fuseline.models.errors import MissingWeights
from fuseline.models.threads import limit_threads

FITTED = ("tabular", "indices")  # by a stage, from columns and values
TEXTS = ("An apple a day, 東京", "x", "the quick brown fox jumps over the lazy dog")

every = pytest.mark.parametrize("name", sorted(ENCODERS))


@every
def test_an_encoder_says_what_it_is(name: str) -> None:
    encoder = ENCODERS[name]
    assert encoder.kind == name
    assert len(encoder.summary) > 15
    assert encoder.origin or encoder.modality in FITTED
    assert issubclass(encoder.Config, FrozenConfig)
    assert encoder_config(name, encoder.modality) is encoder.Config
    assert encoder.Config.model_validate(encoder.Config().model_dump()) == encoder.Config()


def columns(n: int, seed: int = 0) -> pa.Table:
    """Return documents with a number that has gaps, a category, and a text that nothing may depend on."""
    rng = np.random.default_rng(seed)
    numbers = [None if rng.random() < 0.2 else float(rng.normal(5, 2)) for _ in range(n)]
    return pa.table({
        "id": [f"d{i}" for i in range(n)],
        "num_size": pa.array(numbers, pa.float64()),
        "cat_colour": pa.array([["red", "blue", None][rng.integers(3)] for _ in range(n)], pa.string()),
        "text": ["x"] * n,
    })  # fmt: skip


@pytest.mark.parametrize("name", sorted(name for name in ENCODERS if ENCODERS[name].modality == "tabular"))
def test_an_encoder_of_columns_is_fitted_once_and_then_frozen(name: str, tmp_path: Path) -> None:
    kind = column_encoder(name)
    parts = [columns(40), columns(30, 1)]
    encoder, again = (kind.fit(iter(parts), kind.Config(), seed=3) for _ in range(2))
    new = columns(20, 2)
    vectors, present = encoder.encode(new)
    assert (vectors.shape, vectors.dtype, present.shape) == ((20, encoder.dim), np.float32, (20,))
    assert present.any()
    assert np.isfinite(vectors).all()
    assert len(encoder.names()) == encoder.dim > 0
    encoder.save(tmp_path)
    for other in (again, kind.load(tmp_path)):
        np.testing.assert_array_equal(other.encode(new)[0], vectors)
    np.testing.assert_array_equal(encoder.encode(new.slice(7, 3))[0], vectors[7:10])
    assert not encoder.encode(new.select(["id", "text"]))[1].any()
    gaps, _ = encoder.encode(pa.table({"num_size": pa.array([None, 5.0], pa.float64())}), missing=np.nan)
    assert np.isnan(gaps[0]).any()


@pytest.mark.parametrize("name", sorted(name for name in ENCODERS if ENCODERS[name].modality not in FITTED))
def test_an_embedding_depends_on_its_item_alone(name: str) -> None:
    limit_threads(1)
    try:
        encoder = get_encoder(name, ENCODERS[name].Config())
    except MissingWeights:
        pytest.skip("its weights are not here")
    rng = np.random.default_rng(3)
    pixels = [rng.integers(0, 256, (*size, 3), np.uint8) for size in ((160, 150), (150, 200), (300, 151))]
    items = [encoder.prepare(item) for item in (TEXTS if encoder.modality == "text" else pixels)]
    whole = encoder.encode(items)
    assert (whole.shape, whole.dtype) == ((3, encoder.dim), np.float32)
    assert np.isfinite(whole).all()
    np.testing.assert_array_equal(encoder.encode(items), whole)
    alone = np.concatenate([encoder.encode([item]) for item in items])
    np.testing.assert_allclose(alone, whole, rtol=1e-3, atol=2e-5)
    assert np.abs(whole[0] - whole[1]).max() > 0
    assert (encoder.min_side is None) or encoder.min_side > 0
    assert encoder.digest == new_encoder(name, ENCODERS[name].Config()).digest
