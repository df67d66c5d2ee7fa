"""What deep sets are compared with: encoded elements behind one another, in a fixed number of places (R-05, R-28)."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from fuseline.models.checkpoint import Checkpoint, checked_number, refuse
from fuseline.models.features import Features
from fuseline.models.labels import Classes, labelled
from fuseline.models.sets import SetClassifier

if TYPE_CHECKING:
    import torch

PLACES = "places"  # among the facts of a fit: how many elements of each input it keeps


class ConcatPlaceholder(SetClassifier):
    """The first element of every input, the strongest, behind one another, then layers; zeros where there is none."""

    kind: ClassVar[str] = "concat_placeholder"
    summary: ClassVar[str] = "the first element of every input, concatenated; zeros for missing ones (Reiter 2020)"

    def body(self, names: list[str]) -> "torch.nn.Module":
        from fuseline.models.set_layers import Slots

        return Slots([1] * len(names), self.config.dim)


class ConcatPadded(SetClassifier):
    """As many elements of every input as a training document has at most, padded with zeros, then layers.

    What a document has beyond that is cut. The network grows with the largest document, which deep sets avoid.
    """

    kind: ClassVar[str] = "concat_padded"
    summary: ClassVar[str] = "all elements of every input, padded to the most of a training document (Reiter 2020)"
    places: dict[str, int]  # by input

    def body(self, names: list[str]) -> "torch.nn.Module":
        from fuseline.models.set_layers import Slots

        return Slots([self.places[name] for name in names], self.config.dim)

    def _fit(
        self, train: Features, valid: Features | None, classes: Classes, *, seed: int, scratch: Path | None
    ) -> None:
        self.places = self._most(train)
        super()._fit(train, valid, classes, seed=seed, scratch=scratch)
        self.facts = {**self.facts, PLACES: dict(self.places)}

    def _restore(self, saved: Checkpoint) -> None:
        places, names = self.facts[PLACES], {one.name for one in self._inputs()}
        if not isinstance(places, dict) or places.keys() != names:
            refuse(PLACES, f"a number for each of {sorted(names)}", places)
        self.places = {name: int(checked_number(PLACES, places[name])) for name in sorted(names)}
        super()._restore(saved)

    def _most(self, train: Features) -> dict[str, int]:
        """Return how many elements of each input a labelled document has at most, but 1 where none has any."""
        most = {one.name: 1 for one in self._inputs()}
        for block in labelled(train):
            for one in self._inputs():
                lengths = self.used(one, block.column(*one)).lengths
                most[one.name] = max(most[one.name], int(lengths.max(initial=0)))
        return most
