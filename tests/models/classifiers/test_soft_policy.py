"""The soft policy: mixed, trained together, and open for the other modality where one is missing."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from fuseline.models.classifiers.soft_policy import SoftPolicy, SoftPolicyConfig
from fuseline.models.columns import Dense
from fuseline.models.features import Block, embedding_name
from fuseline.models.policy_layers import SoftMixture
from tests.models.synthetic import Blocks


def documents(n: int = 400, seed: int = 0) -> Block:
    """The image tells classes 0 and 1 apart, the text 2 and 3; which of both speaks stands in their last number."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 4, n)
    image, text = (rng.normal(size=(n, 5)).astype(np.float32) for _ in range(2))
    for X, mine in ((image, y < 2), (text, y >= 2)):
        X[:, 4] = np.where(mine, 3, -3)
        X[mine, y[mine]] += 4
    there = rng.random(n) > 0.1
    columns = {embedding_name("image"): Dense(image, there), embedding_name("text"): Dense(text, np.ones(n, np.bool_))}
    return Block(pa.array([f"d{i}" for i in range(n)]), pa.array([[f"c{c}"] for c in y]), columns)


@pytest.mark.parametrize("branch", [0, 8])
def test_it_learns_which_of_both_speaks(branch: int) -> None:
    config = SoftPolicyConfig(lr=0.02, epochs=30, branch=branch)
    model, test = SoftPolicy(config).fit(Blocks(documents()), None, seed=0), documents(200, 1)
    logits = model.predict_logits(test)
    best = np.array(model.labels)[logits.argmax(axis=1)]
    there = test.columns[embedding_name("image")].present
    assert (best == np.array([own[0] for own in test.labels.to_pylist()]))[there].mean() > 0.95


def test_the_mixture_by_hand_and_a_missing_modality() -> None:
    torch.manual_seed(0)
    net = SoftMixture(3, 2, 4, branch=0, layers=1, hidden=10)
    image, text = torch.randn(2, 3), torch.randn(2, 2)
    p = torch.sigmoid(net.policy({"x": torch.cat([image, text], dim=1)}))
    open_, only_text = torch.tensor([[0.0, 1.0]] * 2), torch.tensor([[0.0, 0.0]] * 2)
    batch = {"image": image, "text": text, "bounds": open_}
    torch.testing.assert_close(net(batch), p * net.image(image) + (1 - p) * net.text(text))
    torch.testing.assert_close(net({**batch, "bounds": only_text}), net.text(text))
