"""Torch layers of the families; imported when a network is built, since torch takes long to import."""

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
