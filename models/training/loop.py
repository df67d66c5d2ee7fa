"""One training under way: what it has done so far, its steps, and its state on disk."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fuseline.models.blocks import grouped
from fuseline.models.columns import Size
from fuseline.models.device import Batches, out_of_memory, to_device
from fuseline.models.errors import TrainingError
from fuseline.models.features import Block, Features
from fuseline.models.metrics.registry import METRICS
from fuseline.models.progress import note, note_doing
from fuseline.models.training.config import TrainingConfig
from fuseline.models.training.dropout import Gather, Maskable
from fuseline.models.training.optimizers import build_optimizer
from fuseline.models.training.schedules import Plateau, factor
from fuseline.models.training.state import TrainingState, load_state, optimizer_tensors, restore_optimizer, save_state
from fuseline.models.training.tasks import Task, Truth

if TYPE_CHECKING:
    import torch

CHECKED = 64  # steps between two looks at the loss: each waits for a GPU
_log = logging.getLogger(__name__)

Evaluate = Callable[["torch.nn.Module"], dict[str, float]]


class Family(Protocol):
    """What a classifier family gives to its training."""

    @property
    def kind(self) -> str:
        """Its name."""

    @property
    def sizes(self) -> dict[str, Size]:
        """Kind and width of each input, by name."""

    @property
    def bias(self) -> str:
        """Name of the network's parameter that is added to the logits; "" = none."""

    def module(self, sizes: dict[str, Size], C: int) -> "torch.nn.Module":
        """Return the untrained network: batch tensors by name -> (n, C), see `Result` of the tasks."""

    def gather(self, block: Block) -> Gather:
        """Return what makes the arrays of a batch, by name, of the places (m,) of its documents in the block."""


class Part(NamedTuple):
    """Documents of a batch that are gathered alike."""

    gather: Gather
    rows: NDArray[np.int64]  # (m,) of the group
    truth: NDArray[np.float32]  # (m, C)


class Group(NamedTuple):
    """Documents that are shuffled together."""

    n: int
    inputs: Maskable
    truth: Truth


@dataclass
class Position:
    """How far a training has come; plain values."""

    epoch: int = 0
    group: int = 0  # of blocks, in the epoch
    offset: int = 0  # documents of the group that are done
    documents: int = 0  # of the epoch
    total: float = 0.0  # sum of their losses
    losses: list[float] = field(default_factory=list)  # mean of every epoch
    metrics: list[float] = field(default_factory=list)  # on valid, of every epoch
    best: int = -1  # epoch
    waited: int = 0  # epochs since
    scale: float = 1.0  # of the learning rate, by `plateau`
    plateau: int = 0  # epochs that it has waited


