"""Classifiers over vectors that are frozen: concatenated, through a highway, or crossed (Zahavy 2016; Z-22, Z-23)."""

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from fuseline.models.attribution import times_gradient
from fuseline.models.automatic import automatic
from fuseline.models.classifier import shares
from fuseline.models.columns import Column, Dense, Size
from fuseline.models.config import FrozenConfig, Names
from fuseline.models.features import Block, Input, vectors_name
from fuseline.models.network import NetworkConfig
from fuseline.models.panel import PanelClassifier, Take, branch_name, check_branches
from fuseline.models.stopping import MOST_EPOCHS

if TYPE_CHECKING:
    import torch

F32 = NDArray[np.float32]


class FusionConfig(NetworkConfig):
    """Settings of what reads several vectors."""

    vectors: Names = Field(
        ("image", "text"), min_length=2, description="Embeddings in `embed`, or hidden/MODEL: what a network has learnt"
    )
    dim: int = Field(256, ge=1, le=65536, description="Hidden units")
    dropout: float = Field(0.5, ge=0, lt=1, description="Share of what a layer reads that is set to 0 while training")
    lr: float = automatic(0.001, choices=(0.0003, 0.001, 0.003, 0.01), gt=0, description="Learning rate")
    epochs: int = automatic(20, choices=range(1, MOST_EPOCHS + 1), ge=1, description="Passes over the training rows")
    first_length: float = automatic(
        1.0, choices=(0.1, 0.3, 1.0), gt=0,
        description="Length of the first of the vectors, the image's; the others have 1: a weak one disturbs less",
    )  # fmt: skip

    @field_validator("vectors")
    @classmethod
    def _other_branches(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        check_branches(names)
        return names


class Fusion(PanelClassifier):
    """A body over vectors of given lengths, and a linear map to the classes; a missing vector is zeros.

    What an input gives to a logit is its gradient times the input, gates held as they are: of a network of rectified
    units these terms and one that no input changes add up to the logit.

    hidden/MODEL tells the classes of the training documents better than those of new ones, since its network was fitted
    on them: a head trusts it too much. Embeddings, which saw no label, have no such fault.
    """

    Config: ClassVar[type[FrozenConfig]] = FusionConfig
    config: FusionConfig

    @classmethod
    def inputs(cls, config: FusionConfig) -> tuple[Input, ...]:
        return tuple(Input(vectors_name(name), Dense) for name in config.vectors)

    def body(self, widths: list[int]) -> "torch.nn.Module":
        """Return the module over vectors of these widths."""
        raise NotImplementedError

    def _take_of(self, one: Input, column: Column) -> Take:
        take, length = super()._take_of(one, column), np.float32(self.config.first_length)
        first = one.name == vectors_name(self.config.vectors[0]) and length != 1
        return (lambda rows: take(rows) * length) if first else take

    def module(self, sizes: dict[str, Size], C: int) -> "torch.nn.Module":
        from fuseline.models.layers import Panel, Same

        branches: dict[str, torch.nn.Module] = {
            branch_name(one): Same(sizes[one.name].width) for one in self.inputs(self.config)
        }
        widths = [sizes[one.name].width for one in sorted(self.inputs(self.config), key=branch_name)]
        return Panel(branches, self.body(widths), C, dropout=self.config.dropout)

    def importance(self, block: Block, chosen: NDArray[np.int64]) -> dict[str, F32]:
        """Return input -> (n,) share of its term in the chosen class's logit."""
        terms = times_gradient(self, block, chosen)
        return shares({branch_name(one): np.abs(terms[one.name].by_document()) for one in self.inputs(self.config)})


class ConcatConfig(FusionConfig):
    """Settings of the concatenation."""

    vectors: Names = Field(
        ("image", "text"), min_length=1, description="Embeddings in `embed`, or hidden/MODEL: what a network has learnt"
    )
    layers: int = Field(2, ge=1, le=9, description="Fully connected layers; 1 is a linear map without hidden units")


class ConcatFrozen(Fusion):
    """Vectors behind one another, then one to three fully connected layers."""

    kind: ClassVar[str] = "concat_frozen"
    summary: ClassVar[str] = "fully connected layers over concatenated vectors (Zahavy 2016, multi-step fusion)"
    Config: ClassVar[type[FrozenConfig]] = ConcatConfig
    config: ConcatConfig

    def body(self, widths: list[int]) -> "torch.nn.Module":
        from fuseline.models.layers import Concat

        return Concat(widths, self.config.dim, self.config.layers - 1, dropout=self.config.dropout)


class HighwayConfig(FusionConfig):
    """Settings of the highway."""

    layers: int = Field(1, ge=1, le=9, description="Layers with a gate")


class HighwayGate(Fusion):
    """Linear maps of all vectors, added up, through layers whose gates choose what passes unchanged."""

    kind: ClassVar[str] = "highway_gate"
    summary: ClassVar[str] = "highway layers over the sum of mapped vectors (Zahavy 2016, gating)"
    Config: ClassVar[type[FrozenConfig]] = HighwayConfig
    config: HighwayConfig

    def body(self, widths: list[int]) -> "torch.nn.Module":
        from fuseline.models.layers import Highway

        return Highway(widths, self.config.dim, self.config.layers)


class CrossConfig(FusionConfig):
    """Settings of the products."""

    dim: int = Field(32, ge=1, le=1024, description="Numbers that each vector is mapped to; a product has their square")


class CrossProducts(Fusion):
    """Linear maps of all vectors and the outer product of every two."""

    kind: ClassVar[str] = "cross_product"
    summary: ClassVar[str] = "outer products of every two mapped vectors beside the maps (Zahavy 2016)"
    Config: ClassVar[type[FrozenConfig]] = CrossConfig
    config: CrossConfig

    def body(self, widths: list[int]) -> "torch.nn.Module":
        from fuseline.models.layers import CrossProduct

        return CrossProduct(widths, self.config.dim)


CLASSIFIERS = (ConcatFrozen, HighwayGate, CrossProducts)
