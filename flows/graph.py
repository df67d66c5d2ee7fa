"""The DAG of a configuration, as one list of nodes in order."""

from dataclasses import dataclass
from typing import Any

from fuseline.flows.config import Config, CropsConfig, EmbedConfig
from fuseline.models.columns import Codes, Dense, Ragged, Text
from fuseline.models.config import FrozenConfig, key_values
from fuseline.models.detectors import DETECTORS
from fuseline.tasks.documents.assignment import SplitConfig
from fuseline.tasks.documents.ingest import SourceConfig, ingest_config, ingest_stage
from fuseline.tasks.engine.image_pass import ImageTransform
from fuseline.tasks.engine.images import DECODER
from fuseline.tasks.engine.nodes import Feature, Fit, Ingest, Node, Read, ShardStage, Summary, Transform
from fuseline.tasks.evaluation.contact_sheet import ContactSheetConfig
from fuseline.tasks.evaluation.summaries import (
    EvaluateConfig,
    GalleryConfig,
    StatisticsConfig,
    add_counts,
    choose_examples,
    count_shard,
    score_model,
    show_detections,
)
from fuseline.tasks.evaluation.token_dictionary import DictionaryConfig, describe_tokens, has_tokens
from fuseline.tasks.stages.clean import cleaner_version
from fuseline.tasks.stages.codebook_drift import MeasureConfig, measure_drift
from fuseline.tasks.stages.crops import crop_digest
from fuseline.tasks.stages.detect import DetectConfig, detector_digest
from fuseline.tasks.stages.embed import ImageEmbedConfig, TextEmbedConfig, weights_digest
from fuseline.tasks.stages.embed_columns import TabularEmbedConfig, embed_tabular, fit_tabular
from fuseline.tasks.stages.embed_indices import IndexEmbedConfig, embed_indices, fit_vocabulary
from fuseline.tasks.stages.predict import PredictConfig, predict
from fuseline.tasks.stages.quantize import QuantizeConfig, encode, fit_codebook
from fuseline.tasks.stages.token_counts import OwnersConfig, count_owners
from fuseline.tasks.stages.train import ModelConfig, fit_classifier, start_digest, train_config
from fuseline.tasks.stages.transforms import (
    clean_documents,
    detect_elements,
    embed_documents,
    embed_elements,
    embed_texts,
)
from fuseline.tasks.stages.vector_tables import VectorsConfig, export_vectors

CONTACT_SHEET = "contact_sheet/detections"
VECTORS = "vectors"  # folder of the Parquet copies of embeddings


@dataclass(frozen=True)
class Features:
    """The datasets that classifiers read, made from one set of documents."""

    documents: Ingest
    clean: ShardStage
    detect: dict[str, ShardStage]
    encoders: dict[str, Fit]
    embed: dict[str, ShardStage]
    crops: dict[str, ShardStage]
    codebooks: dict[str, Fit]
    quantize: dict[str, ShardStage]
    owners: dict[str, ShardStage]
    drift: dict[str, Summary]

    def reads(self, model: ModelConfig, *columns: str) -> tuple[Read, ...]:
        """Return what a model reads, documents with `columns` first; words that are added to its text follow that."""
        wanted = {one.name for one in model.inputs()}
        words = [Read(self.detect[name], ("text",), into=self.clean.name) for name in sorted(model.ocr)]
        reads = [Read(self.documents, columns)]
        for node in (self.clean, *_sorted(self.embed), *_sorted(self.quantize), *_sorted(self.crops)):
            if node.feature is not None and node.name in wanted:
                reads += [Read(node, node.feature.columns), *(words if node is self.clean else ())]
        return tuple(reads)


def _sorted(nodes: dict[str, ShardStage]) -> list[ShardStage]:
    return [nodes[name] for name in sorted(nodes)]


def build(config: Config) -> list[Node]:
    """Return every node of the pipeline, each after what it reads."""
    features = _features(config, config.name, config.source)
    fits = {name: _fit(name, model, features) for name, model in sorted(config.models.items())}
    predictions = {name: _predict(config, name, features, fits[name]) for name in fits}
    counted = _statistics(features)
    total = Summary(
        name="statistics/total", flow="evaluate", version=2, config=StatisticsConfig(),
        reads=(Read(counted, ("split", "field", "measure", "value", "source")),), summarise=add_counts,
    )  # fmt: skip
    evaluations = [_evaluate(config, name, features, fits[name], predictions[name]) for name in fits]
    galleries = [_gallery(config, name, features, predictions[name]) for name in fits]
    tokens = [_tokens(config, name, features, fits[name]) for name in fits if has_tokens(config.models[name].kind)]
    vectors = [_vectors(name, features.embed[name]) for name in sorted(set(config.report.vectors))]
    sheets = [_contact_sheet(config, features)] if config.detect and config.report.contact_sheet else []
    return [
        *_feature_nodes(features), *fits.values(), *predictions.values(), counted, total, *evaluations, *galleries,
        *tokens, *sheets, *vectors,
    ]  # fmt: skip


