"""What the reference classifiers share: class numbers, matrices read from a stream, a threshold, one checkpoint."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from fuseline.models.blocks import cut
from fuseline.models.checkpoint import Checkpoint, load_checkpoint, restoring, save_checkpoint
from fuseline.models.columns import Dense, Size, Text
from fuseline.models.config import FrozenConfig, key_values, knob
from fuseline.models.dense import usable
from fuseline.models.fasttext.classifier import truth_matrix, widened
from fuseline.models.fasttext.corpus import LabelCounter
from fuseline.models.fasttext.trainer import padded
from fuseline.models.features import TEXT, Block, Features, Input, embedding_name
from fuseline.models.metrics.thresholds import MicroF1
from fuseline.models.restored import Restored, saved_sizes

F32 = NDArray[np.float32]


class ReferenceConfig(FrozenConfig):
    """What every reference classifier can be told."""

    task: Literal["auto", "single", "multi"] = Field(
        "auto",
        description="Whether a document has one label or several; auto: several when a training document has two",
    )
    max_classes: int | None = knob(None, ge=2, description="Classes at most; more are refused before any work")


@dataclass(frozen=True)
class Classes:
    """The classes of a training set."""

    names: list[str]  # by falling count, then by name
    number: dict[str, int]
    most: int  # labels of one document

    def truth(self, labels: pa.Array) -> NDArray[np.bool_]:
        """Return (n, C) of a list<string> array."""
        return truth_matrix(labels, self.number)[0]

    def pairs(self, labels: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (rows, classes) of a list<string> array, sorted: one entry per label of a document."""
        C = max(1, len(self.names))
        classes = pc.index_in(pc.list_flatten(labels), value_set=pa.array(self.names, pa.string()))
        known = classes.is_valid().to_numpy(zero_copy_only=False)
        rows = np.asarray(pc.list_parent_indices(labels)).astype(np.int64)[known]
        both = np.unique(rows * C + classes.drop_null().to_numpy().astype(np.int64))
        return both // C, both % C


