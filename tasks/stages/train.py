"""Fit one classifier on the feature store."""

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple, Never, cast

from pydantic import Field, model_validator

from fuseline.models.classifier import BaseClassifier
from fuseline.models.columns import Logits
from fuseline.models.config import FrozenConfig, added, key_values, runtime_option
from fuseline.models.fasttext.config import FastTextConfig
from fuseline.models.fasttext.pretrained import vectors_digest
from fuseline.models.features import Classifier, Features, Input, hidden_name, inputs_of, logits_name, reads_text
from fuseline.models.image_networks import ImageNetworkConfig
from fuseline.models.panel import PanelClassifier
from fuseline.models.registry import MODELS, new_classifier
from fuseline.stores.errors import ConfigError, mismatch
from fuseline.tasks.engine.cache import loaded
from fuseline.tasks.engine.nodes import Context, Fit, FitResult, Ingest, Read, ShardStage
from fuseline.tasks.engine.rows import ORDINARY, STACKED, Rows
from fuseline.tasks.label_parts import LabelsConfig, OfLabels
from fuseline.tasks.options import parse_options


class ModelConfig(FrozenConfig):
    """One classifier to train, evaluate and predict with."""

    kind: str = Field(description="Name of a model; `fuseline list models` shows them")
    options: dict[str, object] = Field({}, description="Options of the model")
    ocr: tuple[str, ...] = Field((), description="Detectors whose words are added to the text, for models that read it")
    seed: int = Field(0, description="Seed of all random draws")
    labels: LabelsConfig | None = added(
        None, description="Part of the labels that it learns and is scored on; default: all"
    )

    @model_validator(mode="after")
    def _check(self) -> "ModelConfig":
        if self.kind not in MODELS:
            raise ValueError(f"kind: expected one of {sorted(MODELS)}, got {self.kind!r}")
        if self.ocr and not reads_text(self.inputs()):
            raise ValueError(mismatch("ocr", "a model that reads text", self.kind, "embed the words: field ocr"))
        self.parsed()
        return self

    def parsed(self) -> FrozenConfig:
        """Return the options as the model's own type."""
        return parse_options(MODELS[self.kind].Config, self.options)

    def inputs(self) -> tuple[Input, ...]:
        """Return the columns that the model reads."""
        return inputs_of(MODELS[self.kind], self.parsed())

    def reads(self) -> set[str]:
        """Return the models that it needs: whose logits or hidden vectors it reads, or whose weights it starts from."""
        return self.reads_logits() | self.reads_hidden() | set(self.starts())

    def starts(self) -> tuple[str, ...]:
        """Return the models whose weights it starts from."""
        kind = MODELS[self.kind]
        return kind.starts(cast(Never, self.parsed())) if issubclass(kind, BaseClassifier) else ()

    def reads_logits(self) -> set[str]:
        """Return the models whose logits it reads."""
        return set(self.between())

    def between(self) -> tuple[str, ...]:
        """Return the models that it decides between, the default first."""
        return tuple(one.name.removeprefix(logits_name("")) for one in self.inputs() if one.kind is Logits)

    def reads_hidden(self) -> set[str]:
        """Return the models whose hidden vectors it reads."""
        names, prefix = (column.name for column in self.inputs()), hidden_name("")
        return {name.removeprefix(prefix) for name in names if name.startswith(prefix)}


def in_order(models: Mapping[str, ModelConfig]) -> list[str]:
    """Return the names of models, each after those that it reads.

    Raises ValueError when some read one another in a circle.
    """
    try:
        return list(TopologicalSorter({name: sorted(models[name].reads()) for name in sorted(models)}).static_order())
    except CycleError as error:
        circle = " reads ".join(reversed(error.args[1]))
        cure = "leave one of them out of the options of another"
        raise ValueError(mismatch("models", "none that reads itself by way of others", circle, cure)) from error


def with_bases(models: Mapping[str, ModelConfig], name: str) -> dict[str, ModelConfig]:
    """Return a model with all that it reads, however far up."""
    wanted = {name: models[name]}
    for base in models[name].reads():
        wanted |= with_bases(models, base)
    return wanted


class TrainConfig(FrozenConfig):
    """What decides a classifier: its kind, its options (defaults included), its seed."""

    kind: str
    options: dict[str, object]
    seed: int
    labels: LabelsConfig | None = added(None)
    runtime_options: dict[str, object] = runtime_option({})  # options that change no bytes
    starts: dict[str, str] = runtime_option({})  # model that it starts from -> its kind; its key is among the fits


