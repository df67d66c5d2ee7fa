"""Torch layers of decisions between models; imported when a network is built, since torch takes long to import."""

import torch
from torch import Tensor, nn


class PolicyNet(nn.Module):
    """W x + b, or W relu(V x + a) + b: how much each model but the first is wished for (Zahavy 2016, section 3.2)."""

    def __init__(self, numbers: int, outputs: int, *, layers: int, hidden: int, dropout: float = 0.0) -> None:
        """Make a network of one or two layers over `numbers` inputs."""
        super().__init__()
        self.dropout = dropout
        self.hidden = nn.Linear(numbers, hidden) if layers > 1 else None
        self.out = nn.Linear(hidden if layers > 1 else numbers, outputs)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return logits (n, outputs) of `x` (n, numbers)."""
        x = batch["x"]
        if self.hidden is not None:
            x = torch.relu(self.hidden(x))
        return self.out(nn.functional.dropout(x, self.dropout, self.training))  # type: ignore[no-any-return]


class SoftMixture(nn.Module):
    """p image + (1 - p) text with p = sigmoid(policy), all three trained together (Zahavy 2016, section 5; Z-27)."""

    def __init__(
        self, image: int, text: int, classes: int, *, branch: int, layers: int, hidden: int, dropout: float = 0.0
    ) -> None:
        """Make the mixture.

        Args:
            image: numbers of x_v.
            text: numbers of x_t.
            classes: of the logits.
            branch: hidden units of the image's and of the text's network; 0 for one layer.
            layers: of the policy, 1 or 2.
            hidden: hidden units of the policy.
            dropout: share of hidden units that are set to 0 while training.
        """
        super().__init__()
        self.image, self.text = (
            nn.Linear(numbers, classes)
            if not branch
            else nn.Sequential(nn.Linear(numbers, branch), nn.ReLU(), nn.Dropout(dropout), nn.Linear(branch, classes))
            for numbers in (image, text)
        )
        self.policy = PolicyNet(image + text, 1, layers=layers, hidden=hidden, dropout=dropout)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return logits (n, C) of `image` (n, Dv), `text` (n, Dt) and `bounds` (n, 2): least and largest p."""
        p, image, text = self.parts(batch)
        return p * image + (1 - p) * text

    def parts(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Return p (n, 1) and the logits (n, C) of both branches."""
        image, text, bounds = batch["image"], batch["text"], batch["bounds"]
        p = torch.sigmoid(self.policy({"x": torch.cat([image, text], dim=1)}))
        p = torch.minimum(torch.maximum(p, bounds[:, :1]), bounds[:, 1:])
        return p, self.image(image), self.text(text)