class Reference:
    """A classifier whose logits pass through softmax (one label) or sigmoids (several); subclasses fit and score."""

    kind: ClassVar[str]
    summary: ClassVar[str]
    Config: ClassVar[type[FrozenConfig]] = ReferenceConfig
    config: ReferenceConfig
    labels: list[str]
    multi_label: bool
    threshold: float
    sizes: dict[str, Size]
    facts: dict[str, Any]

    def __init__(self, config: ReferenceConfig | None = None) -> None:
        self.config = self.Config() if config is None else config  # type: ignore[assignment]

    # What subclasses decide.
    def _fit(self, train: Features, valid: Features | None, classes: Classes, *, seed: int) -> None:
        raise NotImplementedError

    def predict_logits(self, block: Block) -> F32:
        """Return logits (n, C) float32."""
        raise NotImplementedError

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {}

    def _restore(self, saved: Checkpoint, folder: Path) -> None:
        """Take over what was saved beside the meta data that all share; raises CheckpointError."""
        raise NotImplementedError

    @classmethod
    def inputs(cls, config: Any) -> tuple[Input, ...]:
        """Return the columns that a classifier with this configuration reads."""
        raise NotImplementedError

    # The Classifier protocol.
    def fit(self, train: Features, valid: Features | None, *, seed: int) -> Self:
        """Fit on the labelled documents of `train`; on `valid` tune the threshold when the task is multi-label.

        Raises ValueError when `train` has fewer than two classes, or more than `max_classes`.
        """
        classes = classes_of(train)
        if len(classes.names) < 2:
            raise ValueError(f"classes: expected at least 2, got {classes.names!r}; give documents of another class")
        most = self.config.max_classes
        if most is not None and len(classes.names) > most:
            cure = "keep fewer labels (source.options.vocabulary names them), or raise max_classes and wait"
            raise ValueError(f"classes: expected at most {most!r} for {self.kind}, got {len(classes.names)!r}; {cure}")
        self.labels = classes.names
        self.multi_label = classes.most > 1 if self.config.task == "auto" else self.config.task == "multi"
        self._fit(train, valid, classes, seed=seed)
        self.threshold = 0.5
        if self.multi_label and valid is not None:
            self.threshold = tuned_threshold(self, valid)
        return self

    def probabilities(self, logits: F32) -> F32:
        """Return probabilities (n, C): of one class among all, or of each class alone."""
        if self.multi_label:
            return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)), np.float32)
        shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), np.float32)

    def importance(self, block: Block, chosen: NDArray[np.int64]) -> dict[str, F32]:
        """Return {}: unless a subclass knows better, the logit is no sum over modalities."""
        return {}

    def save(self, folder: Path) -> None:
        """Write model.json, arrays.safetensors and the subclass's files; equal models give equal bytes."""
        meta = {
            "config": key_values(self.config),
            "labels": self.labels,
            "multi_label": self.multi_label,
            "threshold": self.threshold,
            "inputs": saved_sizes(self.sizes),
            "facts": self.facts,
        }
        save_checkpoint(folder, f"classifier/{self.kind}", meta=meta, arrays=self._arrays())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; raises CheckpointError for anything else."""
        saved = load_checkpoint(folder, f"classifier/{cls.kind}")
        with restoring(f"classifier/{cls.kind}", "config, labels and weights"):
            self = cls(cls.Config.model_validate(saved.meta["config"]))  # type: ignore[arg-type]
            told = Restored.of(saved.meta, inputs=self.inputs(self.config))
            self.labels, self.multi_label, self.threshold = told.labels, told.multi_label, told.threshold
            self.sizes, self.facts = told.sizes, told.facts
            self._restore(saved, folder)
        return self

    def describe(self) -> dict[str, Any]:
        """Return parameters, bytes and training facts."""
        return dict(self.facts)


class Scores(Protocol):
    """What can tell probabilities of its labels."""

    labels: list[str]

    def predict_logits(self, block: Block) -> F32:
        """Return logits (n, C)."""

    def probabilities(self, logits: F32) -> F32:
        """Return probabilities (n, C)."""


def tuned_threshold(classifier: Scores, valid: Features) -> float:
    """Return the probability from which a label belongs to the predicted set, best for micro-F1 on `valid`."""
    counts, number = MicroF1(), {name: y for y, name in enumerate(classifier.labels)}
    rows = max(1, (1 << 22) // len(classifier.labels))
    for block in valid.blocks():
        for lo in range(0, len(block), rows):
            piece = cut(block, lo, lo + rows)
            probabilities = classifier.probabilities(classifier.predict_logits(piece))
            counts.add(probabilities, *truth_matrix(piece.labels, number))
    return counts.best()


def classes_of(train: Features) -> Classes:
    """Number the labels of all documents of `train`, in one pass."""
    counter = LabelCounter()
    for block in train.blocks():
        counter.add(block.labels)
    names, _ = counter.freeze()
    return Classes(names, {name: y for y, name in enumerate(names)}, counter.most)


def labelled(features: Features) -> Iterator[Block]:
    """Yield the blocks of `features` with only the documents that have a label."""
    for block in features.blocks():
        mask = pc.fill_null(pc.greater(pc.list_value_length(block.labels), 0), False)
        rows = np.flatnonzero(mask.to_numpy(zero_copy_only=False))
        if len(rows):
            yield block if len(rows) == len(block) else block.at(rows)


def embedding(block: Block, name: str, dim: int | None = None) -> tuple[F32, NDArray[np.bool_]]:
    """Return an embedding (n, D) of a block, zeros where it is absent or not finite, and which rows (n,) it has.

    Raises ValueError when there is none of that name, or of another width than `dim`.
    """
    column = block.column(embedding_name(name), Dense)
    X = np.array(column.values, np.float32)
    if dim is not None and X.shape[1] != dim:
        raise ValueError(f"embedding {name}: expected {dim!r} columns, got {X.shape[1]!r}; use the one trained with")
    has = usable(X, column.present, unit=False)
    X[~has] = 0
    return X, has


def has_text(block: Block) -> NDArray[np.bool_]:
    """Return which documents (n,) have a text."""
    return block.column(TEXT, Text).present


def product(X: F32, W: F32) -> F32:
    """Return X (n, D) times W (C, D) transposed, each row alone: a BLAS would give a row other bits elsewhere."""
    from fuseline.models.fasttext.kernels import model as kernels

    out = np.empty((len(X), len(W)), np.float32)
    width = padded(X.shape[1])
    kernels.scores(widened(W, len(W), width), widened(X, len(X), width), out)
    return out


class Tags:
    """The labels of a training set, as the numbers of their documents per class: as large as there are labels."""

    def __init__(self, parts: list[tuple[NDArray[np.int64], NDArray[np.int64]]], sizes: list[int]) -> None:
        """Join the pairs (see `Classes.pairs`) of consecutive blocks of `sizes` documents."""
        starts = np.cumsum([0, *sizes])
        nothing = np.zeros(0, np.int64)
        self.n = int(starts[-1])
        self.rows = np.concatenate([nothing, *(r + s for (r, _), s in zip(parts, starts, strict=False))])
        self.classes = np.concatenate([nothing, *(c for _, c in parts)])
        self._order = np.argsort(self.classes, kind="stable")
        self._sorted = self.classes[self._order]

    def of(self, c: int) -> NDArray[np.bool_]:
        """Return which documents (n,) have class c."""
        lo, hi = np.searchsorted(self._sorted, [c, c + 1])
        has = np.zeros(self.n, np.bool_)
        has[self.rows[self._order[lo:hi]]] = True
        return has
