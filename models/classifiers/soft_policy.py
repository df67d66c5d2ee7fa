"""The mixture of an image and a text network whose share a policy gives, trained together (Zahavy 2016; Z-27)."""

from typing import TYPE_CHECKING, ClassVar, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fuseline.models.automatic import automatic
from fuseline.models.classifier import embedding
from fuseline.models.classifiers.decision import Choice
from fuseline.models.columns import Dense, Logits, Size
from fuseline.models.config import FrozenConfig
from fuseline.models.dense import unit_rows
from fuseline.models.features import Block, Input, vectors_name
from fuseline.models.network import NetworkClassifier, NetworkConfig
from fuseline.models.training import Gather

if TYPE_CHECKING:
    import torch

    from fuseline.models.policy_layers import SoftMixture

F32 = NDArray[np.float32]


class SoftPolicyConfig(NetworkConfig):
    """Settings of the three networks and of their training."""

    image: str = Field("image", description="Vectors of the image: an embedding, or hidden/MODEL")
    text_embedding: str = Field("text", description="Vectors of the text, likewise")
    branch: int = Field(0, ge=0, le=65536, description="Hidden units of the image's and of the text's network; 0: none")
    layers: Literal[1, 2] = Field(2, description="Layers of the policy")
    hidden: int = Field(10, ge=1, le=4096, description="Hidden units of a policy of two layers")
    lr: float = automatic(0.005, choices=(0.001, 0.002, 0.005, 0.01, 0.02), gt=0, description="Learning rate")
    epochs: int = automatic(20, choices=(5, 10, 20, 40), ge=1, description="Passes over the training rows")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of hidden units set to 0 while training")


class SoftPolicy(NetworkClassifier):
    """Logits p image + (1 - p) text with p = sigmoid(policy(image, text)), all trained by the loss of the mixture.

    The paper gives no formula; here the logits are mixed. Embeddings have unit length. Where one modality is missing
    the other decides alone. As a choice it is the image's where p is above 1/2.
    """

    kind: ClassVar[str] = "soft_policy"
    summary: ClassVar[str] = "an image and a text network mixed by a policy, trained together (Zahavy 2016)"
    Config: ClassVar[type[FrozenConfig]] = SoftPolicyConfig
    config: SoftPolicyConfig

    @classmethod
    def inputs(cls, config: SoftPolicyConfig) -> tuple[Input, ...]:
        names = dict.fromkeys((config.image, config.text_embedding))
        return tuple(Input(vectors_name(name), Dense) for name in names)

    def between(self) -> tuple[str, ...]:
        """Return the names of both networks, the text's first."""
        return ("text", "image")

    def columns(self, block: Block) -> list[Logits]:
        """Return the logits of both networks."""
        _, image, text = self._inside(block)
        there = [block.columns[vectors_name(name)].present for name in (self.config.text_embedding, self.config.image)]
        return [
            Logits(values, present, tuple(self.labels), self.link)
            for values, present in zip((text, image), there, strict=True)
        ]

    def choose(self, block: Block) -> Choice:
        """Return which network counts more."""
        p = self._inside(block)[0][:, 0]
        return Choice((p > 0.5).astype(np.int64), p)

    def _inside(self, block: Block) -> tuple[F32, F32, F32]:
        """Return p (n, 1) and the logits (n, C) of image and text."""
        import torch

        batch = self.gather(block)(np.arange(len(block)))
        network = cast("SoftMixture", self.network.cpu())
        with torch.inference_mode():
            p, image, text = network.parts({name: torch.from_numpy(array) for name, array in batch.items()})
        return p.numpy(), image.numpy(), text.numpy()

    def module(self, sizes: dict[str, Size], C: int) -> "torch.nn.Module":
        from fuseline.models.policy_layers import SoftMixture

        config = self.config
        image, text = (sizes[vectors_name(name)].width for name in (config.image, config.text_embedding))
        return SoftMixture(
            image, text, C, branch=config.branch, layers=config.layers, hidden=config.hidden, dropout=config.dropout
        )

    def gather(self, block: Block) -> Gather:
        config = self.config
        widths = {name: self.sizes[vectors_name(name)].width for name in (config.image, config.text_embedding)}
        xv, has_v = embedding(block, config.image, widths[config.image])
        xt, has_t = embedding(block, config.text_embedding, widths[config.text_embedding])
        xv, xt = unit_rows(xv), unit_rows(xt)
        bounds = np.stack([has_v & ~has_t, has_v | ~has_t], axis=1).astype(np.float32)
        return lambda rows: {"image": xv[rows], "text": xt[rows], "bounds": bounds[rows]}
