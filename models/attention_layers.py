"""Torch layers of the attention model; imported when a network is built, since torch takes long to import."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fuseline.models.layers import Panel, WordFilters

if TYPE_CHECKING:
    from fuseline.models.encoders.autoencoder_layers import Autoencoders
    from fuseline.models.image_layers import ImageTower


class ColumnUnits(nn.Module):
    """Two layers of rectified units over a vector, dropout behind each (P-07); zeros for a vector of zeros."""

    def __init__(self, numbers: int, units: int, size: int, *, dropout: float) -> None:
        """Map vectors of `numbers` numbers to `units`, then to `size`."""
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(numbers, units), nn.ReLU(), nn.Dropout(dropout), nn.Linear(units, size), nn.ReLU(),
            nn.Dropout(dropout),
        )  # fmt: skip
        self.width = size

    def forward(self, X: Tensor) -> Tensor:
        """Return features (n, size) of X (n, D)."""
        features: Tensor = self.layers(X) * X.any(dim=1, keepdim=True)
        return features


class TextUnits(nn.Module):
    """Filters over words, dropout, a layer of rectified units (P-08); zeros for a text without words."""

    def __init__(self, words: WordFilters, size: int, *, dropout: float) -> None:
        """Map what filters make to `size` numbers."""
        super().__init__()
        self.words, self.last = words, nn.Sequential(nn.Dropout(dropout), nn.Linear(words.width, size), nn.ReLU())
        self.width = size

    def forward(self, ids: Tensor) -> Tensor:
        """Return features (n, size) of token ids (n, L)."""
        features: Tensor = self.last(self.words(ids)) * (ids >= 0).any(dim=1, keepdim=True)
        return features


class PictureUnits(nn.Module):
    """A network over pictures and a layer of rectified units (P-09); zeros for a picture that is missing."""

    def __init__(self, tower: "ImageTower", size: int) -> None:
        """Map what a network makes to `size` numbers."""
        super().__init__()
        self.tower, self.last = tower, nn.Sequential(nn.Linear(tower.width, size), nn.ReLU())
        self.width = size

    def forward(self, pixels: Tensor) -> Tensor:
        """Return features (n, size) of pixels (n, h, w, 3) uint8."""
        seen = pixels.flatten(start_dim=1).any(dim=1, keepdim=True)
        features: Tensor = self.last(self.tower(pixels)) * seen
        return features


def dense_blocks(blocks: tuple[int, ...], growth: int) -> tuple[nn.Module, int]:
    """Return torchvision's DenseNet of these blocks (P-09: two) without its last layer, and how wide its result is."""
    from torchvision.models import DenseNet  # type: ignore[import-untyped]

    network = DenseNet(growth_rate=growth, block_config=blocks, num_init_features=2 * growth)
    width = network.classifier.in_features
    network.classifier = nn.Identity()
    return network, width


class Attend(nn.Module):
    """Features of every branch times its weight, behind one another; then what is joined as it is (P-10, P-11).

    Weights are softmax(tanh(v_i . mu)) over the branches that a document has (Eq. 8 and 9).
    """

    def __init__(self, widths: list[int], attended: list[bool], merge: str) -> None:
        """Make the layer.

        Args:
            widths: of the branches; those of attended ones are equal.
            attended: which branches are weighed; the others are joined as they are.
            merge: attention, both (weighed and as they are), or concat (as they are).
        """
        super().__init__()
        self.attended, self.merge = attended, merge
        sizes = [width for width, own in zip(widths, attended, strict=True) if own]
        self.mu = nn.Parameter(torch.randn(sizes[0]) / sizes[0] ** 0.5) if merge != "concat" else None
        self.width = sum(widths) + (sum(sizes) if merge == "both" else 0)

    def forward(self, parts: list[Tensor]) -> Tensor:
        """Return features (n, width)."""
        own, others = ([p for p, a in zip(parts, self.attended, strict=True) if a is kind] for kind in (True, False))
        if self.mu is None:
            return torch.cat([*own, *others], dim=1)
        weights = self.weights(own)
        weighed = [part * weights[:, i : i + 1] for i, part in enumerate(own)]
        return torch.cat([*weighed, *(own if self.merge == "both" else ()), *others], dim=1)

    def weights(self, own: list[Tensor]) -> Tensor:
        """Return the weight of every attended branch (n, m), 0 of one that a document lacks; they add up to 1."""
        V = torch.stack(own, dim=1)
        scores = torch.tanh(V @ self.mu) if self.mu is not None else V.new_zeros(V.shape[:2])
        has = V.any(dim=2)
        weights = torch.softmax(scores.masked_fill(~has, -torch.inf), dim=1)
        return torch.where(has, weights, torch.zeros_like(weights))


class Joint(nn.Module):
    """A panel that also reads the codes of autoencoders which are trained with it (P-16)."""

    def __init__(self, panel: Panel, codes: "Autoencoders", *, weight: float) -> None:
        """Add `weight` times the error of what the autoencoders decode to the loss."""
        super().__init__()
        self.panel, self.codes, self.weight = panel, codes, weight
        self.width = panel.width

    def forward(self, batch: dict[str, Tensor]) -> "Tensor | tuple[Tensor, Tensor]":
        """Return logits (n, C); in training also what each document adds to the loss (n,)."""
        if not self.training:
            logits: Tensor = self.panel(self._with_codes(batch))
            return logits
        h, errors = self.codes.coded(self._own(batch))
        return self.panel({**batch, CODES: h}), self.weight * errors

    def hidden(self, batch: dict[str, Tensor]) -> Tensor:
        """Return what the last layer reads (n, width)."""
        return self.panel.hidden(self._with_codes(batch))

    def _own(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name.removeprefix(JOINT): array for name, array in batch.items() if name.startswith(JOINT)}

    def _with_codes(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**batch, CODES: self.codes.codes(self._own(batch))}


JOINT = "joint."  # before the names of arrays of a batch that are encoded
CODES = "joint"  # the branch of the codes
