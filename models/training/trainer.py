"""The only torch loop's entrance: one training, alone in its process, from a seed to a network.

On a processor it gives equal bits for a seed, undisturbed or resumed after a kill, whatever the shards are cut into.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fuseline.models.config import key_values
from fuseline.models.device import torch_device
from fuseline.models.features import Features
from fuseline.models.training.config import TrainingConfig
from fuseline.models.training.loop import Evaluate, Family, Loop, StateStore
from fuseline.models.training.tasks import Task

if TYPE_CHECKING:
    import torch

# Torch's random stream and its number of threads belong to the process.
_alone = threading.Lock()


class Trained(NamedTuple):
    """What a training gives."""

    module: "torch.nn.Module"  # on the processor, ready to predict
    facts: dict[str, Any]  # epochs, loss_per_epoch, documents; with `select` the metric of every epoch and the best


@dataclass(frozen=True)
class Trainer:
    """Trains the networks of a family according to its configuration.

    Args:
        config: settings of the loop.
        seed: of the first weights, the order of documents and what the network draws.
        scratch: folder for the state of a training that is cut short; the next one with the same data goes on there.
    """

    config: TrainingConfig
    seed: int
    scratch: Path | None = None

    def fit(self, family: Family, train: Features, task: Task, *, evaluate: Evaluate | None = None) -> Trained:
        """Train a network on documents of `train`.

        Args:
            family: gives the network and the arrays of a batch.
            train: features of the training documents.
            task: what it learns of them.
            evaluate: returns metrics on valid of a network, by name; needed to `select` by one.

        Raises:
            TrainingError: the loss is not finite.
            ValueError: there is nothing to select by, or an option does not fit this family or task.
            DeviceError: there is no such device.
        """
        config = self.config
        if config.select is not None and evaluate is None:
            raise ValueError(f"valid: expected documents to select by {config.select!r}, got none; set `split.valid`")
        device = torch_device(config.device)
        with reproducible(self.seed, config.threads, device):
            loop = Loop(config, family, task, device)
            loop.run(train, evaluate, self._store(family.kind, device))
        at = loop.at
        facts: dict[str, Any] = {
            "epochs": len(at.losses), "loss_per_epoch": at.losses, "documents": task.documents
        }  # fmt: skip
        if config.select is not None:
            facts |= {"best_epoch": at.best + 1, f"valid_{config.select}": at.metrics}
        return Trained(loop.module.cpu().eval(), facts)

    def _store(self, kind: str, device: "torch.device") -> StateStore | None:
        import torch

        if self.scratch is None:
            return None
        config = key_values(self.config)
        head = {"kind": kind, "config": config, "seed": self.seed, "torch": torch.__version__, "device": device.type}
        return StateStore(self.scratch, head, self.config.save_seconds)


@contextmanager
def reproducible(seed: int, threads: int, device: "torch.device") -> Iterator[None]:
    """Give the block torch's random stream, seeded, and its threads; both are as before afterwards."""
    import torch

    with _alone, torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        before = torch.get_num_threads()
        torch.set_num_threads(threads)  # sums over another number of threads would differ in their last bits
        try:
            yield
        finally:
            torch.set_num_threads(before)
