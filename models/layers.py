"""Torch layers of the families; imported when a network is built, since torch takes long to import."""

from itertools import pairwise

import torch
from torch import Tensor, nn


class GatedUnit(nn.Module):
    """W h + b with h = z h_v + (1 - z) h_t, h_v = tanh(W_v x_v), h_t = tanh(W_t x_t), z = sigmoid(W_z [x_v; x_t]).

    Weights are drawn uniformly within Glorot's bound, b is zero.
    """

    def __init__(self, image: int, text: int, hidden: int, classes: int, *, dropout: float = 0.0) -> None:
        """Make a unit.

        Args:
            image: numbers of x_v.
            text: numbers of x_t.
            hidden: numbers of h.
            classes: rows of W.
            dropout: share of h that is set to 0 while training.
        """
        super().__init__()
        self.dropout = dropout
        self.Wv = glorot(hidden, image)
        self.Wt = glorot(hidden, text)
        self.Wz = glorot(hidden, image + text)
        self.W = glorot(classes, hidden)
        self.b = nn.Parameter(torch.zeros(classes))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return logits (n, C) of `image` (n, Dv), `text` (n, Dt) and `bounds` (n, 2, 1): least and largest z."""
        xv, xt, bounds = batch["image"], batch["text"], batch["bounds"]
        z = torch.sigmoid(torch.cat([xv, xt], dim=1) @ self.Wz.T)
        z = torch.minimum(torch.maximum(z, bounds[:, 0]), bounds[:, 1])
        h = z * torch.tanh(xv @ self.Wv.T) + (1 - z) * torch.tanh(xt @ self.Wt.T)
        if self.training and self.dropout:
            kept = torch.rand(h.shape, device=h.device) >= self.dropout
            h = h * kept / (1 - self.dropout)
        return h @ self.W.T + self.b


def glorot(rows: int, columns: int) -> nn.Parameter:
    """Return weights (rows, columns) drawn uniformly within Glorot's bound."""
    return nn.Parameter((torch.rand(rows, columns) * 2 - 1) * (6 / (rows + columns)) ** 0.5)


class WordFilters(nn.Module):
    """Features of a text: the largest answer of every filter over runs of words, rectified (Kim 2014; Z-06).

    A text that is shorter than a filter is seen by it once, with zeros behind its end. Unknown words are zeros that
    keep their place. A text without words has zeros as features. What stands in other texts of a batch changes nothing.
    """

    def __init__(self, vocabulary: int, dim: int, widths: tuple[int, ...], maps: int) -> None:
        """Make filters.

        Args:
            vocabulary: known words; row 0 of their vectors is that of unknown ones.
            dim: numbers of a word's vector.
            widths: words that filters see at a time.
            maps: filters of each width.
        """
        super().__init__()
        self.words = nn.Embedding(vocabulary + 1, dim, padding_idx=0)
        nn.init.uniform_(self.words.weight[1:], -0.25, 0.25)
        self.filters = nn.ModuleList(nn.Conv1d(dim, maps, width) for width in widths)
        self.widths = widths
        self.width = maps * len(widths)

    def forward(self, ids: Tensor) -> Tensor:
        """Return features (n, width) of token ids (n, L), -1 behind the end of a text."""
        lengths = (ids >= 0).sum(dim=1, keepdim=True)
        ids = nn.functional.pad(ids.clamp(min=0), (0, max(0, max(self.widths) - ids.shape[1])))
        X = self.words(ids).transpose(1, 2)
        largest = [
            self._largest(one, X, lengths - width + 1) for one, width in zip(self.filters, self.widths, strict=True)
        ]
        return torch.cat(largest, dim=1) * (lengths > 0)

    def _largest(self, filters: nn.Module, X: Tensor, runs: Tensor) -> Tensor:
        answers: Tensor = filters(X)
        beyond = torch.arange(answers.shape[2], device=X.device) >= runs.clamp(min=1)
        return answers.masked_fill(beyond[:, None], -torch.inf).amax(dim=2).relu()


