"""Torch layers of autoencoders; imported when a network is built, since torch takes long to import."""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

Layout = Literal["inner", "between"]
Numbers = dict[str, tuple[Tensor, Tensor]]  # by input, in sorted order: numbers, and where these are known


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
        return self.coded(batch)[1]

    def coded(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the codes (n, width), and the weighted sum of errors (n,), of one pass."""
        numbers = self.numbers(batch)
        h = self.encoded(numbers)
        parts = self.errors(numbers, h)
        return h, torch.stack([self.weights[name] * parts[name] for name in self.names]).sum(dim=0)

    def codes(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the codes of all inputs (n, width), in sorted order of their names."""
        return self.encoded(self.numbers(batch))

    def encoded(self, numbers: Numbers) -> Tensor:
        """Return the codes (n, width) of numbers."""
        return torch.cat([self.encoders[name](x) * known.any(dim=1, keepdim=True)
                          for name, (x, known) in numbers.items()], dim=1)  # fmt: skip

    def errors(self, numbers: Numbers, h: Tensor) -> dict[str, Tensor]:
        """Return, of what is decoded of codes h, each input's mean squared error (n,) over the numbers that are known.

        0 where none is.
        """
        return {name: self._mean(x, known, self.decoders[name](h)) for name, (x, known) in numbers.items()}

    def spreads(self, numbers: Numbers) -> dict[str, Tensor]:
        """Return the error that the mean of the training documents would have instead of a decoder (n,)."""
        return {name: self._mean(x, known, x * 0) for name, (x, known) in numbers.items()}

    def numbers(self, batch: dict[str, Tensor]) -> Numbers:
        """Return each input (n, D), centred and scaled, zeros where it is not known, and where it is (n, D or 1)."""
        return {name: self._scaled(batch, name) for name in self.names}

    def _scaled(self, batch: dict[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
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
