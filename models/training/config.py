"""Options of training by gradient descent: a mix-in for the configuration of a classifier family."""

from typing import Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator, model_validator

from fuseline.models.config import FrozenConfig, added, runtime_option
from fuseline.models.device import Device
from fuseline.models.metrics.registry import Selected, comparable
from fuseline.models.training.losses import LOSSES, ClassWeights, start_bias
from fuseline.models.training.optimizers import OPTIMIZERS, checked_options
from fuseline.models.training.schedules import SCHEDULES


class ParameterGroup(FrozenConfig):
    """Parameters of a network that are trained otherwise than the rest."""

    match: str = Field(min_length=1, description="Pattern of their names: encoder.*")
    lr: float = Field(1.0, ge=0, description="Share of the learning rate; 0 freezes them")
    options: dict[str, object] = Field({}, description="Options of the optimiser that differ, weight_decay for one")


class TrainingConfig(FrozenConfig):
    """Settings of the loop; a family overrides the defaults that its paper gives.

    Names of optimisers and schedules, and their options, are those of `OPTIMIZERS` and `SCHEDULES`.
    """

    lr: float = Field(0.001, gt=0, description="Learning rate")
    epochs: int = Field(20, ge=1, description="Passes over the training rows")
    batch: int = Field(128, ge=1, description="Documents per step")
    optimizer: str = added("adam", description=f"One of torch.optim: {', '.join(OPTIMIZERS)}")
    optimizer_options: dict[str, object] = added(
        {}, description="Options of the optimiser: momentum, weight_decay, ..."
    )
    schedule: str = added("constant", description=f"How the learning rate goes: {', '.join(SCHEDULES)}")
    schedule_options: dict[str, float] = added({}, description="Options of the schedule: end, gamma, every, patience")
    warmup: float = added(0.0, ge=0, lt=1, description="Share of the training in which the learning rate rises")
    groups: tuple[ParameterGroup, ...] = added((), description="Parameters with a learning rate of their own")
    loss: Literal["auto", "softmax", "sigmoid", "squared"] = added(
        "auto", description="auto: softmax for one label per document, sigmoid for several"
    )
    positive_weight: float = added(
        1.0, gt=0, description="Weight of labels that a document has against those that it has not (sigmoid, squared)"
    )
    class_weights: ClassWeights = added(
        "none", description="balanced: rare classes count as much as frequent ones; sqrt: half way"
    )
    bias: Literal["zero", "frequencies", "rare"] = added(
        "zero",
        description="frequencies: the logits start from how frequent the classes are; rare: from -4.595, as if one "
        "document in a hundred had each (sigmoid alone)",
    )
    modality_dropout: float = added(
        0.0,
        ge=0,
        lt=1,
        description="Chance that a document loses one of its inputs, whole, in a step of training; one always stays",
    )
    select: Selected | None = added(
        None, description="Metric on valid whose best epoch is kept; default: the last epoch is"
    )
    patience: int | None = added(
        None, ge=1, description="Epochs without a better `select` after which training stops; default: never"
    )
    clip: float | None = added(None, gt=0, description="Norm that the gradient is scaled down to; default: none")
    precision: Literal["float32", "bfloat16"] = added(
        "float32", description="What layers compute in (torch's autocast); weights stay float32"
    )
    threads: int = added(1, ge=1, description="Threads on the processor; sums over more differ in their last bits")
    device: Device = runtime_option("auto", description="Where torch trains: auto takes a GPU where there is one")
    memory_mb: int = runtime_option(
        1024, ge=0, description="MB of prepared documents kept in memory; more are read again in every epoch"
    )
    save_seconds: float = runtime_option(
        60.0, ge=0, description="Seconds of training that a kill may cost: so often is the state written"
    )

    @field_validator("optimizer", "schedule")
    @classmethod
    def _known(cls, value: str, info: ValidationInfo) -> str:
        known = OPTIMIZERS if info.field_name == "optimizer" else SCHEDULES
        if value not in known:
            raise ValueError(f"expected one of {sorted(known)}, got {value!r}")
        return value

    @model_validator(mode="after")
    def _options_fit(self) -> "TrainingConfig":
        common = checked_options("optimizer_options", OPTIMIZERS[self.optimizer].options, self.optimizer_options)
        for group in self.groups:
            checked_options("groups.options", common, group.options)
        checked_options("schedule_options", SCHEDULES[self.schedule].options, self.schedule_options)
        if self.select is None and (self.patience is not None or self.schedule == "plateau"):
            wants = "patience" if self.patience is not None else "schedule: plateau"
            raise ValueError(f"select: expected one of {comparable()} for {wants}, got None; name a metric")
        if self.loss == "softmax":
            self.loss_name(multi_label=False)
        if self.bias != "zero" and self.loss != "auto":
            start_bias(self.loss, self.bias, np.ones(1), 1.0)
        return self

    def schedule_values(self) -> dict[str, float]:
        """Return every option of the schedule."""
        return checked_options("schedule_options", SCHEDULES[self.schedule].options, self.schedule_options)

    def loss_name(self, *, multi_label: bool) -> str:
        """Return the loss of a task, a key of LOSSES; raises ValueError when `positive_weight` has no meaning there."""
        name = self.loss if self.loss in LOSSES else "sigmoid" if multi_label else "softmax"
        if name == "softmax" and self.positive_weight != 1:
            cure = "take loss: sigmoid, or class_weights"
            raise ValueError(f"positive_weight: expected 1 under softmax, got {self.positive_weight!r}; {cure}")
        return name
