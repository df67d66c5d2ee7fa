"""Tables over all shards: statistics, metrics with their class and confusion tables, gallery."""

from collections.abc import Iterator
from itertools import tee
from operator import itemgetter

import pyarrow as pa
import pyarrow.compute as pc

from fuseline.models.config import FrozenConfig
from fuseline.tasks.engine.nodes import Context, Shards
from fuseline.tasks.evaluation.contact_sheet import ContactSheetConfig, contact_sheet
from fuseline.tasks.evaluation.evaluate import class_table, confusion_table, count, importance, metric_table
from fuseline.tasks.evaluation.gallery import gallery
from fuseline.tasks.evaluation.statistics import merge, statistics
from fuseline.tasks.stages.predict import load_classifier


class StatisticsConfig(FrozenConfig):
    """Nothing to choose."""


class EvaluateConfig(FrozenConfig):
    """Which model is scored, on which splits."""

    model: str
    kind: str
    seed: int
    splits: tuple[str, ...]


class GalleryConfig(FrozenConfig):
    """Which examples are shown: `count` right ones, as many wrong ones and confident errors of one split."""

    count: int
    seed: int
    split: str


def count_shard(tables: list[pa.Table], config: StatisticsConfig, context: Context) -> pa.Table:
    """Count one shard of documents and cleaned texts; the counts of shards add."""
    documents, cleaned = tables
    return statistics(documents, cleaned)


def add_counts(shards: Shards, config: StatisticsConfig, context: Context) -> pa.Table:
    """Add the counts of all shards."""
    return merge(tables[0] for tables in shards())


def score_model(shards: Shards, config: EvaluateConfig, context: Context) -> pa.Table:
    """Return metrics, class scores, confusion counts and importance of one model in one table, columns prefixed."""
    (folder,) = context.checkpoints.values()
    multi_label = load_classifier(config.kind, folder).multi_label
    predictions, documents = _columns(shards, 2)
    tallies = count(predictions, documents, splits=config.splits, multi_label=multi_label)
    predictions, documents = _columns(shards, 2)
    shares = importance(predictions, documents, model=config.model, splits=config.splits)
    parts = {
        "metrics": metric_table(tallies, model=config.model, seed=config.seed, multi_label=multi_label),
        "classes": class_table(tallies, model=config.model),
        "confusion": confusion_table(tallies, model=config.model),
        "importance": shares,
    }
    named = [
        table.rename_columns([f"{name}.{column}" for column in table.column_names]) for name, table in parts.items()
    ]
    return pa.concat_tables(named, promote_options="default").combine_chunks()


def choose_examples(shards: Shards, config: GalleryConfig, context: Context) -> pa.Table:
    """Return the gallery of one model."""
    streams = _columns(shards, 3)
    return gallery(*streams, source=context.source, count=config.count, seed=config.seed, split=config.split)


def show_detections(shards: Shards, config: ContactSheetConfig, context: Context) -> pa.Table:
    """Return the contact sheet of all detectors."""
    return contact_sheet(shards(), config, source=context.source)


def part_of(evaluation: pa.Table, name: str) -> pa.Table:
    """Return one of the tables that `score_model` put together: metrics, classes, confusion or importance."""
    prefix = f"{name}."
    columns = [column for column in evaluation.column_names if column.startswith(prefix)]
    rows = evaluation.filter(pc.is_valid(evaluation[f"{prefix}model"])).select(columns)
    return rows.rename_columns([column.removeprefix(prefix) for column in columns])


def _columns(shards: Shards, n: int) -> list[Iterator[pa.Table]]:
    """Read every shard once and hand its tables out as n streams that are consumed in step."""
    return [map(itemgetter(i), stream) for i, stream in enumerate(tee(shards(), n))]
