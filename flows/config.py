"""One frozen, validated configuration: YAML in, the Prefect flows' parameter, the source of every dataset key."""

from collections import abc
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    Tag,
    ValidationError,
    ValidationInfo,
    model_serializer,
    model_validator,
)

from fuseline.flows.config_files import extended, folders_of, merge, parse_overrides, read_yaml, relative_to
from fuseline.flows.config_models import check_bases, check_hidden, check_whole, known
from fuseline.flows.presets import expand, with_preset, with_seed
from fuseline.models.columns import Codes, Column, Dense, Pixels, Ragged, Sequence
from fuseline.models.config import FrozenConfig, Names, added, key_values, runtime_option
from fuseline.models.encoders import ENCODERS
from fuseline.models.features import codes_name, elements_name, embedding_name, hidden_name, is_hidden
from fuseline.models.metrics.registry import Compared
from fuseline.stores.digests import key_digest
from fuseline.stores.errors import ConfigError, mismatch
from fuseline.stores.redaction import redacted_values
from fuseline.tasks.documents.assignment import SplitConfig
from fuseline.tasks.documents.documents_node import SourceConfig
from fuseline.tasks.documents.near_duplicates import DuplicatesConfig
from fuseline.tasks.evaluation.drawn_vectors import MapsConfig
from fuseline.tasks.evaluation.groups import checked_column
from fuseline.tasks.evaluation.instances import InstancesConfig
from fuseline.tasks.evaluation.missing import MissingConfig
from fuseline.tasks.evaluation.token_dictionary import TokensConfig
from fuseline.tasks.experiments.grid import SweepConfig
from fuseline.tasks.options import NUMBER, explained, parse_options
from fuseline.tasks.stages.clean import CleanConfig
from fuseline.tasks.stages.crops import CropEmbedConfig
from fuseline.tasks.stages.detect import DetectConfig
from fuseline.tasks.stages.embed import ImageEmbedConfig, TextEmbedConfig
from fuseline.tasks.stages.embed_columns import TabularEmbedConfig
from fuseline.tasks.stages.embed_indices import IndexEmbedConfig
from fuseline.tasks.stages.importance import ImportanceConfig
from fuseline.tasks.stages.quantize import QuantizeConfig
from fuseline.tasks.stages.registry import StageConfig, making, stages_in_order
from fuseline.tasks.stages.regression import RegressionConfig
from fuseline.tasks.stages.train import ModelConfig


def _embed_config(values: object) -> object:
    """Choose the kind of embedding by its encoder."""
    if not isinstance(values, dict):
        return values
    name = values.get("encoder")
    if not isinstance(name, str) or name not in ENCODERS:
        raise ConfigError(mismatch("encoder", sorted(ENCODERS), name, "`fuseline list encoders` describes them"))
    kinds: dict[str, type[FrozenConfig]] = {
        "image": ImageEmbedConfig, "text": TextEmbedConfig, "tabular": TabularEmbedConfig, "indices": IndexEmbedConfig
    }  # fmt: skip
    modality = ENCODERS[name].modality
    if modality not in kinds:
        cure = "faces are embedded under `crops`"
        raise ConfigError(mismatch("encoder", "one for image, text or columns", f"{name} ({modality})", cure))
    return parse_options(kinds[modality], values, field="")


EmbedConfig = Annotated[
    ImageEmbedConfig | TextEmbedConfig | TabularEmbedConfig | IndexEmbedConfig, BeforeValidator(_embed_config)
]


ShardSize = Annotated[
    Annotated[int, Field(ge=1), Tag(NUMBER)] | Annotated[Literal["auto"], Tag("auto")],
    Discriminator(lambda value: "auto" if value == "auto" else NUMBER),
]


class CropsConfig(CropEmbedConfig):
    """An encoder over the elements of one detector."""

    detections: str = Field(description="Name of the detector in `detect` whose elements are embedded")


class PredictionsConfig(FrozenConfig):
    """How predictions are written."""

    top_k: int = Field(5, ge=1, description="Labels with scores per document")


