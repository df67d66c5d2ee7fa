"""Base class of torch families: a subclass provides a network and the arrays of a batch."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from fuseline.models.checkpoint import Checkpoint
from fuseline.models.classifier import BaseClassifier, ClassifierConfig, Link
from fuseline.models.columns import Size
from fuseline.models.config import FrozenConfig
from fuseline.models.features import Block, Features, inputs_of
from fuseline.models.labels import Classes
from fuseline.models.metrics.registry import METRICS, scores
from fuseline.models.running import run_rows, saved_state
from fuseline.models.scoring import count
from fuseline.models.training import Gather, Trainer, TrainingConfig
from fuseline.models.training.losses import LOSSES
from fuseline.models.training.tasks import LabelTask
from fuseline.models.training.trainer import reproducible
from fuseline.plain import JsonObject

if TYPE_CHECKING:
    import torch

F32 = NDArray[np.float32]
STAND_INS = "stands_in_for"  # among the facts of a model: the published networks whose weights it lacks


class NetworkConfig(TrainingConfig, ClassifierConfig):
    """Settings of every torch family: of its training and of its task."""


class NetworkClassifier(BaseClassifier):
    """A classifier whose logits are those of a torch network.

    A family gives `module` and `gather`. One that predicts otherwise than by the network takes its weights over in
    `_take`, and overrides `predict_logits`, `_arrays` and `_restore`.
    """

    Config: ClassVar[type[FrozenConfig]] = NetworkConfig
    bias: ClassVar[str] = ""  # name of the network's parameter that is added to the logits; "" = none
    config: NetworkConfig
    network: "torch.nn.Module"
    counts: tuple[NDArray[np.float64], float] | None = (
        None  # documents of each class (C,), and of all; of this process's fit alone
    )

    def module(self, sizes: dict[str, Size], C: int) -> "torch.nn.Module":
        """Return the untrained network: batch tensors by name -> logits (n, C); it draws from torch's own stream.

        Args:
            sizes: kind and width of each input, by name.
            C: classes.
        """
        raise NotImplementedError

    def blank(self, sizes: dict[str, Size], C: int) -> "torch.nn.Module":
        """Return a network that saved weights go into: one that would be read from a file is not."""
        return self.module(sizes, C)

    def gather(self, block: Block) -> Gather:
        """Return what makes the arrays of a batch, by name, of the places (m,) of its documents in the block."""
        raise NotImplementedError

    @property
    def link(self) -> Link:
        """That of the loss it was trained by."""
        return LOSSES[self.config.loss_name(multi_label=self.multi_label)].link

    def predict_logits(self, block: Block) -> F32:
        return self._run(block, self.network, len(self.labels))

    def _run(self, block: Block, function: "Callable[[dict[str, torch.Tensor]], torch.Tensor]", width: int) -> F32:
        """Return what a function of the network makes of documents, (n, width)."""
        gather = self.gather(block)
        return run_rows(self.network, function, gather, len(block), width, config=self.config, name=self.kind)

    def describe(self) -> JsonObject:
        parameters = sum(array.size for array in self._arrays().values())
        return {"parameters": parameters, "bytes": 4 * parameters, **self.facts}

    def frequency_loss(self) -> float | None:
        if self.counts is None or self.config.class_weights != "none" or self.config.positive_weight != 1:
            return None
        return LOSSES[self.config.loss_name(multi_label=self.multi_label)].least(*self.counts)

    def _fit(
        self, train: Features, valid: Features | None, classes: Classes, *, seed: int, scratch: Path | None
    ) -> None:
        first = next(train.blocks())
        self.sizes = {one.name: first.column(*one).size for one in inputs_of(type(self), self.config)}
        evaluate = None if valid is None else partial(self._evaluate, valid)
        self.counts = classes.counts.astype(np.float64), float(classes.documents)
        task = LabelTask(self.config, classes, multi_label=self.multi_label)
        module, self.facts = Trainer(self.config, seed, scratch).fit(self, train, task, evaluate=evaluate)
        self._take(module)

    def _evaluate(self, valid: Features, module: "torch.nn.Module") -> dict[str, float]:
        """Return the metrics of a network on the labelled documents of `valid`."""
        self._take(module)
        self.threshold = 0.5  # it is tuned for the chosen epoch alone
        full = self.config.select is not None and METRICS[self.config.select].full
        counts = count(self, valid, full=full)
        return {name: value for name, (value, _) in scores(counts, multi_label=self.multi_label).items()}

    def _take(self, module: "torch.nn.Module") -> None:
        """Take over the weights of a network, which may be trained on."""
        self.network = module

    def _arrays(self) -> dict[str, NDArray[np.generic]]:
        return {name: tensor.detach().cpu().numpy() for name, tensor in self.network.state_dict().items()}

    def _restore(self, saved: Checkpoint) -> None:
        import torch

        with reproducible(0, 1, torch.device("cpu")):  # its first weights are drawn, and replaced below
            network = self.blank(self.sizes, len(self.labels))
        network.load_state_dict(saved_state(saved, network), assign=True)
        self.network = network.eval()
