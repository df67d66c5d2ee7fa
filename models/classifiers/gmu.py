"""The gated multimodal unit of Arevalo 2017 (K-22) over an image and a text embedding."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from fuseline.models.blocks import grouped
from fuseline.models.checkpoint import Checkpoint
from fuseline.models.classifier import Classes, Reference, ReferenceConfig, embedding, labelled, product
from fuseline.models.columns import Dense
from fuseline.models.config import FrozenConfig
from fuseline.models.dense import unit_rows
from fuseline.models.errors import TrainingError
from fuseline.models.features import Block, Features, Input, embedding_name
from fuseline.models.progress import note_doing

F32 = NDArray[np.float32]
WEIGHTS = ("Wt", "Wv", "Wz", "W", "b")
_log = logging.getLogger(__name__)


class GMUConfig(ReferenceConfig):
    """Settings of the unit and of its training by Adam."""

    image: str = Field("image", description="Name of the image embedding in `embed`")
    text_embedding: str = Field("text", description="Name of the text embedding in `embed`")
    dim: int = Field(128, ge=1, le=65536, description="Hidden units (H in the paper)")
    lr: float = Field(0.005, gt=0, description="Learning rate of Adam")
    epochs: int = Field(20, ge=1, description="Passes over the training rows")
    batch: int = Field(128, ge=1, description="Documents per step")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of hidden units set to 0 while training")


class Inside(NamedTuple):
    """What the unit makes of n documents; h is the sum."""

    image: F32  # (n, H) z * h_v
    text: F32  # (n, H) (1 - z) * h_t


class GMU(Reference):
    """W h + b with h = z h_v + (1 - z) h_t, h_v = tanh(W_v x_v), h_t = tanh(W_t x_t), z = sigmoid(W_z [x_v; x_t]).

    Embeddings have unit length. Where one modality is missing the gate is open for the other; h is 0 without both.
    """

    kind: ClassVar[str] = "gmu"
    summary: ClassVar[str] = "gated multimodal unit over an image and a text embedding"
    Config: ClassVar[type[FrozenConfig]] = GMUConfig
    config: GMUConfig
    weights: dict[str, F32]  # Wv (H, Dv), Wt (H, Dt), Wz (H, Dv + Dt), W (C, H), b (C,)

    def predict_logits(self, block: Block) -> F32:
        inside = self._inside(block)
        return product(inside.image + inside.text, self.weights["W"]) + self.weights["b"]

    def importance(self, block: Block, chosen: NDArray[np.int64]) -> dict[str, F32]:
        """Return modality -> (n,) share |w.(z h_v)| or |w.((1 - z) h_t)| of the chosen class's logit, b aside."""
        inside, rows = self._inside(block), self.weights["W"][chosen]
        terms = {name: np.abs(np.einsum("nh,nh->n", rows, h)) for name, h in inside._asdict().items()}
        total = terms["image"] + terms["text"]
        total[total == 0] = 1
        return {name: np.asarray(term / total, np.float32) for name, term in terms.items()}

    def describe(self) -> dict[str, Any]:
        parameters = sum(array.size for array in self.weights.values())
        return {
            "parameters": parameters,
            "bytes": 4 * parameters,
            "bytes_per_document": 4 * self.weights["Wz"].shape[1],
            "multiply_adds_per_document": parameters - len(self.labels),
            **self.facts,
        }

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return dict(self.weights)

    def _restore(self, saved: Checkpoint, folder: Path) -> None:
        Dv, Dt = self._widths()
        C, H = len(self.labels), self.config.dim
        shapes = {"Wt": (H, Dt), "Wv": (H, Dv), "Wz": (H, Dv + Dt), "W": (C, H), "b": (C,)}
        self.weights = {name: saved.array(name, np.float32, *shapes[name]) for name in WEIGHTS}

    @classmethod
    def inputs(cls, config: GMUConfig) -> tuple[Input, ...]:
        names = dict.fromkeys((config.image, config.text_embedding))
        return tuple(Input(embedding_name(name), Dense) for name in names)

    def _widths(self) -> tuple[int, int]:
        image, text = (embedding_name(name) for name in (self.config.image, self.config.text_embedding))
        return self.sizes[image].width, self.sizes[text].width

    def _fit(self, train: Features, valid: Features | None, classes: Classes, *, seed: int) -> None:
        import torch

        first = next(train.blocks())
        self.sizes = {one.name: first.column(*one).size for one in self.inputs(self.config)}
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # sums over more threads would differ in their last bits
        try:
            losses, documents = self._train(train, classes, torch.Generator().manual_seed(seed))
        finally:
            torch.set_num_threads(threads)
        self.facts = {"epochs": self.config.epochs, "loss_per_epoch": losses, "documents": documents}

    def _train(self, train: Features, classes: Classes, generator: Any) -> tuple[list[float], int]:
        """Return the mean loss of every epoch, and how many documents were seen in each."""
        import torch

        weights = self._initial(len(classes.names), generator)
        optimizer = torch.optim.Adam(list(weights.values()), lr=self.config.lr)
        losses: list[float] = []
        documents = 0
        for epoch in range(self.config.epochs):
            note_doing(f"epoch {epoch + 1} of {self.config.epochs}")
            total, documents = 0.0, 0
            for xv, xt, z_bounds, truth in self._batches(train, classes, generator):
                loss = self._loss(weights, hidden(weights, xv, xt, z_bounds), truth, generator)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total, documents = total + float(loss.detach()) * len(xv), documents + len(xv)
            losses.append(total / max(1, documents))
            if not np.isfinite(losses[-1]):
                raise TrainingError(f"loss: expected a number, got {losses[-1]!r} in epoch {epoch}; lower lr")
            _log.debug("epoch %d: loss %.4f", epoch, losses[-1])
        self.weights = {name: weight.detach().numpy().copy() for name, weight in weights.items()}
        return losses, documents

    def _initial(self, C: int, generator: Any) -> dict[str, Any]:
        """Return weights drawn uniformly within Glorot's bound, b zero."""
        import torch

        Dv, Dt = self._widths()
        H = self.config.dim
        shapes = {"Wv": (H, Dv), "Wt": (H, Dt), "Wz": (H, Dv + Dt), "W": (C, H)}
        weights = {
            name: (torch.rand(shape, generator=generator) * 2 - 1) * (6 / sum(shape)) ** 0.5
            for name, shape in shapes.items()
        }
        return {name: weight.requires_grad_() for name, weight in {**weights, "b": torch.zeros(C)}.items()}

    def _batches(self, train: Features, classes: Classes, generator: Any) -> Iterator[tuple[Any, Any, Any, Any]]:
        """Yield tensors x_v (n, Dv), x_t (n, Dt), bounds of z, truth (n, C), shuffled within groups of blocks."""
        import torch

        for block in grouped(labelled(train)):
            xv, xt, seen = self._inputs_of(block)
            order = torch.randperm(len(block), generator=generator).numpy()
            for lo in range(0, len(order), self.config.batch):
                rows = order[lo : lo + self.config.batch]
                # Of a batch alone: the (n, C) of a block may be huge.
                y = torch.from_numpy(classes.truth(block.labels.take(pa.array(rows))).astype(np.float32))
                bounds = torch.from_numpy(seen[rows])[:, :, None]
                yield torch.from_numpy(xv[rows]), torch.from_numpy(xt[rows]), bounds, y

    def _loss(self, weights: dict[str, Any], h: Any, truth: Any, generator: Any) -> Any:
        """Return the mean loss: cross entropy, several labels sharing a document evenly, or the sum over sigmoids."""
        import torch
        from torch.nn import functional

        if self.config.dropout:
            kept = torch.rand(h.shape, generator=generator) >= self.config.dropout
            h = h * kept / (1 - self.config.dropout)
        logits = h @ weights["W"].T + weights["b"]
        if self.multi_label:
            return functional.binary_cross_entropy_with_logits(logits, truth, reduction="sum") / len(truth)
        return functional.cross_entropy(logits, truth / truth.sum(dim=1, keepdim=True))

    def _inputs_of(self, block: Block) -> tuple[F32, F32, F32]:
        """Return x_v (n, Dv), x_t (n, Dt) of unit length and the bounds (n, 2) of z: at least, at most."""
        Dv, Dt = self._widths()
        xv, has_v = embedding(block, self.config.image, Dv)
        xt, has_t = embedding(block, self.config.text_embedding, Dt)
        bounds = np.stack([has_v & ~has_t, has_v | ~has_t], axis=1).astype(np.float32)
        return unit_rows(xv), unit_rows(xt), bounds

    def _inside(self, block: Block) -> Inside:
        xv, xt, bounds = self._inputs_of(block)
        gate = product(np.concatenate([xv, xt], axis=1), self.weights["Wz"])
        z = np.clip(0.5 * (1 + np.tanh(0.5 * gate)), bounds[:, :1], bounds[:, 1:])
        return Inside(z * np.tanh(product(xv, self.weights["Wv"])), (1 - z) * np.tanh(product(xt, self.weights["Wt"])))


def hidden(weights: dict[str, Any], xv: Any, xt: Any, z_bounds: Any) -> Any:
    """Return h (n, H) of torch tensors x_v (n, Dv) and x_t (n, Dt), z held within its bounds (n, 2, 1)."""
    import torch

    z = torch.sigmoid(torch.cat([xv, xt], dim=1) @ weights["Wz"].T)
    z = torch.minimum(torch.maximum(z, z_bounds[:, 0]), z_bounds[:, 1])
    return z * torch.tanh(xv @ weights["Wv"].T) + (1 - z) * torch.tanh(xt @ weights["Wt"].T)
