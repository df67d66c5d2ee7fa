"""A loss that is not finite: the fit starts over at half the rate, and says so."""

from typing import Any

import numpy as np
import pytest

from fuseline.models.errors import TrainingError
from fuseline.models.fasttext import hogwild
from fuseline.models.registry import MODELS
from tests.models.synthetic import Blocks, documents

QUICK = {"preset": "fasttext", "dim": 8, "epochs": 4, "deterministic": True}


def fitted(**options: Any) -> Any:
    kind = MODELS["additive"]
    return kind(kind.Config(**{**QUICK, **options})).fit(Blocks(documents(200)), None, seed=4)


def test_a_fit_that_diverges_is_the_one_at_half_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    train, rates = hogwild.train, list[float]()

    def fragile(*args: Any, config: Any, **more: Any) -> list[float]:
        rates.append(config.lr)
        if config.lr > 0.15:
            args[0].U[:] = np.nan
            raise TrainingError("loss: expected a finite number")
        return train(*args, config=config, **more)

    monkeypatch.setattr(hogwild, "train", fragile)
    restarted = fitted(lr=0.4)
    assert rates == [0.4, 0.2, 0.1]
    assert (restarted.facts["restarts"], restarted.facts["lr"]) == (2, 0.1)
    monkeypatch.undo()
    straight, block = fitted(lr=0.1), documents(50, seed=1)
    assert "restarts" not in straight.facts
    np.testing.assert_array_equal(restarted.predict_logits(block), straight.predict_logits(block))


def test_after_five_restarts_it_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = list[float]()

    def broken(*args: Any, config: Any, **more: Any) -> list[float]:
        rates.append(config.lr)
        raise TrainingError(f"loss: expected a finite number; lower lr={config.lr!r}")

    monkeypatch.setattr(hogwild, "train", broken)
    with pytest.raises(TrainingError, match=r"lower lr=0\.0125"):
        fitted(lr=0.4)
    assert rates == [0.4 / 2**k for k in range(6)]


def test_a_rate_that_is_far_too_high_is_survived() -> None:
    classifier = fitted(lr=5.0, image_length=5.0)
    assert classifier.facts["restarts"] >= 4
    assert max(classifier.facts["loss_per_epoch"]) < 10
    assert np.isfinite(classifier.predict_logits(documents(50, seed=1))).all()
