"""The base of every classifier: labels, task, threshold, probabilities, and one checkpoint that may hold others."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar, Literal, Never, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from fuseline.models.automatic import SEARCH, AutomaticConfig, Chosen
from fuseline.models.checkpoint import Checkpoint, load_checkpoint, nested, restoring, save_checkpoint
from fuseline.models.choosing import choose_by_fitting
from fuseline.models.columns import Dense, Size, Text
from fuseline.models.config import FrozenConfig, key_values, own_config, runtime_option
from fuseline.models.dense import usable
from fuseline.models.features import TEXT, Block, Classifier, Features, Input, inputs_of, vectors_name
from fuseline.models.labels import Classes, classes_of, label_pairs
from fuseline.models.metrics.thresholds import FLOORS, MicroF1
from fuseline.models.ranked import Ranker
from fuseline.models.restored import Restored, saved_sizes
from fuseline.models.scoring import ranked_parts
from fuseline.plain import JsonObject

FEW = 0.1  # times the number of classes: a floor below it leaves out too few of them to be worth a pass
PAIRS = 1 << 22  # of documents and classes whose probabilities the threshold is tuned by at a time
F32 = NDArray[np.float32]


class ClassifierConfig(AutomaticConfig):
    """Options of every classifier."""

    task: Literal["auto", "single", "multi"] = Field(
        "auto",
        description="Whether a document has one label or several; auto: several when a training document has two",
    )
    max_classes: int | None = runtime_option(
        None, ge=2, description="Classes at most; more are refused before any work"
    )


def softmax(logits: F32) -> F32:
    """Return probabilities (n, C) of one class among all."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), np.float32)