class EvaluationConfig(FrozenConfig):
    """Which splits are scored, and in how many folds."""

    splits: tuple[str, ...] = Field(("valid", "test"), description="Splits that are scored")
    folds: int | None = added(
        None, ge=0, description="Parts of a cross-validation over all documents that are not test; 0: none"
    )
    by: tuple[Annotated[str, AfterValidator(checked_column)], ...] = added(
        (), description="Columns whose values are scored apart: source, the first folder of a document, or cat_*"
    )
    auc: bool = added(
        False, description="Score by the probabilities of every class too (auc); every model's logits are written"
    )
    compare: bool = added(
        False, description="Compare every two models on the same documents: paired tests and bootstrap intervals"
    )
    missing: Annotated[MissingConfig | None, BeforeValidator(lambda value: {} if value is True else value)] = added(
        None, description="What models lose with an input masked, in all documents and at random; true: as by default"
    )
    importance: Annotated[ImportanceConfig | None, BeforeValidator(lambda value: {} if value is True else value)] = (
        added(None, description="What inputs and elements had in every prediction; true: by every method")
    )

    @model_validator(mode="after")
    def _several(self) -> Self:
        if self.folds == 1:
            raise ConfigError(mismatch("evaluation.folds", "0, or at least 2", 1, "set it to 5, as the papers do"))
        return self


class ReportConfig(FrozenConfig):
    """What the report shows."""

    gallery: int = Field(12, ge=0, le=200, description="Right examples, wrong ones and confident errors, each")
    split: str = Field("test", description="Split that examples are taken from")
    vectors: tuple[str, ...] = Field((), description="Embeddings to show as FLOAT[] in the catalog: Parquet copies")
    tokens: TokensConfig = Field(TokensConfig(), description="What the dictionary of visual tokens holds")
    published: Literal["whole", "always", "never"] = Field(
        "whole", description="When a set is compared with the counts that its release is known by: when it is all there"
    )
    contact_sheet: int = Field(24, ge=0, le=400, description="Images with what the detectors found in them")
    maps: MapsConfig = added(MapsConfig(), description="Maps of embeddings and of hidden layers, by t-SNE")
    quadrants: Names | None = added(
        None, max_length=2, description="One or two models: maps, and galleries of two, tell which of them are right; "
        "default: the first two that a decision is between"
    )  # fmt: skip
    instances: InstancesConfig = added(InstancesConfig(), description="Documents shown as every model saw them")
    metric: Compared | None = Field(
        None, description="What ranks the models; default: accuracy, or f1_micro where documents carry several labels"
    )


class ExecutionConfig(FrozenConfig):
    """How a run is carried out; nothing here changes bytes."""

    executor: Literal["local", "dask", "ray"] = runtime_option(
        "local", description="Where shards are made: in processes here, or on a Dask or Ray cluster"
    )
    address: str | None = runtime_option(
        None, description="Address of a Dask scheduler or a Ray head; default: start a local cluster"
    )
    workers: int = runtime_option(2, ge=1, description="Worker processes")
    allowed_failures: float = runtime_option(
        0.05, ge=0, le=1, description="Share of rows that may fail before the exit code is 1"
    )


