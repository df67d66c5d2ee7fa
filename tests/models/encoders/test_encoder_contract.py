"""What every encoder of the registry promises; one that a package registers is tested by being installed."""

import numpy as np
import pytest

from fuseline.models.config import FrozenConfig
from fuseline.models.encoders import ENCODERS, encoder_config, get_encoder, new_encoder
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
