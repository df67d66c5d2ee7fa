"""Losses by name: the mean over documents of logits against their labels, so that parts of a batch add up to it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fuseline.models.frequency_loss import sigmoid_entropy, softmax_entropy

if TYPE_CHECKING:
    from torch import Tensor

PRIOR = 0.01  # of a class, before anything is known: that of focal loss (Lin 2017)
ClassWeights = Literal["none", "balanced", "sqrt"]


@dataclass(frozen=True)
class Loss:
    """`mean(logits, truth, weights, positive)` of (n, C) tensors, and the link that makes probabilities of logits.

    `truth` is 1 where a document has the label, else 0; `weights` (C,) weigh the classes, None stands for 1;
    `positive` weighs labels that a document has against those that it has not. `bias` is what logits of a class would
    be that n of N documents have, if nothing else was known; `least` is the mean of these logits.
    """

    mean: "Callable[[Tensor, Tensor, Tensor | None, float], Tensor]"
    link: Literal["softmax", "sigmoid", "clipped"]
    bias: Callable[[NDArray[np.float64], float], NDArray[np.float64]]
    least: Callable[[NDArray[np.float64], float], float]


def softmax_loss(logits: "Tensor", truth: "Tensor", weights: "Tensor | None", positive: float) -> "Tensor":
    """Return the cross entropy of one class among all; several labels of a document share it evenly."""
    from torch.nn import functional

    return functional.cross_entropy(logits, truth / truth.sum(dim=1, keepdim=True), weight=weights)


def sigmoid_loss(logits: "Tensor", truth: "Tensor", weights: "Tensor | None", positive: float) -> "Tensor":
    """Return the sum over classes of (1 - y) x + (1 + (q - 1) y) log(1 + exp(-x)), q = `positive` (Z-04).

    Torch computes it with log(1 + exp(-|x|)), which overflows nowhere.
    """
    from torch.nn import functional

    q = None if positive == 1.0 else truth.new_full((truth.shape[1],), positive)
    total = functional.binary_cross_entropy_with_logits(logits, truth, weight=weights, pos_weight=q, reduction="sum")
    return total / len(truth)


def squared_loss(logits: "Tensor", truth: "Tensor", weights: "Tensor | None", positive: float) -> "Tensor":
    """Return the sum over classes of (x - y)^2, weighed by `positive` where y is 1."""
    errors = (logits - truth) ** 2
    errors = errors if positive == 1.0 else errors * (1.0 + (positive - 1.0) * truth)
    errors = errors if weights is None else errors * weights
    return errors.sum() / len(truth)


LOSSES: dict[str, Loss] = {
    "softmax": Loss(softmax_loss, "softmax", lambda n, N: np.log(n / n.sum()), lambda n, N: softmax_entropy(n)),
    "sigmoid": Loss(
        sigmoid_loss, "sigmoid", lambda n, N: np.log((n + 0.5) / (N - n + 0.5)),
        lambda n, N: sigmoid_entropy(n / N, 1 - n / N),
    ),
    "squared": Loss(squared_loss, "clipped", lambda n, N: n / N, lambda n, N: float((n / N * (1 - n / N)).sum())),
}  # fmt: skip


def start_bias(loss: str, kind: str, counts: NDArray[np.float64], documents: float) -> NDArray[np.float64]:
    """Return what the bias of every class (C,) starts from.

    frequencies: the logits of how frequent the classes are; rare: log(p / (1 - p)), p = 0.01, under sigmoid (R-20).
    Raises ValueError for `rare` under another loss, where equal logits say nothing.

    Args:
        loss: in LOSSES.
        kind: frequencies or rare.
        counts: (C,) documents of every class.
        documents: all that have a label.
    """
    if kind == "rare" and loss != "sigmoid":
        raise ValueError(f"bias: expected zero or frequencies under {loss}, got 'rare'; take loss: sigmoid")
    if kind == "rare":
        return np.full(len(counts), np.log(PRIOR / (1 - PRIOR)))
    return LOSSES[loss].bias(counts, documents)


def class_weights(kind: ClassWeights, counts: NDArray[np.int64], documents: int) -> NDArray[np.float32] | None:
    """Return the weight of every class (C,), or None where all have the same.

    balanced: N / (C n_c), so that every class counts as much; sqrt: its square root, which is the inverse square root
    of a class's frequency up to a factor (R-19).

    Args:
        kind: none, balanced or sqrt.
        counts: (C,) documents of every class, each above 0.
        documents: N, that have a label.
    """
    if kind == "none":
        return None
    balanced = documents / (len(counts) * counts.astype(np.float64))
    return np.asarray(np.sqrt(balanced) if kind == "sqrt" else balanced, np.float32)