class Config(FrozenConfig):
    """Everything a pipeline is made from.

    `extends` names a YAML file (relative to the file that says so, or to the working directory) whose values are
    taken where this configuration gives none.
    """

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.pop("required", None) and None)

    extends: str | None = runtime_option(
        None, description="YAML file whose values are taken where this configuration gives none"
    )
    name: str = Field("documents", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$", description="Name of the data set")
    root: str = runtime_option("runs/documents", description="Output root: folder that everything is written below")
    source: SourceConfig = Field(SourceConfig(), description="Where documents come from")
    shard_size: ShardSize = Field("auto", description="Documents per shard; auto: 64 to 4,096, four shards per worker")
    split: SplitConfig = Field(
        SplitConfig(), description="Which documents go to train, valid and test where the source does not say"
    )
    duplicates: DuplicatesConfig = Field(
        DuplicatesConfig(), description="Which documents are left out because they came before"
    )
    clean: CleanConfig = Field(CleanConfig(), description="How raw fields become text")
    detect: dict[str, DetectConfig] = Field({}, description="Detectors over the images; faces only if named here")
    embed: dict[str, EmbedConfig] = Field({}, description="Embeddings by name: of images, texts or table columns")
    crops: dict[str, CropsConfig] = Field({}, description="Embeddings of detected elements, by name")
    stages: dict[str, StageConfig] = added(
        {}, description="More stages by name: sequences of words, and those of installed packages"
    )
    quantize: dict[str, QuantizeConfig] = Field({}, description="Codebooks by name")
    seed: int = added(0, description="Seed of every model that names none; splits and codebooks have their own")
    models: dict[str, ModelConfig] = Field(
        {}, description="Classifiers by name; {preset: fast} adds those that suit the rest"
    )
    regressions: dict[str, RegressionConfig] = added({}, description="Estimates of a column of numbers, by name")
    predictions: PredictionsConfig = Field(PredictionsConfig(), description="What predictions hold")
    evaluation: EvaluationConfig = Field(EvaluationConfig(), description="What is scored")
    report: ReportConfig = Field(ReportConfig(), description="What the report shows")
    refit: Literal["manual", "on_change", "drift"] = Field(
        "manual", description="When fitted things are made again; drift: codebooks whose drift report asks for it"
    )
    sweep: SweepConfig = runtime_option(SweepConfig(), description="Which options `fuseline sweep` tries")
    run: ExecutionConfig = runtime_option(ExecutionConfig(), description="How a run is carried out")

    @model_validator(mode="before")
    @classmethod
    def _extend(cls, values: object, info: ValidationInfo) -> object:
        if not isinstance(values, dict):
            return values
        _refuse_odd(values, "")
        return with_seed(with_preset(extended(values, (info.context or {}).get(FOLDERS) or (Path.cwd(),))))

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        named = (self.detect, self.embed, self.crops, self.stages, self.quantize, self.models, self.regressions)
        for name in chain.from_iterable(named):
            if not name.replace("_", "").replace("-", "").replace(".", "").isalnum():
                raise ValueError(mismatch("name", "letters, digits, '_', '-' and '.'", name, "rename it"))
        for name in sorted(self.stages.keys() & self.embed.keys()):
            raise ValueError(
                mismatch(f"stages.{name}", "a name that `embed` does not have", name, "rename one of them")
            )
        for name, crops in self.crops.items():
            known(f"crops.{name}.detections", crops.detections, self.detect)
        for name, embed in self.embed.items():
            if isinstance(embed, TextEmbedConfig | IndexEmbedConfig) and embed.detections is not None:
                known(f"embed.{name}.detections", embed.detections, self.detect)
        for name, model in self.models.items():
            for detections in model.ocr:
                known(f"models.{name}.ocr", detections, self.detect)
        for field, names in (("sweep.models", self.sweep.models), ("sweep.grids", self.sweep.grids)):
            for name in names:
                known(field, name, self.models)
        for name, quantize in self.quantize.items():
            self._dense(f"quantize.{name}.embedding", quantize.embedding)
        for name, model in self.models.items():
            for column in model.inputs():
                short = column.name.removeprefix(codes_name("") if column.kind is Codes else embedding_name(""))
                if column.kind is Dense and short not in map(hidden_name, model.reads_hidden()):
                    self._dense(f"models.{name}.options (embedding)", short)
                elif column.kind is Codes:
                    known(f"models.{name}.options (codes)", short, self.quantize)
                elif column.kind is Ragged:
                    known(f"models.{name}.options (elements)", column.name, self._elements())
                elif column.kind in (Sequence, Pixels):
                    known(f"models.{name}.options ({column.kind.kind})", short, self._making(column.kind))
        check_bases(self.models)
        return self

    @model_validator(mode="after")
    def _shown_exist(self) -> Self:
        for name in self.report.vectors:
            self._dense("report.vectors", name)
        for name in self.report.maps.embeddings:
            self._dense("report.maps.embeddings", name)
        check_whole("report.quadrants", self.report.quadrants or (), self.models)
        check_whole("sweep.models", self.sweep.models, self.models)
        if self.report.maps.inside and not self.quadrants:
            cure = "name one or two in report.quadrants"
            raise ValueError(mismatch("report.maps.inside", "models that are right or wrong", "none", cure))
        check_hidden("report.maps.hidden", self.report.maps.hidden, self.models)
        for name, regression in self.regressions.items():
            field = f"regressions.{name}.vectors"
            check_hidden(field, regression.hidden(), self.models)
            for one in (one for one in regression.vectors if not is_hidden(one)):
                self._dense(field, one)
        return self

    @model_validator(mode="after")
    def _stages_read_what_is_there(self) -> Self:
        for name, stage in self.stages.items():
            readable = {**self.embed, **{k: v for kind in stage.takes for k, v in making(self.stages, kind).items()}}
            for one in stage.reads():
                known(f"stages.{name}.options.inputs", one, readable)
        stages_in_order(self.stages)
        return self

    @model_validator(mode="after")
    def _same_folds(self) -> Self:
        wanted, assigned = self.evaluation.folds, self.split.folds
        if wanted and assigned and wanted != assigned:
            cure = "give both the same number, or leave split.folds out"
            raise ValueError(mismatch("evaluation.folds", f"{assigned}, as split.folds", wanted, cure))
        return self

    @property
    def quadrants(self) -> tuple[str, ...]:
        """Models whose quadrants are shown: those that are named, else the first two that a decision is between."""
        if self.report.quadrants is not None:
            return self.report.quadrants
        return next(
            (one.between()[:2] for _, one in sorted(self.models.items()) if one.between() and one.labels is None), ()
        )

    @property
    def assignment(self) -> SplitConfig:
        """Which documents go where; a cross-validation has them assigned to its folds."""
        folds = self.evaluation.folds or self.split.folds
        return self.split if folds == self.split.folds else self.split.model_copy(update={"folds": folds})

    def _elements(self) -> dict[str, FrozenConfig]:
        """Return what makes vectors of elements, by the names of the datasets."""
        stages = {elements_name(embedding_name(name)): spec for name, spec in making(self.stages, Ragged).items()}
        return {**{elements_name(name): spec for name, spec in self.crops.items()}, **stages}

    def _making(self, kind: type[Column]) -> dict[str, FrozenConfig]:
        """Return what makes columns of a kind: stages and, of sequences, embeddings that are indices."""
        indices = {name: spec for name, spec in self.embed.items() if kind is Sequence and _has_indices(spec)}
        return {**indices, **making(self.stages, kind)}

    def _dense(self, field: str, name: str) -> None:
        known(field, name, {**self.embed, **making(self.stages, Dense)})
        if name in self.embed and _has_indices(self.embed[name]):
            cure = "name an embedding of vectors, or add one"
            raise ValueError(mismatch(field, "an embedding of vectors", f"{name} (indices)", cure))

    def __str__(self) -> str:
        return self.name

    @model_serializer(mode="wrap")
    def _redact(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """Hide secrets wherever a configuration becomes text: records of runs, reports, Prefect's parameters."""
        values: dict[str, Any] = handler(self)
        return redacted_values(values) if info.mode == "json" else values

    @property
    def digest(self) -> str:
        """A digest of everything that changes bytes."""
        return key_digest(key_values(self))

    def to_yaml(self) -> str:
        """Return the effective configuration, defaults included, as YAML that loads to the same configuration."""
        return yaml.safe_dump(self.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True)


def load_config(path: Path, overrides: abc.Sequence[str] = ()) -> Config:
    """Read a YAML file, apply `key.path=value` overrides and validate.

    Raises:
        ConfigError: with field, expected, got and cure, one line per fault.
    """
    values, folders = _plain_values(path, overrides)
    return parse_config(values, folders=folders)


def left_out(path: Path, overrides: abc.Sequence[str] = ()) -> dict[str, str]:
    """Return the models of the preset of a valid configuration file that are left out, and why."""
    values, folders = _plain_values(path, overrides)
    return expand(extended(values, folders)).left_out


def _plain_values(path: Path, overrides: abc.Sequence[str]) -> tuple[dict[str, Any], list[Path]]:
    """Return the settings of a file with overrides on top, and the folders where it may extend files."""
    given, folders = parse_overrides(overrides), [*folders_of(path)]
    if isinstance(named := given.get("extends"), str) and "\0" not in named:
        folders.append(Path(named).parent)  # who types a path may read it
    return merge(relative_to(read_yaml(path), path.parent), given), folders


def parse_config(values: Mapping[str, object], *, folders: abc.Sequence[Path] = ()) -> Config:
    """Validate plain values; what they extend lies below one of `folders`, by default the working directory."""
    try:
        return Config.model_validate(values, context={FOLDERS: folders} if folders else None)
    except ValidationError as error:
        raise ConfigError("\n".join(explained(error, Config))) from error


def _has_indices(spec: FrozenConfig) -> bool:
    return getattr(spec, "output", "vectors") == "indices"


def _refuse_odd(value: object, field: str) -> None:
    """Raise ConfigError for a NUL character in any text and for integers of more than 63 bits."""
    if isinstance(value, str) and "\0" in value:
        raise ConfigError(mismatch(field, "text without NUL characters", value, "remove them"))
    if isinstance(value, int) and value.bit_length() > INTEGER_BITS:
        raise ConfigError(mismatch(field, f"an integer of {INTEGER_BITS} bits", "a longer one", "lower it"))
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for key, inner in items:
        _refuse_odd(inner, f"{field}.{key}" if field else str(key))


INTEGER_BITS = 63
FOLDERS = "folders"  # in the context of a validation: where `extends` may lead