def build_prediction(config: Config, model: str, source: SourceConfig, *, name: str) -> tuple[Fit, list[Node]]:
    """Return the trained model and the nodes that predict other documents with it; codebooks stay as fitted.

    Args:
        config: the configuration the model was trained with.
        model: its name there.
        source: the new documents.
        name: name of their documents dataset.
    """
    trained = _features(config, config.name, config.source)
    fit = _fit(model, config.models[model], trained)
    # Documents to predict belong to no split, and each of them is wanted, whatever its image shows.
    duplicates = config.duplicates.model_copy(update={"images": False})
    asked = config.model_copy(update={"split": SplitConfig(ignore_given=True), "duplicates": duplicates})
    fresh = _features(asked, name, source, trained=trained)
    wanted = _ancestors([read.node for read in fresh.reads(config.models[model], "labels")])
    nodes = [node for node in _feature_nodes(fresh) if node.name in wanted]
    return fit, [*nodes, _predict(config, model, fresh, fit)]


def _ancestors(nodes: list[Node]) -> set[str]:
    """Return the names of nodes and of all that they read, directly or not."""
    return {name for node in nodes for name in (node.name, *_ancestors([read.node for read in node.reads]))}


def _features(config: Config, name: str, source: SourceConfig, *, trained: Features | None = None) -> Features:
    """Return the datasets made from some documents; with `trained`, by what was fitted on others."""
    chosen = ingest_config(
        name, source, shard_size=config.shard_size, split=config.split, duplicates=config.duplicates,
        workers=config.run.workers,
    )  # fmt: skip
    documents = ingest_stage(f"documents/{name}", source, chosen)
    fields = Read(documents, ("title", "description", "text", "html"))
    cleaned = ShardStage(
        name="clean/text", flow="clean", version=1, config=config.clean, weights=cleaner_version(config.clean),
        reads=(fields,), transform=clean_documents, feature=Feature(Text, "text", "text"),
    )  # fmt: skip
    found = {name: _detect(name, spec, documents) for name, spec in sorted(config.detect.items())}
    read = {name: _embed_read(spec, documents, cleaned, found) for name, spec in sorted(config.embed.items())}
    encoders = trained.encoders if trained else _encoders(config, documents, read)
    embed = {name: _embed(name, config.embed[name], one, encoders) for name, one in read.items()}
    books = trained.codebooks if trained else {
        name: Fit(
            name=f"codebooks/{name}", flow="quantize", version=2, config=_filled(spec), fit=fit_codebook,
            reads=(Read(documents, ("split",)), Read(embed[spec.embedding], ("present", "embedding"))),
            fits=embed[spec.embedding].fits,
        )
        for name, spec in sorted(config.quantize.items())
    }  # fmt: skip
    quantize = {
        name: ShardStage(
            name=f"quantize/{name}", flow="quantize", version=1, config=_filled(spec), transform=encode,
            reads=(Read(embed[spec.embedding], ("present", "embedding", "status")),), fits=(books[name],),
            feature=Feature(Codes, "codes", _modality(config.embed[spec.embedding])),
        )
        for name, spec in sorted(config.quantize.items())
    }  # fmt: skip
    owners = {name: _owners(config, name, documents, embed, quantize[name]) for name in config.quantize}
    drift = {name: _drift(name, spec, owners[name]) for name, spec in config.quantize.items()}
    crops = {name: _crops(name, spec, documents, found) for name, spec in sorted(config.crops.items())}
    return Features(documents, cleaned, found, encoders, embed, crops, books, quantize, owners, drift)


def _feature_nodes(features: Features) -> list[Node]:
    by_codebook = (features.codebooks, features.quantize, features.owners, features.drift)
    quantized = [nodes[name] for name in features.quantize for nodes in by_codebook]
    elements = [*features.detect.values(), *features.crops.values()]
    embedded = [*features.encoders.values(), *features.embed.values()]
    return [features.documents, features.clean, *elements, *embedded, *quantized]


