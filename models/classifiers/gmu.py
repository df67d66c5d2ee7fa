"""The gated multimodal unit of Arevalo 2017 (K-22) over an image and a text embedding."""

from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fuseline.models.automatic import automatic
from fuseline.models.checkpoint import Checkpoint
from fuseline.models.classifier import embedding, shares
from fuseline.models.columns import Dense, Size
from fuseline.models.config import FrozenConfig
from fuseline.models.dense import unit_rows
from fuseline.models.fasttext.matmul import product
from fuseline.models.features import Block, Input, embedding_name
from fuseline.models.network import NetworkClassifier, NetworkConfig
from fuseline.models.training import Gather
from fuseline.plain import JsonObject

if TYPE_CHECKING:
    import torch

F32 = NDArray[np.float32]
WEIGHTS = ("Wt", "Wv", "Wz", "W", "b")


class GMUConfig(NetworkConfig):
    """Settings of the unit and of its training."""

    image: str = Field("image", description="Name of the image embedding in `embed`")
    text_embedding: str = Field("text", description="Name of the text embedding in `embed`")
    dim: int = Field(128, ge=1, le=65536, description="Hidden units (H in the paper)")
    lr: float = automatic(0.005, choices=(0.001, 0.002, 0.005, 0.01, 0.02), gt=0, description="Learning rate")
    epochs: int = automatic(20, choices=(5, 10, 20, 40), ge=1, description="Passes over the training rows")
    batch: int = Field(128, ge=1, description="Documents per step")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of hidden units set to 0 while training")


class Inside(NamedTuple):
    """What the unit makes of n documents; h is the sum."""

    image: F32  # (n, H) z * h_v
    text: F32  # (n, H) (1 - z) * h_t


class GMU(NetworkClassifier):
    """W h + b with h = z h_v + (1 - z) h_t, h_v = tanh(W_v x_v), h_t = tanh(W_t x_t), z = sigmoid(W_z [x_v; x_t]).

    Embeddings have unit length. Where one modality is missing the gate is open for the other; h is 0 without both.
    """

    kind: ClassVar[str] = "gmu"
    summary: ClassVar[str] = "gated multimodal unit over an image and a text embedding"
    Config: ClassVar[type[FrozenConfig]] = GMUConfig
    bias: ClassVar[str] = "b"
    config: GMUConfig
    weights: dict[str, F32]  # Wv (H, Dv), Wt (H, Dt), Wz (H, Dv + Dt), W (C, H), b (C,)

    def predict_logits(self, block: Block) -> F32:
        return product(self.hidden(block), self.weights["W"]) + self.weights["b"]

    def hidden(self, block: Block) -> F32:
        """Return h (n, H)."""
        inside = self._inside(block)
        return inside.image + inside.text

    def importance(self, block: Block, chosen: NDArray[np.int64]) -> dict[str, F32]:
        """Return modality -> (n,) share |w.(z h_v)| or |w.((1 - z) h_t)| of the chosen class's logit, without b."""
        inside, rows = self._inside(block), self.weights["W"][chosen]
        return shares({name: np.abs(np.einsum("nh,nh->n", rows, h)) for name, h in inside._asdict().items()})

    def describe(self) -> JsonObject:
        parameters = sum(array.size for array in self.weights.values())
        return {
            "parameters": parameters,
            "bytes": 4 * parameters,
            "bytes_per_document": 4 * self.weights["Wz"].shape[1],
            "multiply_adds_per_document": parameters - len(self.labels),
            **self.facts,
        }

    def _arrays(self) -> dict[str, NDArray[np.generic]]:
        return dict(self.weights)

    def _restore(self, saved: Checkpoint) -> None:
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

    def module(self, sizes: dict[str, Size], C: int) -> "torch.nn.Module":
        from fuseline.models.layers import GatedUnit

        Dv, Dt = self._widths()
        return GatedUnit(Dv, Dt, self.config.dim, C, dropout=self.config.dropout)

    def gather(self, block: Block) -> Gather:
        xv, xt, bounds = self._inputs_of(block)
        return lambda rows: {"image": xv[rows], "text": xt[rows], "bounds": bounds[rows][:, :, None]}

    def _take(self, module: "torch.nn.Module") -> None:
        self.weights = {name: tensor.detach().cpu().numpy().copy() for name, tensor in module.named_parameters()}

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
