"""Torch layers of autoencoders; imported when a network is built, since torch takes long to import."""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

Layout = Literal["inner", "between"]


def layers(*sizes: int) -> nn.Sequential:
    """Return linear layers of these widths, with rectified units between them."""
    parts: list[nn.Module] = []
    for before, after in pairwise(sizes):
        parts += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


class Autoencoders(nn.Module):
    """One encoder and one decoder per input; every input is decoded from the codes of all (P-05, Eq. 5 to 7).

    With one input it is a plain autoencoder (Eq. 1 to 4). The code of an input that a document lacks is zeros.
    """

    def __init__(
        self,
        widths: dict[str, int],
        *,
        hidden: int,
        inner: int,
        code: int,
        layout: Layout,
        pooled: int,
        weights: dict[str, float],
    ) -> None:
        """Make the layers.

        Args:
            widths: numbers of each input.
            hidden: units of the first and of the last hidden layer.
            inner: units of the hidden layers beside the code.
            code: k, numbers of the code of an input.
            layout: inner: the code takes the place of the encoder's inner layer; between: it stands behind that.
            pooled: side that pictures are averaged to.
            weights: of each input's error in the loss (alpha, beta, gamma).
        """
        super().__init__()
        between = [inner] if layout == "between" else []
        self.names, self.pooled, self.weights = sorted(widths), pooled, weights
        self.width = code * len(widths)
        self.encoders = nn.ModuleDict({name: layers(widths[name], hidden, *between, code) for name in self.names})
        self.decoders = nn.ModuleDict({name: layers(self.width, inner, hidden, widths[name]) for name in self.names})
        for name in self.names:
            self.register_buffer(f"center_{name}", torch.zeros(widths[name]))
            self.register_buffer(f"scale_{name}", torch.ones(widths[name]))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the weighted sum of the inputs' mean squared errors (n,)."""
        parts = self.errors(batch)
        return torch.stack([self.weights[name] * parts[name] for name in self.names]).sum(dim=0)

    def codes(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the codes of all inputs (n, width), in sorted order of their names."""
        found = []
        for name in self.names:
            x, known = self.numbers(batch, name)
            found.append(self.encoders[name](x) * known.any(dim=1, keepdim=True))
        return torch.cat(found, dim=1)

    def reconstructions(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return what is decoded of each input (n, D), scaled as `numbers` are."""
        h = self.codes(batch)
        return {name: self.decoders[name](h) for name in self.names}

    def errors(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return each input's mean squared error (n,) over the numbers that are known; 0 where none is."""
        decoded = self.reconstructions(batch)
        return {name: self._mean(*self.numbers(batch, name), decoded[name]) for name in self.names}

    def spreads(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the error that the mean of the training documents would have instead of a decoder (n,)."""
        return {name: self._mean(x, known, x * 0) for name in self.names for x, known in [self.numbers(batch, name)]}

    def numbers(self, batch: dict[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
        """Return an input (n, D), centred and scaled, zeros where it is not known, and where it is (n, D or 1)."""
        x, known = batch[name], batch[f"{name}_known"]
        if x.dtype == torch.uint8:
            x = pooled(x, self.pooled)
        x = (x - self.get_buffer(f"center_{name}")) / self.get_buffer(f"scale_{name}")
        return torch.where(known, x, torch.zeros_like(x)), known

    @staticmethod
    def _mean(x: Tensor, known: Tensor, decoded: Tensor) -> Tensor:
        known = known.expand_as(x)
        squares = torch.where(known, (decoded - x) ** 2, torch.zeros_like(x))
        return squares.sum(dim=1) / known.sum(dim=1).clamp(min=1)


def pooled(pictures: Tensor, side: int) -> Tensor:
    """Return pictures (n, h, w, channels) uint8 as their mean colours, 0..1, over side x side parts (n, D)."""
    x = pictures.permute(0, 3, 1, 2).float() / 255
    return nn.functional.adaptive_avg_pool2d(x, side).flatten(start_dim=1)
