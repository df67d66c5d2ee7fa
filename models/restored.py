"""Metadata of every classifier's checkpoint, checked before it is used."""

from dataclasses import dataclass
from typing import cast

from fuseline.models.checkpoint import checked_number, checked_texts, refuse
from fuseline.models.columns import CODEWORDS, Sequence, Size
from fuseline.models.features import Input
from fuseline.plain import Json, JsonObject


@dataclass(frozen=True)
class Restored:
    """The meta data that all classifiers save."""

    labels: list[str]
    multi_label: bool
    threshold: float
    sizes: dict[str, Size]
    facts: JsonObject

    @classmethod
    def of(cls, meta: JsonObject, *, inputs: tuple[Input, ...]) -> "Restored":
        """Return the checked values; raises CheckpointError.

        Args:
            meta: of the checkpoint.
            inputs: what the classifier's configuration reads.
        """
        labels = checked_texts("labels", meta["labels"])
        if not labels:
            refuse("labels", "at least one", labels)
        if not isinstance(meta["multi_label"], bool) or not isinstance(meta["facts"], dict):
            refuse("multi_label and facts", "a bool and a mapping", (meta["multi_label"], meta["facts"]))
        threshold = checked_number("threshold", meta["threshold"], high=1.0)
        return cls(labels, meta["multi_label"], threshold, _sizes(meta["inputs"], inputs), meta["facts"])


def saved_sizes(sizes: dict[str, Size]) -> dict[str, list[str | int]]:
    """Return the inputs that a checkpoint declares."""
    return {name: list(sizes[name]) for name in sorted(sizes)}


def _sizes(saved: Json, inputs: tuple[Input, ...]) -> dict[str, Size]:
    if not isinstance(saved, dict):
        refuse("inputs", "a mapping", saved)
    sizes_by_name = cast("dict[str, tuple[str, int, int]]", saved)
    named = {name: values[0] for name, values in sizes_by_name.items()}
    wanted = {one.name: one.kind.kind for one in inputs}
    if named != wanted:
        refuse("inputs", f"those that its config names, {wanted}", named)
    sizes = {name: Size(*values) for name, values in sizes_by_name.items()}
    numbers = [number for size in sizes.values() for number in size[1:]]
    if not all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in numbers):
        refuse("inputs", "sizes from 0", numbers)
    if any(size.values > CODEWORDS for size in sizes.values() if size.kind != Sequence.kind):
        refuse("inputs", f"at most {CODEWORDS} codewords", sizes)
    return {name: sizes[name] for name in sorted(sizes)}