def sigmoid(logits: F32) -> F32:
    """Return probabilities (n, C) of each class alone."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)), np.float32)


def clipped(logits: F32) -> F32:
    """Return logits that are estimates of probabilities themselves, held within 0..1."""
    return np.clip(logits, 0.0, 1.0)


# What makes probabilities of logits; `exp` is for those that are log probabilities.
Link = Literal["softmax", "sigmoid", "exp", "clipped"]
LINKS: dict[str, Callable[[F32], F32]] = {"softmax": softmax, "sigmoid": sigmoid, "exp": np.exp, "clipped": clipped}


class BaseClassifier:
    """A classifier whose logits pass through one link; a subclass fits, scores, and declares what it keeps.

    Of a subclass are `_fit`, `predict_logits`, `inputs`, and what of it is saved beside the meta data that all share:
    `_arrays`, `_files` and `_parts`, other classifiers it is composed of. `_restore` takes that back.
    """

    kind: ClassVar[str]
    summary: ClassVar[str]
    Config: ClassVar[type[FrozenConfig]] = ClassifierConfig
    learns_from: ClassVar[Literal["train", "valid"]] = "train"  # valid: one half of it, tuned on the other
    config: ClassifierConfig
    labels: list[str]
    multi_label: bool
    threshold: float
    sizes: dict[str, Size]
    facts: JsonObject  # of training: the same for equal input

    def __init__(self, config: FrozenConfig | None = None) -> None:
        self.config = own_config(self.Config, config, ClassifierConfig)
        self.search: JsonObject = {}  # what was tried to choose options

    # What subclasses decide.
    @classmethod
    def inputs(cls, config: Never) -> tuple[Input, ...]:
        """Return the columns that a classifier with this configuration reads."""
        raise NotImplementedError

    @classmethod
    def starts(cls, config: Never) -> tuple[str, ...]:
        """Return the names of trained models whose weights a fit with this configuration starts from."""
        return ()

    def start_from(self, trained: Mapping[str, Classifier]) -> None:
        """Take the trained models that `starts` names, before the fit."""

    def predict_logits(self, block: Block) -> F32:
        """Return logits (n, C) float32."""
        raise NotImplementedError

    @property
    def link(self) -> Link:
        """What makes probabilities of its logits."""
        return "sigmoid" if self.multi_label else "softmax"

    def _fit(
        self, train: Features, valid: Features | None, classes: Classes, *, seed: int, scratch: Path | None
    ) -> None:
        raise NotImplementedError

    def _arrays(self) -> dict[str, NDArray[np.generic]]:
        return {}

    def _files(self) -> dict[str, bytes]:
        return {}

    def _parts(self) -> dict[str, "BaseClassifier"]:
        return {}

    def _restore(self, saved: Checkpoint) -> None:
        """Take over what was saved beside the meta data that all share; raises CheckpointError."""
        raise NotImplementedError

    # The Classifier protocol.
    def fit(self, train: Features, valid: Features | None, *, seed: int, scratch: Path | None = None) -> Self:
        """Fit on the labelled documents of `train`; on `valid` tune the threshold when the task is multi-label.

        Args:
            train: features of the training documents.
            valid: what the threshold, and whatever a subclass chooses, is chosen by.
            seed: of all random draws.
            scratch: folder for what a fit that is cut short goes on from; by default it starts over.

        Raises:
            ValueError: `train` has fewer than two classes, or more than `max_classes`.
        """
        classes = classes_of(train)
        if len(classes.names) < 2:
            raise ValueError(f"classes: expected at least 2, got {classes.names!r}; give documents of another class")
        self._take_labels(classes.names, classes.most)
        self.choose_options(train, valid)
        self._fit(train, valid, classes, seed=seed, scratch=scratch)
        self.facts = {**self.facts, **self._searched()}
        self._tune_threshold(valid)
        return self

    def choose_options(self, train: Features, valid: Features | None) -> None:
        """Choose the options that the configuration leaves open; `fit` does so before anything else."""
        if self.config.automatic:
            chosen = self._choice(train, valid)
            self.config, self.search = self.config.chosen(**chosen.options), chosen.facts

    def _choice(self, train: Features, valid: Features | None) -> Chosen:
        return choose_by_fitting(type(self), self.config, train, valid)

    def _searched(self) -> JsonObject:
        """Return the facts of a fit that tell what was tried."""
        return {SEARCH: self.search} if self.search else {}

    def probabilities(self, logits: F32) -> F32:
        """Return probabilities (n, C): of one class among all, or of each class alone."""
        return LINKS[self.link](logits)

    def frequency_loss(self) -> float | None:
        """Return what its loss in training would be by label frequencies alone; None, unless a subclass knows."""
        return None

    def frequency_losses(self) -> dict[str, float]:
        """Return the frequency losses of the classifier, under "", and of its parts, each under its name."""
        named = {"": self, **self._parts()}
        return {name: loss for name, one in named.items() if (loss := one.frequency_loss()) is not None}

    def importance(self, block: Block, chosen: NDArray[np.int64]) -> dict[str, F32]:
        """Return {}: unless a subclass knows better, the logit is no sum over modalities."""
        return {}

    def describe(self) -> JsonObject:
        """Return parameters, bytes and training facts."""
        return dict(self.facts)

    def save(self, folder: Path) -> None:
        """Write model.json, arrays.safetensors and the subclass's files; equal models give equal bytes."""
        saved = self.checkpoint()
        save_checkpoint(folder, f"classifier/{self.kind}", meta=saved.meta, arrays=saved.arrays, files=saved.files)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; raises CheckpointError for anything else."""
        return cls.restored(load_checkpoint(folder, f"classifier/{cls.kind}"))

    # Checkpoints nest: a classifier composed of others saves theirs within its own.
    def checkpoint(self) -> Checkpoint:
        """Return what is saved, that of its parts included."""
        parts = {name: part.checkpoint() for name, part in self._parts().items()}
        return nested(Checkpoint(self._meta(), self._arrays(), self._files()), parts)

    @classmethod
    def restored(cls, saved: Checkpoint) -> Self:
        """Return the classifier that `checkpoint` describes; raises CheckpointError when the parts do not fit."""
        with restoring(f"classifier/{cls.kind}", "config, labels and weights"):
            self = cls(cls.Config.model_validate(saved.meta["config"]))
            header = Restored.of(saved.meta, inputs=inputs_of(cls, self.config))
            self.labels, self.multi_label, self.threshold = header.labels, header.multi_label, header.threshold
            self.sizes, self.facts = header.sizes, header.facts
            self._restore(saved)
        return self

    def _meta(self) -> JsonObject:
        return {
            "config": key_values(self.config),
            "labels": self.labels,
            "multi_label": self.multi_label,
            "threshold": self.threshold,
            "inputs": saved_sizes(self.sizes),
            "facts": self.facts,
        }

    def _take_labels(self, names: list[str], most: int) -> None:
        """Decide the classes and the task; `most` is the highest number of labels of one document.

        Raises ValueError for more classes than `max_classes`.
        """
        limit = self.config.max_classes
        if limit is not None and len(names) > limit:
            cure = "keep fewer labels (source.options.vocabulary names them), or raise max_classes and wait"
            raise ValueError(f"classes: expected at most {limit!r} for {self.kind}, got {len(names)!r}; {cure}")
        self.labels = names
        self.multi_label = most > 1 if self.config.task == "auto" else self.config.task == "multi"

    def _tune_threshold(self, valid: Features | None) -> None:
        self.threshold = tuned_threshold(self, valid) if self.multi_label and valid is not None else 0.5


def tuned_threshold(classifier: BaseClassifier, valid: Features, *more: tuple[BaseClassifier, Features]) -> float:
    """Return the probability from which a label belongs to the predicted set, best for micro-F1 on `valid`.

    more: further classifiers of the same classes, each counted on documents of its own.

    Improbable classes are looked at only where a lower threshold could be better: to count them costs more than all
    else. A classifier that finds likely classes without the others goes down step by step, another one at once.
    """
    C = len(classifier.labels)
    quick = isinstance(classifier, Ranker) and classifier.ranker() is not None
    floors = [floor for floor in FLOORS[: -1 if quick else 1] if floor * C > FEW] + FLOORS[-1:]
    for floor in floors:
        counts, size = MicroF1(floor), max(1, int(PAIRS * max(floor, 1 / C)))
        for one, documents in ((classifier, valid), *more):
            count_from(counts, one, documents, size=size)
        if counts.settled():
            break
    return counts.best()


def count_from(counts: MicroF1, classifier: BaseClassifier, valid: Features, *, size: int) -> None:
    """Count the documents of `valid`, `size` at a time."""
    floor, names = float(counts.candidates[0]), pa.array(classifier.labels, pa.string())
    for block in valid.blocks():
        for part, ranked in ranked_parts(classifier, block, size=size):
            rows, classes, probabilities = ranked.at_least(floor)
            true_rows, true_classes, unknown = label_pairs(part.labels, names)
            pairs, true = rows * len(names) + classes, true_rows * len(names) + true_classes
            places = np.searchsorted(pairs, true)
            found = np.append(pairs, -1)[places] == true
            counts.add(probabilities, places[found], unknown + len(true))


def embedding(block: Block, name: str, dim: int | None = None) -> tuple[F32, NDArray[np.bool_]]:
    """Return an embedding (n, D) of a block, zeros where it is absent or not finite, and which rows (n,) it has.

    Raises ValueError when there is none of that name, or of another width than `dim`.
    """
    column = block.column(vectors_name(name), Dense)
    X = np.array(column.values, np.float32)
    if dim is not None and X.shape[1] != dim:
        raise ValueError(f"embedding {name}: expected {dim!r} columns, got {X.shape[1]!r}; use the one trained with")
    has = usable(X, column.present, unit=False)
    X[~has] = 0
    return X, has


def shares(terms: dict[str, F32]) -> dict[str, F32]:
    """Return modality -> (n,) its share of the sum of all terms (n,), none of them negative; 0 where all are 0."""
    total = np.asarray(sum(terms.values()))
    total[total == 0] = 1
    return {name: np.asarray(term / total, np.float32) for name, term in terms.items()}


def has_text(block: Block) -> NDArray[np.bool_]:
    """Return which documents (n,) have a text."""
    return block.column(TEXT, Text).present
