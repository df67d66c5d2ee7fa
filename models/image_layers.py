"""Torch networks that look at pictures; imported when one is built, since torch and torchvision take long to import."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fuseline.models.encoders.backbones import PRESETS, build_backbone, last_layer, read_weights
from fuseline.models.encoders.efficientnet_lite import network as lite_network
from fuseline.models.errors import WrongWeights
from fuseline.models.image_networks import LITE, ImageNetworkConfig, Scale


class ImageTower(nn.Module):
    """Features of pictures: a network without its last layer, over normalised values.

    A document without picture, which comes as black pixels alone, has zeros as features and is not shown to the
    network, so that it changes no statistics of a batch. A batch of one picture is normalised by the running
    statistics, as while predicting.
    """

    def __init__(self, trunk: nn.Module, width: int, scale: Scale, *, freeze_fraction: float) -> None:
        """Make a tower.

        Args:
            trunk: (n, 3, h, w) -> (n, width).
            width: numbers of its result.
            scale: what values 0..1 are normalised by; saved with the weights.
            freeze_fraction: share of `layers` that stay as they are, batch norms among them in evaluation mode.
        """
        super().__init__()
        self.trunk, self.width = trunk, width
        self.register_buffer("mean", torch.tensor(scale.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(scale.std).view(3, 1, 1))
        every = layers(trunk)
        self.frozen = tuple(every[: int(freeze_fraction * len(every) + 1e-9)])
        for layer in self.frozen:
            layer.requires_grad_(False)

    mean: Tensor
    std: Tensor

    def train(self, mode: bool = True) -> "ImageTower":
        """Take training or evaluation mode, frozen layers the latter in any case."""
        super().train(mode)
        for layer in self.frozen:
            layer.eval()
        return self

    def forward(self, pixels: Tensor) -> Tensor:
        """Return features (n, width) of pixels (n, h, w, 3) uint8."""
        rows = pixels.flatten(start_dim=1).any(dim=1).nonzero()[:, 0]
        if not len(rows):
            return self.mean.new_zeros(len(pixels), self.width)
        whole = len(rows) == len(pixels)
        x = (pixels if whole else pixels[rows]).permute(0, 3, 1, 2).contiguous().float() / 255
        with _settled(self.trunk, alone=self.training and len(rows) == 1):
            features: Tensor = self.trunk((x - self.mean) / self.std)
        return features if whole else features.new_zeros(len(pixels), self.width).index_copy(0, rows, features)


def layers(trunk: nn.Module) -> list[nn.Module]:
    """Return the layers of a network from the pixels on: its modules that hold parameters of their own."""
    return [module for module in trunk.modules() if next(module.parameters(recurse=False), None) is not None]


@contextmanager
def _settled(trunk: nn.Module, *, alone: bool) -> Iterator[None]:
    """Let batch norms take their running statistics for the block if a picture is alone."""
    norms = [one for one in trunk.modules() if isinstance(one, nn.BatchNorm2d) and one.training] if alone else []
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        for norm in norms:
            norm.train()


def image_tower(
    config: ImageNetworkConfig, classes: int, scale: Scale, *, side: int, file: Path | None
) -> tuple[ImageTower, nn.Linear]:
    """Return a tower, and a last layer over its features.

    Args:
        config: which network, and how much of it is trained.
        classes: results of the last layer.
        scale: what the pictures are normalised by.
        side: pixels of height and of width.
        file: what the tower starts from; random numbers without it.

    Raises:
        WrongWeights: the file is of another network.
    """
    trunk, last = split_network(config.architecture, classes, file, side=side)
    return ImageTower(trunk, last.in_features, scale, freeze_fraction=config.freeze_fraction), last


def split_network(architecture: str, classes: int, file: Path | None, *, side: int) -> tuple[nn.Module, nn.Linear]:
    """Return a network without its last layer, and that layer for `classes`, as its library draws them.

    The last layer is never read from the file; for the others see `image_tower`.
    """
    network, name, last = _whole(architecture, classes, side)
    if file is not None:
        state = {key: value for key, value in read_weights(file).items() if not key.startswith(f"{name}.")}
        missing, unexpected = network.load_state_dict(state, strict=False)
        odd = [key for key in (*missing, *unexpected) if not key.startswith(f"{name}.")]
        if odd:
            raise WrongWeights(f"{architecture}: expected its weights in {file.name}, got others ({odd[:3]})")
    network.set_submodule(name, nn.Identity())
    if getattr(network, "AuxLogits", None) is not None:  # of inception_v3, for a loss that no paper here takes
        network.aux_logits = False
        network.AuxLogits = None
    return network, last


def _whole(architecture: str, classes: int, side: int) -> tuple[Any, str, nn.Linear]:
    """Return a network of random numbers, the name of its last layer, and one for `classes` in its place."""
    if architecture in LITE:
        lite = lite_network(LITE[architecture].variant, None, side=side)
        return lite, "_fc", nn.Linear(lite._fc.in_features, classes)
    network = build_backbone(PRESETS[architecture], classes)
    name, last = last_layer(network, PRESETS[architecture])
    if not isinstance(last, nn.Linear):  # timm's is a convolution over one pixel in some networks
        last = nn.Linear(last.in_channels, classes)
    return network, name, last
