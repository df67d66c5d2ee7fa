"""The DAG of a configuration: which stage reads which. Each stage's module defines its node."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Never, cast

from fuseline.flows.config import Config, EvaluationConfig
from fuseline.models.config import FrozenConfig
from fuseline.models.features import embedding_name, hidden_name
from fuseline.tasks.documents import ingest
from fuseline.tasks.documents.assignment import SplitConfig
from fuseline.tasks.documents.documents_node import SourceConfig
from fuseline.tasks.engine.leaks import check_leaks
from fuseline.tasks.engine.nodes import Fit, Ingest, Node, ShardStage, in_fold, ordered, over
from fuseline.tasks.engine.rows import HELD_OUT, Fold
from fuseline.tasks.evaluation import (
    class_importance,
    compare,
    contact_sheet,
    decisions,
    evaluate,
    gallery,
    groups,
    instances,
    label_leaks,
    maps,
    matrices,
    missing,
    quadrant_gallery,
    reconstruction,
    statistics,
    token_dictionary,
    value_errors,
)
from fuseline.tasks.evaluation.gallery import GalleryConfig
from fuseline.tasks.stages import (
    clean,
    codebook_drift,
    crops,
    detect,
    embed,
    embed_columns,
    embed_indices,
    hidden,
    importance,
    logits,
    predict,
    quantize,
    regression,
    token_counts,
    train,
    vector_tables,
)
from fuseline.tasks.stages.learned import LearnedConfig
from fuseline.tasks.stages.registry import STAGES, stages_in_order
from fuseline.tasks.stages.train import Readable, in_order, with_bases

EMBED: dict[type[FrozenConfig], Callable[[str, Never, embed.Sources], ShardStage]] = {
    embed.ImageEmbedConfig: embed.image_stage,
    embed.TextEmbedConfig: embed.text_stage,
    embed_columns.TabularEmbedConfig: embed_columns.stage,
    embed_indices.IndexEmbedConfig: embed_indices.stage,
}


def build(config: Config) -> list[Node]:
    """Return every node of the pipeline, each after what it reads; in `built_once`, those returned before."""
    built = _BUILT.get()
    if built is None:
        return _build(config)
    key = repr(config.model_dump())
    if key not in built:
        built[key] = _build(config)
    return list(built[key])


@contextmanager
def built_once() -> Iterator[None]:
    """Make `build` wire a configuration once in the block, so that weights are checked once, when it begins."""
    built = _BUILT.get()
    token = _BUILT.set({} if built is None else built)
    try:
        yield
    finally:
        _BUILT.reset(token)


def build_prediction(config: Config, model: str, source: SourceConfig, *, name: str) -> tuple[Fit, list[Node]]:
    """Return the trained model and the nodes that predict other documents with it; what was fitted stays as it is.

    Args:
        config: the configuration the model was trained with.
        model: its name there.
        source: the new documents.
        name: name of their documents dataset.
    """
    # Of the others some may lack weights, and no fold predicts other documents.
    trained = {"models": with_bases(config.models, model), "split": config.assignment, "evaluation": EvaluationConfig()}
    nodes = build(config.model_copy(update=trained))
    (prediction,) = (node for node in nodes if node.role == predict.ROLE and node.short == model)
    # Documents to predict belong to no split, and each of them is wanted, whatever its image shows.
    duplicates = config.duplicates.model_copy(update={"images": False})
    free = {"split": SplitConfig(ignore_given=True), "evaluation": EvaluationConfig(), "duplicates": duplicates}
    asked = config.model_copy(update=free)
    (fit,) = prediction.fits
    return fit, ordered([over(prediction, _documents(asked, name, source))], fitted=False)


def _build(config: Config) -> list[Node]:
    documents = _documents(config, config.name, config.source)
    cleaned = clean.stage(config.clean, documents)
    detected = {name: detect.stage(name, spec, documents) for name, spec in sorted(config.detect.items())}
    cropped = {
        name: crops.stage(name, spec, documents, detected[spec.detections])
        for name, spec in sorted(config.crops.items())
    }
    sources = embed.Sources(documents, cleaned, detected)
    embedded = {
        name: EMBED[type(spec)](name, cast(Never, spec), sources) for name, spec in sorted(config.embed.items())
    }
    features = Readable(documents, cleaned, detected, (*embedded.values(), *cropped.values()))
    for name in stages_in_order(config.stages):
        spec = config.stages[name]
        embedded[name] = STAGES[spec.stage].node(name, cast(Never, spec.parsed()), features)
        features = features._replace(others=(*features.others, embedded[name]))
    codes = {
        name: quantize.stage(name, spec, documents, embedded[spec.embedding])
        for name, spec in sorted(config.quantize.items())
    }
    representatives = config.report.tokens.documents
    counts = {
        name: token_counts.stage(
            name, spec, codes[name], documents, embedded[spec.embedding], representatives=representatives
        )
        for name, spec in config.quantize.items()
    }
    drift = {name: codebook_drift.stage(name, spec, counts[name]) for name, spec in config.quantize.items()}
    encoders = [fit for node in embedded.values() for fit in node.fits]
    quantized = [node for name in codes for node in (codes[name], counts[name], drift[name])]
    features = features._replace(others=(*embedded.values(), *codes.values(), *cropped.values()))
    fits, features = _fits(config, features)
    predictions = {
        name: predict.stage(name, spec, features, fits[name], top_k=config.predictions.top_k)
        for name, spec in sorted(config.models.items())
    }
    estimates = {name: regression.stage(name, spec, features) for name, spec in sorted(config.regressions.items())}
    nodes = ordered([
        documents, cleaned, *detected.values(), *cropped.values(), *encoders, *embedded.values(), *quantized,
        *fits.values(), *predictions.values(), *estimates.values(),
        *_results(config, features, fits, predictions, counts),
        *(value_errors.stage(name, config.regressions[name], node, documents, splits=config.evaluation.splits)
          for name, node in estimates.items()),
        *(vector_tables.stage(name, embedded[name]) for name in sorted(set(config.report.vectors))),
        *_folds(config, documents, predictions, drift.values()),
    ])  # fmt: skip
    check_leaks(nodes)
    return nodes


def _fits(config: Config, features: Readable) -> tuple[dict[str, Fit], Readable]:
    """Return the models by name, and the features with the logits and hidden vectors that some of them read."""
    fits, models = dict[str, Fit](), config.models
    read = {base for spec in models.values() for base in spec.reads_logits()}
    read |= {*models} if config.evaluation.auc else set()
    seen_inside = {base for spec in models.values() for base in spec.reads_hidden()} | {*config.report.maps.hidden}
    seen_inside |= {base for spec in config.regressions.values() for base in spec.hidden()}
    for name in in_order(models):
        spec, before = models[name], features
        fits[name] = train.stage(name, spec, features, fits)
        for stage, wanted in ((logits.stage, read), (hidden.stage, seen_inside)):
            if name in wanted:
                features = features._replace(others=(*features.others, stage(name, spec, before, fits[name])))
    return fits, features


def _folds(
    config: Config, documents: Ingest, predictions: Mapping[str, ShardStage], drift: Iterable[Node]
) -> Iterator[Node]:
    """Yield what a cross-validation makes again, fold by fold: the scores of every model, and all below a fit."""
    folds = config.evaluation.folds or 0
    scores = [
        evaluate.stage(name, spec, predictions[name], documents, splits=(HELD_OUT,))
        for name, spec in sorted(config.models.items())
    ]
    for k in range(folds):
        yield from in_fold([*drift, *scores], Fold(k, folds))


def _results(
    config: Config,
    features: Readable,
    fits: Mapping[str, Fit],
    predictions: Mapping[str, ShardStage],
    counts: Mapping[str, ShardStage],
) -> Iterator[Node]:
    """Yield the nodes of the report: scores, statistics, galleries and dictionaries."""
    documents, models, report = features.documents, sorted(config.models.items()), config.report
    evaluation = config.evaluation
    every_class = {node.short: node for node in features.others if node.role == logits.ROLE and evaluation.auc}
    yield statistics.stage(documents, features.clean)
    tabular = [spec for spec in config.embed.values() if isinstance(spec, embed_columns.TabularEmbedConfig)]
    if read := {column for spec in tabular for column in spec.reads()}:
        yield label_leaks.stage(documents, read)
    for name, spec in models:
        scores = every_class.get(name)
        yield evaluate.stage(name, spec, predictions[name], documents, splits=evaluation.splits, logits=scores)
    for name, spec in models if evaluation.by else ():
        yield groups.stage(name, spec, predictions[name], documents, splits=evaluation.splits, by=evaluation.by)
    alike = {name: predictions[name] for name, spec in models if spec.labels is None}  # scored on the same documents
    if evaluation.compare and len(alike) > 1:
        yield compare.stage(alike, documents, splits=evaluation.splits)
    yield from _decisions(config, features, predictions)
    if evaluation.missing is not None:
        for name, spec in models:
            yield missing.stage(name, spec, features, fits[name], evaluation.missing)
    yield from _importances(config, features, fits, predictions)
    for name, spec in models:
        examples = GalleryConfig(count=report.gallery, seed=spec.seed, split=report.split, labels=spec.labels)
        yield gallery.stage(name, examples, predictions[name], documents, features.clean)
    asked = {name: predictions[name] for name in config.quadrants}
    if len(asked) > 1 and report.gallery:
        yield quadrant_gallery.stage(
            asked, documents, features.clean, count=report.gallery, seed=models[0][1].seed, split=report.split
        )
    if models and (report.instances.count or report.instances.ids):
        yield instances.stage(
            predictions, documents, features.clean, report.instances, seed=models[0][1].seed, split=report.split
        )
    for name, spec in models:
        if token_dictionary.has_tokens(spec.kind):
            fit = fits[name]
            yield token_dictionary.stage(name, spec.kind, fit, counts, config.quantize, documents, report.tokens)
    for name, stage in sorted(config.stages.items()):
        if isinstance(stage.parsed(), LearnedConfig):
            (node,) = (node for node in features.others if node.column == embedding_name(name))
            yield reconstruction.stage(node, documents, evaluation.splits)
    mapped = {*map(embedding_name, report.maps.embeddings), *map(hidden_name, report.maps.hidden)}
    yield from (maps.stage(node, documents, report.maps, asked) for node in features.others if node.column in mapped)
    if config.detect and report.contact_sheet:
        yield contact_sheet.stage(config.detect, documents, features.detect, count=report.contact_sheet)


def _importances(
    config: Config, features: Readable, fits: Mapping[str, Fit], predictions: Mapping[str, ShardStage]
) -> Iterator[Node]:
    """Yield what inputs had in every prediction, its means by class, and the matrices of some documents."""
    asked, documents = config.evaluation.importance, features.documents
    if asked is None or not config.models:
        return
    told = {
        name: importance.stage(name, spec, features, fits[name], predictions[name], asked.methods)
        for name, spec in sorted(config.models.items())
    }
    yield from told.values()
    for name, node in told.items():
        yield class_importance.stage(name, node, documents, splits=config.evaluation.splits)
    detected = {name: (node, config.detect[name]) for name, node in features.detect.items()}
    yield matrices.stage(
        told, documents, features.clean, detected, split=config.report.split, count=config.report.gallery
    )


def _decisions(config: Config, features: Readable, predictions: Mapping[str, ShardStage]) -> Iterator[Node]:
    """Yield what looks into decisions between models; the first of those between the same models tells of these."""
    told: set[tuple[str, ...]] = set()
    for name, spec in sorted(config.models.items()):
        if decisions.is_between(spec.kind):
            models = spec.between()
            calibrated = tuple(one for one in models if all(one not in others for others in told))
            yield decisions.stage(
                name, spec, features, predictions[name], splits=config.evaluation.splits,
                first=not models or models not in told, calibrated=calibrated,
            )  # fmt: skip
            told.add(models)


def _documents(config: Config, name: str, source: SourceConfig) -> Ingest:
    return ingest.stage(
        name, source, shard_size=config.shard_size, split=config.assignment, duplicates=config.duplicates,
        workers=config.run.workers,
    )  # fmt: skip


_BUILT: ContextVar[dict[str, list[Node]] | None] = ContextVar("built", default=None)