def _detect(name: str, spec: DetectConfig, documents: Ingest) -> ShardStage:
    return ShardStage(
        name=f"detect/{name}", flow="detect", version=1, config=spec, weights=detector_digest(spec),
        reads=(Read(documents, ("image",), ("image_digest",)),), transform=detect_elements,
        feature=Feature(Text, "text", "image"),
    )  # fmt: skip


def _crops(name: str, spec: CropsConfig, documents: Ingest, detect: dict[str, ShardStage]) -> ShardStage:
    elements = Read(detect[spec.detections], ("elements", "status", "present", "width", "height"))
    return ShardStage(
        name=f"crops/{name}", flow="detect", version=1, config=spec, weights=crop_digest(spec),
        reads=(Read(documents, ("image",), ("image_digest",)), elements), transform=embed_elements,
        feature=Feature(Ragged, "embeddings", "image"),
    )  # fmt: skip


def _embed_read(spec: EmbedConfig, documents: Ingest, cleaned: ShardStage, detect: dict[str, ShardStage]) -> Read:
    """Return what an embedding is made from."""
    if isinstance(spec, ImageEmbedConfig):
        return Read(documents, ("image",), ("image_digest",))
    if isinstance(spec, TabularEmbedConfig):
        return Read(documents, spec.reads())
    return Read(cleaned if spec.detections is None else detect[spec.detections], (spec.column,))


def _encoders(config: Config, documents: Ingest, read: dict[str, Read]) -> dict[str, Fit]:
    """Return the fits of columns and vocabularies: training rows of every shard, their split and what is encoded."""
    split = Read(documents, ("split",))
    fits: dict[str, Fit] = {}
    for name, spec in sorted(config.embed.items()):
        shared: Any = {"name": f"encoders/{name}", "flow": "embed", "version": 1}
        if isinstance(spec, TabularEmbedConfig):
            reads = (Read(documents, ("split", *read[name].columns)),)
            fits[name] = Fit(config=spec.fit_config(), fit=fit_tabular, reads=reads, **shared)
        elif isinstance(spec, IndexEmbedConfig):
            fits[name] = Fit(config=spec.fit_config(), fit=fit_vocabulary, reads=(split, read[name]), **shared)
    return fits


def _embed(name: str, spec: EmbedConfig, read: Read, encoders: dict[str, Fit]) -> ShardStage:
    transforms: dict[type[FrozenConfig], Transform | ImageTransform] = {
        ImageEmbedConfig: embed_documents, TextEmbedConfig: embed_texts, TabularEmbedConfig: embed_tabular,
        IndexEmbedConfig: embed_indices,
    }  # fmt: skip
    return ShardStage(
        name=f"embed/{name}", flow="embed", version=1, config=spec, reads=(read,), transform=transforms[type(spec)],
        weights=weights_digest(spec) if isinstance(spec, ImageEmbedConfig | TextEmbedConfig) else "",
        layout="parquet" if getattr(spec, "output", "vectors") == "indices" else "zarr",
        fits=(encoders[name],) if name in encoders else (), feature=_feature(spec),
    )  # fmt: skip


def _feature(spec: EmbedConfig) -> Feature:
    if getattr(spec, "output", "vectors") == "vectors":
        return Feature(Dense, "embedding", _modality(spec))
    return Feature(Ragged, "indices", _modality(spec))


def _modality(spec: EmbedConfig) -> str:
    """Return what an embedding is made from; words that a detector read in an image are of the image."""
    if isinstance(spec, TabularEmbedConfig):
        return "tabular"
    return "text" if isinstance(spec, TextEmbedConfig) and spec.field != "ocr" else "image"


def _owners(
    config: Config, name: str, documents: Ingest, embed: dict[str, ShardStage], codes: ShardStage
) -> ShardStage:
    spec = config.quantize[name]
    return ShardStage(
        name=f"owners/{name}", flow="quantize", version=1, fits=codes.fits, transform=count_owners, by_row=False,
        config=OwnersConfig(quantizer=spec.quantizer, typical=config.report.tokens.documents),
        reads=(
            Read(codes, ("present", "codes", "error")), Read(documents, ("status", "split")),
            Read(embed[spec.embedding], ("present", "embedding")),
        ),
    )  # fmt: skip


def _drift(name: str, spec: QuantizeConfig, owners: ShardStage) -> Summary:
    counts = Read(owners, ("token", "n", "n_train", "error", "error_train"))
    (book,) = owners.fits
    return Summary(
        name=f"drift/{name}", flow="quantize", version=1, reads=(counts,), fits=(book,), compares=book,
        config=MeasureConfig(codebook=name, quantizer=spec.quantizer, thresholds=spec.drift), summarise=measure_drift,
    )  # fmt: skip


