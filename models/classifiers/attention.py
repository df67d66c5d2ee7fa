"""Branches over columns, words and pictures, weighed by attention, beside learnt codes (paper P)."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from fuseline.models.classifiers.text_cnn import WordFiltersConfig
from fuseline.models.columns import Column, Dense, Pixels, Sequence, Size
from fuseline.models.config import FrozenConfig, Names
from fuseline.models.dense import usable
from fuseline.models.encoders.autoencoder import Autoencoder, AutoencoderConfig
from fuseline.models.features import Block, Features, Input, embedding_name, vectors_name
from fuseline.models.image_networks import SCALES, Scale, picture_scale
from fuseline.models.labels import Classes
from fuseline.models.panel import PanelClassifier, Take, branch_name, check_branches
from fuseline.models.training import Gather

if TYPE_CHECKING:
    import torch

    from fuseline.models.layers import Panel

F32 = NDArray[np.float32]


class AttentionConfig(WordFiltersConfig):
    """Settings of the branches, of what stands over them, and of their training; defaults are the paper's."""

    vectors: Names = Field(("columns",), description="Embeddings, those of table columns among them: two layers each")
    sequence: str | None = Field("words", description="Stage `sequence` in `stages` whose words are read; null: none")
    pixels: str | None = Field("pixels", description="Stage `pixels` in `stages` whose pictures are read; null: none")
    codes: Names = Field(
        (), description="Stages `learned`, or other vectors, that are joined behind the branches as they are"
    )
    joint: AutoencoderConfig | None = Field(
        None,
        description="An autoencoder that is trained with the network, over some of its vectors and pixels, in place of "
        "a stage `learned` before it; options of its own training are not used",
    )
    joint_weight: float = Field(1.0, gt=0, description="Weight of the autoencoder's error in the loss")
    merge: Literal["attention", "both", "concat"] = Field(
        "attention",
        description="attention: each branch times its weight; both: that, and the branches as they are; concat: these "
        "alone",
    )
    size: int = Field(128, ge=1, le=65536, description="Features of each branch (m in the paper)")
    units: int = Field(256, ge=1, le=65536, description="Units of the first layer over vectors")
    vector_dropout: float = Field(0.2, ge=0, lt=1, description="Share of units over vectors set to 0 while training")
    maps: int = Field(100, ge=1, le=65536, description="Filters of each width")
    blocks: tuple[int, ...] = Field((6, 6), min_length=1, max_length=8, description="Layers of each dense block")
    growth: int = Field(12, ge=1, le=256, description="Maps that each layer of a dense block adds")
    optimizer: str = Field("rmsprop", description="One of torch.optim")
    batch: int = Field(32, ge=1, description="Documents per step")

    @property
    def branches(self) -> tuple[str, ...]:
        """The names of what has a branch."""
        return (*self.vectors, *(one for one in (self.sequence, self.pixels) if one is not None))

    @model_validator(mode="after")
    def _has_inputs(self) -> Self:
        if not self.branches:
            raise ValueError("vectors: expected an input here, as `sequence` or as `pixels`, got none; name one")
        check_branches([*self.branches, *self.codes], "vectors: ")
        if self.joint is not None and self.bias != "zero":
            raise ValueError(f"bias: expected 'zero' beside `joint`, got {self.bias!r}; leave it out")
        readable = {*self.vectors, *((self.pixels,) if self.pixels else ())}
        if self.joint is not None and (odd := sorted(set(self.joint.inputs) - readable)):
            cure = "name some of these, or fit a stage `learned` before"
            raise ValueError(f"joint.inputs: expected some of {sorted(readable)}, got {odd}; {cure}")
        return self


