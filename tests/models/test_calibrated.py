"""The temperature is the likeliest one, and what is said of cases without one."""

import numpy as np
import pytest

from fuseline.models.calibrated import at_temperature, fitted_temperature
from fuseline.models.classifier import sigmoid, softmax
from fuseline.models.metrics.calibration import bin_sums, calibration_error

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(4000, 5)).astype(np.float32)


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("link", ["softmax", "sigmoid", "exp"])
def test_overconfident_logits_are_cooled_to_what_they_know(link: str, factor: float) -> None:
    p = sigmoid(LOGITS) if link == "sigmoid" else softmax(LOGITS)
    if link == "sigmoid":
        truth = RNG.random(p.shape) < p
    else:
        truth = np.eye(5, dtype=np.bool_)[(p.cumsum(axis=1) < RNG.random((len(p), 1))).sum(axis=1).clip(0, 4)]
    given = np.log(p) * factor if link == "exp" else LOGITS * factor
    temperature = fitted_temperature(given.astype(np.float32), link, truth)
    assert temperature == pytest.approx(factor, rel=0.08)
    if link != "sigmoid" and factor != 1:
        sums = []
        for t in (1.0, temperature):
            q = at_temperature(given.astype(np.float32), link, t)
            sums.append(bin_sums(q.max(axis=1).astype(np.float64), truth[np.arange(4000), q.argmax(axis=1)]))
        assert calibration_error(sums[1]) < calibration_error(sums[0]) / 2


def test_the_bounds_and_cases_without_a_temperature() -> None:
    flat, right = np.zeros((5, 3), np.float32), np.eye(3, dtype=np.bool_)[[0, 1, 2, 0, 1]]
    np.testing.assert_allclose(at_temperature(flat, "softmax", fitted_temperature(flat, "softmax", right)), 1 / 3)
    sure = 10 * right.astype(np.float32)
    assert at_temperature(sure, "softmax", fitted_temperature(sure, "softmax", right)).max(axis=1).min() > 0.9999
    assert fitted_temperature(-10 * right.astype(np.float32), "softmax", right) == pytest.approx(100, rel=1e-3)
    assert fitted_temperature(flat, "softmax", np.zeros((5, 3), np.bool_)) == 1
    with pytest.raises(ValueError, match="link: expected softmax, sigmoid or exp for a temperature, got 'clipped'"):
        at_temperature(flat, "clipped", 2.0)