def _fit(name: str, model: ModelConfig, features: Features) -> Fit:
    reads = features.reads(model, "split", "labels")
    fits = (*features.codebooks.values(), *features.encoders.values())
    books = tuple(fit for fit in fits if any(fit in read.node.upstream for read in reads))
    return Fit(
        name=f"models/{name}",
        flow="train",
        version=3,
        config=train_config(model),
        weights=start_digest(model.kind, model.options),
        reads=reads,
        fits=books,
        fit=fit_classifier,
    )


def _predict(config: Config, name: str, features: Features, fit: Fit) -> ShardStage:
    reads = features.reads(config.models[name], "labels")
    spec = PredictConfig(
        model=name, kind=config.models[name].kind, top_k=config.predictions.top_k
    )  # fmt: skip
    return ShardStage(
        name=f"predictions/{name}", flow="predict", version=2, config=spec, reads=reads, fits=(fit,), transform=predict
    )


def _statistics(features: Features) -> ShardStage:
    texts, columns = ("title", "description", "text", "html"), ("num_*", "cat_*")
    fields = ("split", "status", "source_file", "labels", "image", "image_digest", *texts, *columns)
    return ShardStage(
        name="statistics/shards", flow="evaluate", version=3, config=StatisticsConfig(), by_row=False,
        reads=(Read(features.documents, fields), Read(features.clean, ("status", "words"))), transform=count_shard,
    )  # fmt: skip


def _evaluate(config: Config, name: str, features: Features, fit: Fit, predictions: ShardStage) -> Summary:
    model = config.models[name]
    spec = EvaluateConfig(model=name, kind=model.kind, seed=model.seed, splits=config.evaluation.splits)
    scored = Read(predictions, ("label", "predicted", "rank", "loss", "importance"))
    return Summary(
        name=f"evaluation/{name}", flow="evaluate", version=3, config=spec, fits=(fit,), summarise=score_model,
        reads=(scored, Read(features.documents, ("status", "split", "labels"))),
    )  # fmt: skip


def _gallery(config: Config, name: str, features: Features, predictions: ShardStage) -> Summary:
    spec = GalleryConfig(count=config.report.gallery, seed=config.models[name].seed, split=config.report.split)
    shown = Read(predictions, ("model", "label", "score", "top_k", "importance"))
    known = ("status", "labels", "split")
    documents = Read(features.documents, (*known, "image"), (*known, "image_digest"))
    return Summary(
        name=f"gallery/{name}", flow="evaluate", version=1, config=spec, summarise=choose_examples,
        reads=(shown, documents, Read(features.clean, ("text",))),
    )  # fmt: skip


def _tokens(config: Config, name: str, features: Features, fit: Fit) -> Summary:
    kind = config.models[name].kind
    (book,) = (one.name for one in config.models[name].inputs() if one.kind is Codes)
    book = next(short for short, node in features.quantize.items() if node.name == book)
    quantizer: Any = config.quantize[book].parsed()
    parts, repeated, tokens = quantizer.parts, hasattr(quantizer, "repeats"), config.report.tokens
    spec = DictionaryConfig(model=name, kind=kind, parts=parts, repeated=repeated, tokens=tokens)
    counts = Read(features.owners[book], ("token", "n", "n_train", "typical"))
    return Summary(
        name=f"tokens/{name}", flow="evaluate", version=1, config=spec, fits=(fit,), summarise=describe_tokens,
        reads=(counts, Read(features.documents, ("image",), ("image_digest",))),
    )  # fmt: skip


def _vectors(name: str, embed: ShardStage) -> ShardStage:
    return ShardStage(
        name=f"{VECTORS}/{name}", flow="evaluate", version=1, config=VectorsConfig(), transform=export_vectors,
        reads=(Read(embed, ("present", "embedding")),),
    )  # fmt: skip


def _contact_sheet(config: Config, features: Features) -> Summary:
    kinds = {name: DETECTORS[spec.detector].finds for name, spec in sorted(config.detect.items())}
    found = (Read(features.detect[name], ("elements",)) for name in kinds)
    return Summary(
        name=CONTACT_SHEET, flow="evaluate", version=1, summarise=show_detections,
        config=ContactSheetConfig(kinds=kinds, count=config.report.contact_sheet),
        reads=(Read(features.documents, ("image",), ("image_digest",)), *found), weights=DECODER,
    )  # fmt: skip


def _filled(spec: QuantizeConfig) -> QuantizeConfig:
    """Return the codebook's configuration with every default written out, so that a changed default changes the key."""
    return spec.model_copy(update={"options": key_values(spec.parsed())})