class Attention(PanelClassifier):
    """Features of equal size of every branch, each times its attention weight, and codes, then a linear map.

    Columns pass two layers of rectified units, words the filters of `text_cnn`, pictures a DenseNet of two blocks. A
    branch that a document lacks is zeros and takes no weight.
    """

    kind: ClassVar[str] = "attention"
    summary: ClassVar[str] = "branches over columns, words and pixels, weighed by attention, with codes (paper P)"
    Config: ClassVar[type[FrozenConfig]] = AttentionConfig
    config: AttentionConfig
    scale: Scale = SCALES["unit"]
    encoder: Autoencoder | None = None  # that is trained with the network

    @classmethod
    def inputs(cls, config: AttentionConfig) -> tuple[Input, ...]:
        words = () if config.sequence is None else (Input(embedding_name(config.sequence), Sequence),)
        pictures = () if config.pixels is None else (Input(embedding_name(config.pixels), Pixels),)
        vectors = (Input(vectors_name(name), Dense) for name in (*config.vectors, *config.codes))
        return (*vectors, *words, *pictures)

    def importance(self, block: Block, chosen: NDArray[np.int64]) -> dict[str, F32]:
        """Return branch -> (n,) attention weight; {} where branches are not weighed."""
        if self.config.merge == "concat":
            return {}
        names = [name for name in self._branches() if name in self._attended()]

        def weights(batch: "dict[str, torch.Tensor]") -> "torch.Tensor":
            from fuseline.models.attention_layers import Attend

            panel = self._panel()
            own = [panel.branches[name](batch[name]) for name in names]
            return cast(Attend, panel.body).weights(own)

        found = self._run(block, weights, len(names))
        return {name: found[:, at] for at, name in enumerate(names)}

    def module(self, sizes: dict[str, Size], C: int) -> "torch.nn.Module":
        from fuseline.models.attention_layers import CODES, Attend, Joint
        from fuseline.models.encoders.autoencoder_layers import Autoencoders
        from fuseline.models.layers import Panel, Same

        config = self.config
        branches = {branch_name(one): self._branch(one, sizes[one.name]) for one in self._inputs()}
        encoder = self._joint(sizes)
        if encoder is not None:
            branches[CODES] = Same(encoder.width)
        names, attended = sorted(branches), self._attended()
        widths = [int(branches[name].width) for name in names]  # type: ignore[arg-type]
        panel = Panel(branches, Attend(widths, [name in attended for name in names], config.merge), C, dropout=0.0)
        if encoder is None:
            return panel
        codes = cast(Autoencoders, encoder.module(encoder.sizes, 0))
        return Joint(panel, codes, weight=config.joint_weight)

    def gather(self, block: Block) -> Gather:
        from fuseline.models.attention_layers import JOINT

        branches = super().gather(block)
        encoder = self._joint(self.sizes)
        if encoder is None:
            return branches
        encoded = encoder.gather(block)
        return lambda rows: {**branches(rows), **{f"{JOINT}{name}": array for name, array in encoded(rows).items()}}

    def _fit(
        self, train: Features, valid: Features | None, classes: Classes, *, seed: int, scratch: Path | None
    ) -> None:
        if self.config.pixels is not None:
            self.scale = picture_scale("mean_std", train, embedding_name(self.config.pixels))
        if self.config.joint is not None:
            self.encoder = Autoencoder(self.config.joint)
            self.encoder.measure(train)
        super()._fit(train, valid, classes, seed=seed, scratch=scratch)

    def _take_of(self, one: Input, column: Column) -> Take:
        """Return what takes an input of places; vectors as they are, zeros for what is missing or not finite."""
        take = super()._take_of(one, column)
        if not isinstance(column, Dense):
            return take
        X = np.where(usable(column.values, column.present, unit=False)[:, None], column.values, np.float32(0))
        return X.__getitem__

    def _joint(self, sizes: dict[str, Size]) -> Autoencoder | None:
        """Return the autoencoder that is trained with the network; a restored one has its scales in its weights."""
        if self.config.joint is not None and self.encoder is None:
            names = map(vectors_name, self.config.joint.inputs)
            self.encoder = Autoencoder(self.config.joint, {name: sizes[name] for name in names})
        return self.encoder

    def _panel(self) -> "Panel":
        from fuseline.models.attention_layers import Joint

        network = self.network
        return network.panel if isinstance(network, Joint) else cast("Panel", network)

    def _branches(self) -> list[str]:
        return sorted(branch_name(one) for one in self._inputs())

    def _attended(self) -> set[str]:
        return {branch_name(Input(vectors_name(name), Dense)) for name in self.config.branches}

    def _branch(self, one: Input, size: Size) -> "torch.nn.Module":
        from fuseline.models.attention_layers import ColumnUnits, PictureUnits, TextUnits, dense_blocks
        from fuseline.models.image_layers import ImageTower
        from fuseline.models.layers import Same, WordFilters

        config = self.config
        if one.kind is Sequence:
            words = WordFilters(size.values, config.dim, config.widths, config.maps)
            return TextUnits(words, config.size, dropout=config.dropout)
        if one.kind is Pixels:
            trunk, width = dense_blocks(config.blocks, config.growth)
            return PictureUnits(ImageTower(trunk, width, self.scale, freeze_fraction=0.0), config.size)
        if one.name in map(vectors_name, config.codes):
            return Same(size.width)
        return ColumnUnits(size.width, config.units, config.size, dropout=config.vector_dropout)