def train_config(model: ModelConfig) -> TrainConfig:
    """Return a model's configuration with every default written out, so that a changed default changes the key."""
    options = key_values(model.parsed())
    runtime_options = {name: value for name, value in model.options.items() if name not in options}
    return TrainConfig(
        kind=model.kind, options=options, seed=model.seed, labels=model.labels, runtime_options=runtime_options
    )


def start_digest(kind: str, options: dict[str, object]) -> str:
    """Return the digest of the file that a training of a model with these options starts from, "" without one.

    Raises MissingWeights when it is absent, ConfigError when it does not fit the other options.
    """
    config = parse_options(MODELS[kind].Config, options)
    if isinstance(config, ImageNetworkConfig):
        return config.start_digest()
    if not isinstance(config, FastTextConfig) or config.pretrained_vectors is None:
        return ""
    try:
        return vectors_digest(config.pretrained_vectors, config.dim)
    except ValueError as error:
        raise ConfigError(f"options.{error}") from error


def fit_classifier(train: Features, valid: Features, config: TrainConfig, context: Context) -> FitResult:
    """Fit a classifier; its checkpoint records the keys of everything it read."""
    classifier = new_classifier(config.kind, {**config.options, **config.runtime_options})
    start_from(classifier, config.starts, context)
    known, tuned = (part if config.labels is None else OfLabels(part, config.labels) for part in (train, valid))
    classifier.fit(known, tuned if valid.n_rows else None, seed=config.seed, scratch=context.scratch)
    facts: dict[str, Any] = {**classifier.describe(), MULTI_LABEL: classifier.multi_label}
    if isinstance(classifier, BaseClassifier):
        facts[FREQUENCY_LOSSES] = classifier.frequency_losses()
    return classifier.save, train.n_rows, facts


def start_from(classifier: Classifier, starts: Mapping[str, str], context: Context) -> None:
    """Hand a classifier the trained models that it starts from, whose kinds `starts` names."""
    if starts and isinstance(classifier, BaseClassifier):
        place = "" if context.fold is None else f"@{context.fold}"
        saved = {name: context.checkpoints[f"{ROLE}/{name}{place}"] for name in starts}
        classifier.start_from({name: loaded(MODELS[kind].load, saved[name]) for name, kind in starts.items()})


# Among the facts of a model, by part, "" its own: what its loss would be if only label frequencies were known.
FREQUENCY_LOSSES = "frequency_losses"
MULTI_LABEL = "multi_label"  # among the facts of a model: whether a document may carry several labels
ROLE = "models"


class Readable(NamedTuple):
    """What models may read, made from one set of documents."""

    documents: Ingest
    clean: ShardStage
    detect: Mapping[str, ShardStage]
    others: Sequence[ShardStage] = ()

    def reads(self, model: ModelConfig, *columns: str) -> tuple[Read, ...]:
        """Return what a model reads, documents with `columns` first; words that are added to its text follow that."""
        wanted = {column.name for column in model.inputs()}
        words = [Read(self.detect[name], ("text",), into=self.clean.column) for name in sorted(model.ocr)]
        reads = [Read(self.documents, columns)]
        for node in (self.clean, *self.others):
            if node.feature is not None and node.column in wanted:
                reads += [Read(node, node.feature.columns), *(words if node is self.clean else ())]
        return tuple(reads)


def stage(name: str, spec: ModelConfig, sources: Readable, models: Mapping[str, Fit]) -> Fit:
    """Return the node that fits a model; it is fitted by all that its inputs are, and by those that it starts from.

    Args:
        name: of the model.
        spec: its kind and options.
        sources: what it may read.
        models: the nodes of those that it may start from, by name.
    """
    reads, starts = sources.reads(spec, "split", "labels"), {base: models[base] for base in spec.starts()}
    fits = {fit.name: fit for read in reads for fit in read.node.fits} | {fit.name: fit for fit in starts.values()}
    kinds = {base: cast(TrainConfig, fit.config).kind for base, fit in starts.items()}
    rows = rows_of(spec.kind)
    return Fit(
        role=ROLE, short=name, flow="train", version=3, fit=fit_classifier,
        config=train_config(spec).model_copy(update={"starts": kinds}),
        weights=start_digest(spec.kind, spec.options), reads=reads, fits=tuple(fits[name] for name in sorted(fits)),
        rows=rows, unseen=(rows.fit, rows.tune) if rows == STACKED else (),
    )  # fmt: skip


def has_branches(kind: str) -> bool:
    """Return whether other networks can start from the weights of a kind of model."""
    return issubclass(MODELS[kind], PanelClassifier)


def rows_of(kind: str) -> Rows:
    """Return which documents a kind of model learns from."""
    classifier = MODELS[kind]
    stacked = issubclass(classifier, BaseClassifier) and classifier.learns_from == "valid"
    return STACKED if stacked else ORDINARY