class Panel(nn.Module):
    """One branch per input, a body over what they make, and a linear map to the classes."""

    def __init__(self, branches: dict[str, nn.Module], body: nn.Module, classes: int, *, dropout: float) -> None:
        """Make a network.

        Args:
            branches: input -> module of its batch array, with the number of its features in `width`.
            body: module of the list of these features, in sorted order of the inputs, with its own `width`.
            classes: numbers of the result.
            dropout: share of what the last layer reads that is set to 0 while training.
        """
        super().__init__()
        self.branches = nn.ModuleDict(dict(sorted(branches.items())))
        self.body, self.dropout = body, nn.Dropout(dropout)
        self.width = int(body.width)  # type: ignore[arg-type]
        self.last = nn.Linear(self.width, classes)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return logits (n, C)."""
        logits: Tensor = self.last(self.dropout(self.hidden(batch)))
        return logits

    def hidden(self, batch: dict[str, Tensor]) -> Tensor:
        """Return what the last layer reads (n, width)."""
        features: Tensor = self.body([branch(batch[name]) for name, branch in self.branches.items()])
        return features


class Same(nn.Module):
    """Features that are the input itself."""

    def __init__(self, width: int) -> None:
        """Take vectors of `width` numbers."""
        super().__init__()
        self.width = width

    def forward(self, X: Tensor) -> Tensor:
        """Return X (n, width)."""
        return X


class VectorUnits(nn.Module):
    """A layer of rectified units over a vector; one of zeros, which is missing, has zeros as features."""

    def __init__(self, numbers: int, units: int) -> None:
        """Make `units` units over vectors of `numbers` numbers."""
        super().__init__()
        self.layer = nn.Linear(numbers, units)
        self.width = units

    def forward(self, X: Tensor) -> Tensor:
        """Return features (n, units) of X (n, numbers)."""
        return torch.relu(self.layer(X)) * X.any(dim=1, keepdim=True)


class Concat(nn.Module):
    """Features behind one another, then layers of rectified units."""

    def __init__(self, widths: list[int], hidden: int, layers: int, *, dropout: float) -> None:
        """Make `layers` layers of `hidden` units over branches of these widths; `dropout` stands before each."""
        super().__init__()
        sizes = [sum(widths), *[hidden] * layers]
        self.layers = nn.Sequential(*(
            nn.Sequential(nn.Dropout(dropout), nn.Linear(before, after), nn.ReLU())
            for before, after in pairwise(sizes)
        ))  # fmt: skip
        self.width = sizes[-1]

    def forward(self, parts: list[Tensor]) -> Tensor:
        """Return features (n, width)."""
        features: Tensor = self.layers(torch.cat(parts, dim=1))
        return features


class Sum(nn.Module):
    """The sum of a linear map of each branch; a branch of zeros is left out of it."""

    def __init__(self, widths: list[int], hidden: int) -> None:
        """Map branches of these widths to `hidden` numbers."""
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(width, hidden, bias=False) for width in widths)

    def forward(self, parts: list[Tensor]) -> Tensor:
        """Return the sum (n, hidden)."""
        return torch.stack(self.each(parts)).sum(dim=0)

    def each(self, parts: list[Tensor]) -> list[Tensor]:
        """Return what each branch gives (n, hidden)."""
        return [one(part) for one, part in zip(self.maps, parts, strict=True)]


class Highway(nn.Module):
    """Layers y = t * relu(W x + b) + (1 - t) * x with gates t = sigmoid(V x + c) (Srivastava 2015), over a sum.

    The gates start half closed (c = -1), so that most of x passes. While predicting no gradient goes through them: that
    of a logit then says what each input gives to it.
    """

    def __init__(self, widths: list[int], hidden: int, layers: int) -> None:
        """Make `layers` layers of `hidden` units over the sum of branches of these widths."""
        super().__init__()
        self.sum = Sum(widths, hidden)
        self.layers = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(layers))
        self.gates = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(layers))
        for gate in self.gates:
            nn.init.constant_(gate.bias, -1.0)  # type: ignore[arg-type]
        self.width = hidden

    def forward(self, parts: list[Tensor]) -> Tensor:
        """Return features (n, width)."""
        x: Tensor = self.sum(parts)
        for layer, gate in zip(self.layers, self.gates, strict=True):
            t = torch.sigmoid(gate(x))
            t = t if self.training else t.detach()
            x = t * torch.relu(layer(x)) + (1 - t) * x
        return x


class CrossProduct(nn.Module):
    """The maps of all branches, and the outer product of every two; those of a branch of zeros are zeros."""

    def __init__(self, widths: list[int], hidden: int) -> None:
        """Map branches of these widths to `hidden` numbers each."""
        super().__init__()
        self.sum, m = Sum(widths, hidden), len(widths)
        self.width = m * hidden + m * (m - 1) // 2 * hidden**2

    def forward(self, parts: list[Tensor]) -> Tensor:
        """Return features (n, width)."""
        each = self.sum.each(parts)
        pairs = [(a[:, :, None] * b[:, None]).flatten(start_dim=1) for i, a in enumerate(each) for b in each[i + 1 :]]
        return torch.cat([*each, *pairs], dim=1)


class Tuning(nn.Module):
    """Layers of rectified units over a vector that is frozen (M-07); zeros for a vector of zeros, which is missing."""

    def __init__(self, width: int, units: int, layers: int) -> None:
        """Make `layers` layers of `units` over vectors of `width` numbers."""
        super().__init__()
        sizes = [width, *[units] * layers]
        self.layers = nn.Sequential(*(nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in pairwise(sizes)))
        self.width = sizes[-1]

    def forward(self, X: Tensor) -> Tensor:
        """Return features (n, width) of X (n, D)."""
        features: Tensor = self.layers(X) * (X != 0).any(dim=1, keepdim=True)
        return features
