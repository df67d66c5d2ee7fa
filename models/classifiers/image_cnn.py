"""A convolutional network over pixels: VGG from scratch, or trained further (Zahavy 2016; Z-08, Z-09)."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from fuseline.models.columns import Pixels, Size
from fuseline.models.config import FrozenConfig
from fuseline.models.features import Features, Input, embedding_name
from fuseline.models.image_networks import SCALES, ImageNetworkConfig, Scale, check_precision, picture_scale, side_of
from fuseline.models.labels import Classes
from fuseline.models.network import STAND_INS, NetworkConfig
from fuseline.models.panel import PanelClassifier, branch_name
from fuseline.plain import JsonObject

if TYPE_CHECKING:
    import torch


class PictureConfig(ImageNetworkConfig, NetworkConfig):
    """Settings of a network that looks at pictures, and of its training."""


class PictureClassifier(PanelClassifier):
    """A network with one branch that looks at pictures.

    A family names the column of these in `_pictures`, and gives `_network`.
    """

    config: PictureConfig
    scale: Scale = SCALES["unit"]

    def _pictures(self) -> str | None:
        """Return the name of the column of pictures; None without one."""
        raise NotImplementedError

    def _network(self, sizes: dict[str, Size], C: int, file: Path | None) -> "torch.nn.Module":
        """Return the network, whose tower starts from a file, or from random numbers without it."""
        raise NotImplementedError

    def module(self, sizes: dict[str, Size], C: int) -> "torch.nn.Module":
        return self._network(sizes, C, self.config.weight_file())

    def blank(self, sizes: dict[str, Size], C: int) -> "torch.nn.Module":
        """Return a network without memory for its weights, and without the file that they started from."""
        import torch

        with torch.device("meta"):
            return self._network(sizes, C, None)

    def describe(self) -> JsonObject:
        every = list(self.network.parameters())
        total = sum(one.numel() for one in every)
        trained = sum(one.numel() for one in every if one.requires_grad)
        return {"parameters": total, "trained_parameters": trained, "bytes": 4 * total, **self.facts}

    def _fit(
        self, train: Features, valid: Features | None, classes: Classes, *, seed: int, scratch: Path | None
    ) -> None:
        check_precision(self.config)
        name = self._pictures()
        if name is not None:
            self.scale = picture_scale(self.config.scaling, train, name)
        super()._fit(train, valid, classes, seed=seed, scratch=scratch)
        if self.config.stands_in_for:
            self.facts = {**self.facts, STAND_INS: list(self.config.stands_in_for)}


class ImageCNNConfig(PictureConfig):
    """Settings of the network and of its training; the defaults are those that VGG was published with.

    Paper Z says nothing of optimiser, learning rate, batch size and epochs.
    """

    pixels: str = Field("pixels", description="Name of the stage `pixels` in `stages` whose pictures are read")
    optimizer: str = Field("sgd", description="One of torch.optim")
    optimizer_options: dict[str, object] = Field(
        {"momentum": 0.9, "weight_decay": 5e-4}, description="Options of the optimiser"
    )
    lr: float = Field(0.01, gt=0, description="Learning rate")
    batch: int = Field(64, ge=1, description="Documents per step")


class ImageCNN(PictureClassifier):
    """A network of torchvision or timm whose last layer has the classes.

    A document without picture gets the bias of that layer as logits.
    """

    kind: ClassVar[str] = "image_cnn"
    summary: ClassVar[str] = "convolutional network over pixels: VGG16 and others, from scratch or trained further"
    Config: ClassVar[type[FrozenConfig]] = ImageCNNConfig
    config: ImageCNNConfig

    @classmethod
    def inputs(cls, config: ImageCNNConfig) -> tuple[Input, ...]:
        return (Input(embedding_name(config.pixels), Pixels),)

    def _pictures(self) -> str:
        return embedding_name(self.config.pixels)

    def _network(self, sizes: dict[str, Size], C: int, file: Path | None) -> "torch.nn.Module":
        import torch

        from fuseline.models.image_layers import image_tower
        from fuseline.models.layers import Concat, Panel

        (one,), config = self.inputs(self.config), self.config
        side = side_of(sizes[one.name].width, config.architecture)
        tower, last = image_tower(config, C, self.scale, side=side, file=file)
        with torch.random.fork_rng(devices=[]):  # what follows is drawn as in training the network alone
            panel = Panel({branch_name(one): tower}, Concat([tower.width], 0, 0, dropout=0.0), C, dropout=0.0)
        panel.last = last
        return panel
