"""What every classifier's checkpoint says of itself, checked before it is used."""

from dataclasses import dataclass
from typing import Any

from fuseline.models.checkpoint import checked_number, checked_texts, refuse
from fuseline.models.features import CODEWORDS, Inputs


@dataclass(frozen=True)
class Restored:
    """The meta data that all classifiers save."""

    labels: list[str]
    multi_label: bool
    threshold: float
    inputs: Inputs
    facts: dict[str, Any]

    @classmethod
    def of(cls, meta: dict[str, Any], *, reads: Inputs) -> "Restored":
        """Return the checked values; raises CheckpointError.

        Args:
            meta: of the checkpoint.
            reads: what the classifier's configuration reads, all widths 0.
        """
        labels = checked_texts("labels", meta["labels"])
        if not labels:
            refuse("labels", "at least one", labels)
        if not isinstance(meta["multi_label"], bool) or not isinstance(meta["facts"], dict):
            refuse("multi_label and facts", "a bool and a mapping", (meta["multi_label"], meta["facts"]))
        threshold = checked_number("threshold", meta["threshold"], high=1.0)
        return cls(labels, meta["multi_label"], threshold, _inputs(meta["inputs"], reads), meta["facts"])

    @property
    def dim(self) -> int:
        """Dimensions of all embeddings together."""
        return sum(self.inputs.dense.values())

    @property
    def tokens(self) -> int:
        """Codes of all codebooks together."""
        return sum(M for M, _ in self.inputs.codes.values())


def saved_inputs(inputs: Inputs) -> dict[str, Any]:
    """Return what a checkpoint says of a classifier's inputs."""
    return {"dense": inputs.dense, "codes": inputs.codes, "text": inputs.text}


def _inputs(saved: Any, reads: Inputs) -> Inputs:
    dense, codes, text = saved["dense"], saved["codes"], saved["text"]
    named = (sorted(dense), sorted(codes), text)
    wanted = (sorted(reads.dense), sorted(reads.codes), reads.text)
    if named != wanted or not isinstance(text, bool):
        refuse("inputs", f"those that its config names, {wanted}", named)
    sizes = [*dense.values(), *(size for pair in codes.values() for size in pair)]
    if not all(isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in sizes):
        refuse("inputs", "sizes from 0", sizes)
    pairs = {name: (M, Ks) for name, (M, Ks) in codes.items()}
    if any(Ks > CODEWORDS for _, Ks in pairs.values()):
        refuse("inputs", f"at most {CODEWORDS} codewords", pairs)
    return Inputs(dict(dense), pairs, text)
