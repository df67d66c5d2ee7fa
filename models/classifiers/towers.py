"""Towers over pictures and over frozen vectors of title and description, which layers tune (Miller 2020)."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, model_validator

from fuseline.models.automatic import Chosen, automatic
from fuseline.models.classifiers.image_cnn import PictureClassifier, PictureConfig
from fuseline.models.columns import Dense, Pixels, Size
from fuseline.models.config import FrozenConfig, Names
from fuseline.models.features import Features, Input, embedding_name, vectors_name
from fuseline.models.image_networks import side_of
from fuseline.models.panel import branch_name, check_branches
from fuseline.models.stopping import MOST_EPOCHS

if TYPE_CHECKING:
    import torch


class TowersConfig(PictureConfig):
    """Settings of the towers and of their training."""

    pixels: str | None = Field("pixels", description="Name of the stage `pixels` in `stages`; null: no picture is read")
    image: str | None = Field(
        None, description="Image embedding, or hidden/MODEL, read instead of pictures: what a frozen tower makes"
    )
    texts: Names = Field(("title", "description"), description="Names of the embeddings of texts, a tower for each")
    tuning: int = Field(512, ge=1, le=65536, description="Units of the layers that tune the vector of a text")
    tuning_layers: int = Field(1, ge=0, le=9, description="Layers that tune the vector of a text; 0: none")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of the panel set to 0 while training")
    lr: float = automatic(
        0.001, choices=(0.0003, 0.001, 0.003, 0.01), gt=0,
        description="Learning rate; where pictures are read auto is 0.001: a trial costs as much as the training",
    )  # fmt: skip
    epochs: int = automatic(
        20, choices=range(1, MOST_EPOCHS + 1), ge=1,
        description="Passes over the training rows; where pictures are read auto is 20",
    )  # fmt: skip

    @property
    def starts_from_file(self) -> bool:
        """Whether training starts from a weight file: that of the network over pictures."""
        return self.pixels is not None and self.pretrained

    @model_validator(mode="after")
    def _has_inputs(self) -> Self:
        if self.pixels is not None and self.image is not None:
            raise ValueError(f"image: expected None beside pixels, got {self.image!r}; set pixels to null, or this")
        if self.pixels is None and self.image is None and not self.texts:
            raise ValueError("texts: expected a name without pixels and image, got none; name an input")
        check_branches([one for one in (self.pixels, self.image, *self.texts) if one is not None], "texts: ")
        return self


class Towers(PictureClassifier):
    """Features of every tower behind one another, and a linear map to the classes.

    What is missing leaves zeros in its place; a document with nothing gets the bias of the last layer as logits.
    """

    kind: ClassVar[str] = "towers"
    summary: ClassVar[str] = "towers over pixels and frozen vectors of texts, concatenated (Miller 2020)"
    Config: ClassVar[type[FrozenConfig]] = TowersConfig
    config: TowersConfig

    @classmethod
    def inputs(cls, config: TowersConfig) -> tuple[Input, ...]:
        pictures = () if config.pixels is None else (Input(embedding_name(config.pixels), Pixels),)
        vectors = (*(() if config.image is None else (config.image,)), *config.texts)
        return (*pictures, *(Input(vectors_name(name), Dense) for name in vectors))

    def _choice(self, train: Features, valid: Features | None) -> Chosen:
        return super()._choice(train, valid) if self.config.pixels is None else Chosen({}, {})

    def _pictures(self) -> str | None:
        return None if self.config.pixels is None else embedding_name(self.config.pixels)

    def _network(self, sizes: dict[str, Size], C: int, file: Path | None) -> "torch.nn.Module":
        from fuseline.models.layers import Concat, Panel

        branches = {
            branch_name(one): self._tower(one, sizes[one.name], file)
            for one in sorted(self.inputs(self.config), key=branch_name)
        }
        widths = [int(tower.width) for tower in branches.values()]  # type: ignore[arg-type]
        return Panel(branches, Concat(widths, 0, 0, dropout=0.0), C, dropout=self.config.dropout)

    def _tower(self, one: Input, size: Size, file: Path | None) -> "torch.nn.Module":
        from fuseline.models.image_layers import image_tower
        from fuseline.models.layers import Same, Tuning

        config = self.config
        if one.kind is Pixels:
            return image_tower(config, 1, self.scale, side=side_of(size.width, config.architecture), file=file)[0]
        if config.image is not None and one.name == vectors_name(config.image):
            return Same(size.width)
        return Tuning(size.width, config.tuning, config.tuning_layers)
