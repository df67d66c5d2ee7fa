"""What every detector of the registry promises; one that a package registers is tested by being installed."""

from typing import get_args

import numpy as np
import pytest

from fuseline.models.config import FrozenConfig
from fuseline.models.detectors import DETECTORS, detector_config, get_detector
from fuseline.models.detectors.base import Finds
from fuseline.models.errors import MissingWeights
from fuseline.models.threads import limit_threads

every = pytest.mark.parametrize("name", sorted(DETECTORS))


@every
def test_a_detector_says_what_it_is(name: str) -> None:
    detector = DETECTORS[name]
    assert detector.kind == name
    assert len(detector.summary) > 15
    assert detector.origin
    assert detector.finds in get_args(Finds)
    assert issubclass(detector.Config, FrozenConfig)
    assert detector_config(name) is detector.Config


@every
def test_elements_lie_in_the_image_and_repeat(name: str) -> None:
    limit_threads(1)
    try:
        detector = get_detector(name, DETECTORS[name].Config())
    except MissingWeights:
        pytest.skip("its weights are not here")
    assert detector.min_side > 0
    assert detector.digest
    noise = np.random.default_rng(0).integers(0, 256, (120, 90, 3), np.uint8)
    lit = np.zeros((120, 90, 3), np.uint8)
    lit[30:60, 20:70] = 250
    for pixels in (noise, lit, np.zeros((1, 1, 3), np.uint8)):
        elements = detector.detect(detector.prepare(pixels))
        assert detector.detect(detector.prepare(pixels.copy())) == elements
        for one in elements:
            left, top, right, bottom = one.box
            assert 0 <= left <= right <= 1
            assert 0 <= top <= bottom <= 1
            assert 0 <= one.score <= 1
            assert one.label
            assert (one.text is not None) == (detector.finds == "ocr")
