"""What a training makes its network do: tell classes apart, or anything else that has a loss."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from fuseline.models.features import Block, Features
from fuseline.models.labels import Classes, labelled
from fuseline.models.training.config import TrainingConfig
from fuseline.models.training.losses import LOSSES, class_weights, start_bias

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    # What a network returns of a batch: (n, outputs); in training also what it adds to the loss (n,).
    Result = Tensor | tuple[Tensor, Tensor]
    Objective = Callable[[Result, Tensor], Tensor]

Truth = Callable[[NDArray[np.int64]], NDArray[np.float32]]  # places (m,) of documents in a block -> (m, outputs)


class Task(Protocol):
    """What is learnt, and of which documents."""

    @property
    def documents(self) -> int:
        """How many documents there are to learn from."""

    @property
    def outputs(self) -> int:
        """How many numbers the network returns of a document."""

    def blocks(self, train: Features) -> Iterator[Block]:
        """Yield the blocks of the training documents that are learnt from."""

    def truth(self, block: Block) -> Truth:
        """Return what makes the truth of documents of a block."""

    def objective(self, device: "torch.device") -> "Objective":
        """Return the mean loss of what a network returns, given the truth (n, outputs)."""

    def start(self) -> NDArray[np.float64]:
        """Return what the outputs start from when frequencies are known."""


class LabelTask:
    """Telling classes apart by one of the `LOSSES`."""

    def __init__(self, config: TrainingConfig, classes: Classes, *, multi_label: bool) -> None:
        """Take the loss and the weights of a configuration; raises ValueError where these do not fit together."""
        self.config, self.classes = config, classes
        self.documents, self.outputs = classes.documents, len(classes.names)
        self.loss_name = config.loss_name(multi_label=multi_label)
        self.loss = LOSSES[self.loss_name]

    def blocks(self, train: Features) -> Iterator[Block]:
        """Yield the documents that have a label."""
        return labelled(train)

    def truth(self, block: Block) -> Truth:
        """Return what is 1 for a document's own labels, else 0."""
        return self.classes.truth(block.labels)

    def objective(self, device: "torch.device") -> "Objective":
        """Return the mean loss of logits; what the network itself adds comes on top."""
        import torch

        classes, positive = self.classes, self.config.positive_weight
        weights = class_weights(self.config.class_weights, classes.counts, classes.documents)
        on_device = None if weights is None else torch.from_numpy(weights).to(device)

        def mean(result: "Result", truth: "Tensor") -> "Tensor":
            logits, added = result if isinstance(result, tuple) else (result, None)
            loss = self.loss.mean(logits.float(), truth, on_device, positive)
            return loss if added is None else loss + added.float().mean()

        return mean

    def start(self) -> NDArray[np.float64]:
        """Return logits by how frequent the classes are, or as if each was rare."""
        counts = self.classes.counts.astype(np.float64)
        return start_bias(self.loss_name, self.config.bias, counts, float(self.documents))
