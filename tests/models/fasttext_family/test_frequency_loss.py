"""What a loss comes to by label frequencies alone: where texts tell nothing, training ends there."""

import numpy as np
import pyarrow as pa
import pytest

from fuseline.models.features import Block
from tests.models.reference import fitted
from tests.models.synthetic import make_block


def told_nothing(n: int, *, second_label: bool) -> Block:
    """Return documents of one word, with labels of unequal frequency."""
    rng = np.random.default_rng(0)
    first = rng.choice(6, n, p=[0.4, 0.25, 0.15, 0.1, 0.06, 0.04])
    labels = [[f"c{c}", "often"] if second_label and rng.random() < 0.3 else [f"c{c}"] for c in first]
    labels = [own if rng.random() < 0.6 else [] for own in labels]  # training passes over the others
    return make_block(
        ids=pa.array([f"d{i}" for i in range(n)]), text=pa.array(["word"] * n), labels=pa.array(labels), dense={},
        codes={}, present={},
    )  # fmt: skip


@pytest.mark.parametrize("loss", ["softmax", "hs", "ns", "ova"])
@pytest.mark.parametrize("second_label", [False, True])
def test_training_on_texts_that_tell_nothing_ends_there(loss: str, second_label: bool) -> None:
    options = {"preset": "fasttext", "dim": 8, "lr": 0.1, "epochs": 30, "loss": loss, "deterministic": True}
    model = fitted("text", told_nothing(3000, second_label=second_label), **options)
    known = model.frequency_losses()[""]
    assert model.facts["loss_per_epoch"][-1] == pytest.approx(known, rel=0.04)