class Loop:
    """A network, its optimiser, and how far they are."""

    def __init__(
        self,
        config: TrainingConfig,
        family: Family,
        task: Task,
        device: "torch.device",
    ) -> None:
        """Make the network and its optimiser; the random stream must have been seeded."""
        import torch

        self.config, self.family, self.task, self.device = config, family, task, device
        self.module = family.module(family.sizes, task.outputs)
        self._start_bias()
        self.module.to(device)
        groups = [(group.match, group.lr, group.options) for group in config.groups]
        # What a family froze stays frozen.
        named = ((name, one) for name, one in self.module.named_parameters() if one.requires_grad)
        options = config.optimizer_options
        self.optimizer = build_optimizer(config.optimizer, named, lr=config.lr, options=options, groups=groups)
        self.objective = task.objective(device)
        self.schedule = config.schedule_values()
        self.batches = Batches(family.kind)
        self.at, self.order = Position(), None
        self.total = torch.zeros((), dtype=torch.float64, device=device)
        self.best: dict[str, torch.Tensor] = {}
        self.steps = 0
        self.groups: list[Group] | None = None
        self.maskable = self._maskable()

    order: NDArray[np.int64] | None  # of the documents of a group that is under way

    def run(self, train: Features, evaluate: Evaluate | None, store: "StateStore | None") -> None:
        """Train to the end, from where `store` left off; the best epoch's weights are taken if one is chosen.

        Raises TrainingError when the loss is not finite.
        """
        if store is not None:
            store.resume(self)
        while self.at.epoch < self.config.epochs and not self._has_waited():
            self.module.train()
            note_doing(f"epoch {self.at.epoch + 1} of {self.config.epochs}")
            for number, group in enumerate(self._groups(train)):
                if number >= self.at.group:
                    self._train(group, store)
                    self.at.group, self.at.offset, self.order = number + 1, 0, None
            self._end_epoch(evaluate)
            if store is not None:
                store.save_if_due(self)
        if self.best:
            self.module.load_state_dict(self.best)

    def _groups(self, train: Features) -> Iterator["Group"]:
        """Yield the groups of an epoch: read and prepared once where they fit into `memory_mb`, else in every epoch."""
        if self.groups is not None:
            yield from self.groups
            return
        kept, room = list[Group](), self.config.memory_mb << 20
        for block in grouped(self.task.blocks(train)):
            inputs = Maskable.of(self.family.gather, block, self.maskable)
            group = Group(len(block), inputs, self.task.truth(block))
            room -= (2 + len(self.maskable)) * block.nbytes  # what is gathered from may be a copy
            if room >= 0:
                kept.append(group)
            else:
                kept.clear()
            yield group
        self.groups = kept if room >= 0 else None

    def _train(self, group: "Group", store: "StateStore | None") -> None:
        import torch

        n, inputs, truth = group
        if self.order is None:
            self.order = torch.randperm(n).numpy()
        for lo in range(self.at.offset, len(self.order), self.config.batch):
            rows = self.order[lo : lo + self.config.batch]
            own = truth(rows)  # of a batch alone: the (n, C) of a block may be huge
            masked = inputs.parts(rows, self.config.modality_dropout)
            self._step([Part(gather, rows[places], own[places]) for gather, places in masked])
            self.at.offset = lo + len(rows)
            note(self.at.documents, self.task.documents)
            self.steps += 1
            if self.steps % CHECKED == 0:
                self._check()
            if store is not None:
                store.save_if_due(self)

    def _step(self, parts: list[Part]) -> None:
        from torch.nn.utils import clip_grad_norm_

        n = sum(len(part.rows) for part in parts)
        self._set_rate(n)
        loss = self.gradient(parts)
        if self.config.clip is not None:
            clip_grad_norm_(self.module.parameters(), self.config.clip)
        self.optimizer.step()
        self.total += loss.double() * n
        self.at.documents += n

    def gradient(self, parts: list[Part]) -> "torch.Tensor":
        """Take the gradient of a batch's mean loss, cut further where the device has no memory; return the loss.

        The parts' gradients add up to the batch's, unless a layer looks at the batch as a whole (batch norm).
        """
        n = sum(len(part.rows) for part in parts)
        while True:
            self.optimizer.zero_grad()
            size = self.batches.size(n)
            try:
                loss = sum(self._backward(gather, rows[lo : lo + size], truth[lo : lo + size], n)
                           for gather, rows, truth in parts for lo in range(0, len(rows), size))  # fmt: skip
            except out_of_memory():
                self.batches.halve(size)
            else:
                return loss  # type: ignore[return-value]

    def _backward(self, gather: Gather, rows: NDArray[np.int64], truth: NDArray[np.float32], n: int) -> "torch.Tensor":
        import torch

        batch = {name: to_device(array, self.device) for name, array in gather(rows).items()}
        mixed = self.config.precision == "bfloat16"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=mixed):
            result = self.module(batch)
        loss = self.objective(result, to_device(truth, self.device)) * (len(rows) / n)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _set_rate(self, n: int) -> None:
        documents, at = self.task.documents, self.at
        whole, seen = documents * self.config.epochs, documents * at.epoch + at.documents
        share = at.scale * factor(
            self.config.schedule,
            self.schedule,
            done=seen / whole,
            after=(seen + n) / whole,
            epochs=seen / documents,
            warmup=self.config.warmup,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.lr * group["lr_share"] * share

    def _check(self) -> None:
        total = float(self.total)
        if not np.isfinite(total):
            where = f"epoch {self.at.epoch + 1} after {self.at.documents} documents"
            raise TrainingError(
                f"loss: expected a finite number, got {total!r} in {where}; lower lr={self.config.lr!r}"
            )

    def _end_epoch(self, evaluate: Evaluate | None) -> None:
        self._check()
        at = self.at
        at.losses.append(float(self.total) / max(1, at.documents))
        _log.debug("epoch %d: loss %.4f", at.epoch, at.losses[-1])
        if evaluate is not None and self.config.select is not None:
            self.module.eval()
            value = self._selected(evaluate(self.module), self.config.select)
            sign = -1 if METRICS[self.config.select].lower_is_better else 1
            better = at.best < 0 or sign * value > sign * at.metrics[at.best]
            at.metrics.append(value)
            if better:
                at.best = at.epoch
                self.best = {name: tensor.detach().clone() for name, tensor in self.module.state_dict().items()}
            at.waited = 0 if better else at.waited + 1
            if self.config.schedule == "plateau":
                at.scale, at.plateau = Plateau(**self.schedule).after(better, at.scale, at.plateau)
        at.epoch, at.group, at.documents = at.epoch + 1, 0, 0
        self.total.zero_()

    @staticmethod
    def _selected(metrics: dict[str, float], name: str) -> float:
        if name not in metrics:
            cure = "these documents have no such score; choose another one"
            raise ValueError(f"select: expected one of {sorted(metrics)}, got {name!r}; {cure}")
        return metrics[name]

    def _has_waited(self) -> bool:
        return self.config.patience is not None and self.at.waited >= self.config.patience

    def _maskable(self) -> tuple[str, ...]:
        """Return the inputs that documents may lose."""
        dropout, names = self.config.modality_dropout, tuple(sorted(self.family.sizes))
        if dropout and len(names) < 2:
            expected = f"modality_dropout: expected 0 for {self.family.kind}, which reads {len(names)} input"
            raise ValueError(f"{expected}, got {dropout!r}; leave it out, or choose a model that reads several")
        return names if dropout else ()

    def _start_bias(self) -> None:
        import torch

        if self.config.bias == "zero":
            return
        if not self.family.bias:
            raise ValueError(f"bias: expected 'zero' for {self.family.kind}, got {self.config.bias!r}; leave it out")
        with torch.no_grad():
            self.module.get_parameter(self.family.bias).copy_(torch.from_numpy(self.task.start()))


@dataclass
class StateStore:
    """Where the state of a loop is kept, and how often."""

    folder: Path
    head: dict[str, Any]  # what the training is: the state of another one is of no use
    seconds: float  # of training between two times

    def __post_init__(self) -> None:
        self.last = time.monotonic()

    def save_if_due(self, loop: Loop) -> None:
        """Write the state unless that was done lately."""
        if time.monotonic() - self.last >= self.seconds:
            self.save(loop)
            self.last = time.monotonic()

    def save(self, loop: Loop) -> None:
        """Write the state, between two steps."""
        import torch

        tensors = {"random": torch.get_rng_state()}
        if loop.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(loop.device)
        if loop.order is not None:
            tensors["order"] = torch.from_numpy(loop.order)
        for prefix, named in (
            ("module", loop.module.state_dict()), ("best", loop.best), ("optimizer", optimizer_tensors(loop.optimizer)),
        ):  # fmt: skip
            tensors |= {f"{prefix}.{name}": tensor for name, tensor in named.items()}
        loop.at.total = float(loop.total)
        save_state(self.folder, self.head, TrainingState(asdict(loop.at), tensors))

    def resume(self, loop: Loop) -> None:
        """Put a loop where the saved one was; nothing happens without a saved one."""
        import torch

        saved = load_state(self.folder, self.head)
        if saved is None:
            return
        loop.at = Position(**saved.values)
        loop.total.fill_(loop.at.total)
        loop.module.load_state_dict(saved.under("module"))
        loop.best = {name: tensor.to(loop.device) for name, tensor in saved.under("best").items()}
        restore_optimizer(loop.optimizer, saved.under("optimizer"))
        loop.order = saved.tensors["order"].numpy() if "order" in saved.tensors else None
        if "random.cuda" in saved.tensors:
            torch.cuda.set_rng_state(saved.tensors["random.cuda"], loop.device)
        torch.set_rng_state(saved.tensors["random"])
