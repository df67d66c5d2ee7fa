"""Scores of documents that share a value of a column: of each source, or of each kind (paper M, bias by class)."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from fuseline.models.config import FrozenConfig, added
from fuseline.models.metrics.registry import scores
from fuseline.models.metrics.scores import Tally
from fuseline.stores.errors import DataError, mismatch
from fuseline.stores.score_schemas import GROUPS
from fuseline.tasks.engine.nodes import Context, Ingest, Read, Shards, ShardStage, Summary
from fuseline.tasks.evaluation.evaluate import check_ids, held_half, of_half, scored_rows, tallied, unseen_splits
from fuseline.tasks.evaluation.statistics import UNASSIGNED, origins
from fuseline.tasks.label_parts import LabelsConfig, of_labels
from fuseline.tasks.stages.train import MULTI_LABEL, ModelConfig

ROLE = "groups"
SOURCE = "source"  # stands for the first folder that a document comes from
LARGEST = 100  # groups of a column that are told apart
OTHERS = "(others)"


class GroupsConfig(FrozenConfig):
    """Whose documents are grouped, by which columns."""

    model: str
    splits: tuple[str, ...]
    by: tuple[str, ...]
    half: str | None = added(None)  # of its split that alone is scored
    labels: LabelsConfig | None = added(None)  # that it learns: documents of others alone are not scored


def checked_column(name: str) -> str:
    """Return the name of a column that documents can be grouped by; raises ValueError for another."""
    if name != SOURCE and not name.startswith("cat_"):
        raise ValueError(f"expected {SOURCE!r} or a column of the source, cat_*, got {name!r}; name one of these")
    return name


def values(documents: pa.Table, column: str) -> pa.ChunkedArray:
    """Return the group of each document (n,) string."""
    if column == SOURCE:
        return origins(documents["source_file"])
    given = documents[column] if column in documents.column_names else pa.nulls(len(documents), pa.string())
    return pc.fill_null(given.cast(pa.string()), UNASSIGNED)


def count_groups(shards: Shards, config: GroupsConfig, *, multi_label: bool) -> dict[tuple[str, str], dict[str, Tally]]:
    """Return (split, column) -> group -> its tally. Raises DataError for a column that no shard has."""
    totals: dict[tuple[str, str], dict[str, Tally]] = defaultdict(lambda: defaultdict(Tally))
    missing, seen = {name for name in config.by if name != SOURCE}, False
    for guessed, documents in of_labels(of_half(shards, config.half), config.labels)():
        check_ids(guessed, documents)
        missing, seen = missing - {*documents.column_names}, True
        for split, rows in scored_rows(documents, config.splits):
            own, answers = documents.filter(rows), guessed.filter(rows)
            for column in config.by:
                groups = values(own, column)
                for group in pc.unique(groups).to_pylist():
                    mask = pc.equal(groups, group)
                    tally = tallied(answers.filter(mask), own.filter(mask), multi_label=multi_label)
                    totals[split, column][group] += tally
    if missing and seen:
        cure = "the column `kind` of a source is cat_kind, if source.options.tabular says that it is a category"
        raise DataError(mismatch("evaluation.by", "columns of the documents", min(missing), cure))
    return totals


def largest(tallies: dict[str, Tally]) -> dict[str, Tally]:
    """Return the tallies of the largest groups, the others as one."""
    sizes = Counter({group: tally.n for group, tally in sorted(tallies.items())})
    kept = {group for group, _ in sizes.most_common(LARGEST)}
    others = [tally for group, tally in tallies.items() if group not in kept]
    named = {group: tally for group, tally in sorted(tallies.items()) if group in kept}
    return {**named, OTHERS: sum(others, Tally())} if others else named


def score_groups(shards: Shards, config: GroupsConfig, context: Context) -> dict[str, pa.Table]:
    """Return the metrics of every group."""
    (facts,) = context.facts.values()
    multi_label = bool(facts[MULTI_LABEL])
    totals = count_groups(shards, config, multi_label=multi_label)
    return {ROLE: pa.Table.from_pylist(list(_rows(totals, config, multi_label=multi_label)), schema=GROUPS)}


def _rows(
    totals: dict[tuple[str, str], dict[str, Tally]], config: GroupsConfig, *, multi_label: bool
) -> Iterator[dict[str, object]]:
    for (split, column), tallies in totals.items():
        for group, tally in largest(tallies).items():
            fixed = {"model": config.model, "split": split, "column": column, "group": group}
            for metric, (value, n) in scores(tally, multi_label=multi_label).items():
                yield {**fixed, "metric": metric, "value": value, "n": n}


def stage(
    name: str, spec: ModelConfig, predictions: ShardStage, documents: Ingest, *, splits: tuple[str, ...],
    by: Sequence[str],
) -> Summary:  # fmt: skip
    """Return the node of a model's scores by group."""
    config = GroupsConfig(model=name, splits=splits, by=tuple(by), half=held_half(predictions), labels=spec.labels)
    columns = ("status", "split", "labels", "source_file", *(column for column in by if column != SOURCE))
    return Summary(
        role=ROLE, short=name, flow="evaluate", main=False, version=1, config=config, tables=(ROLE,),
        fits=predictions.fits, summarise=score_groups,
        reads=(Read(predictions, ("label", "score", "predicted", "rank", "loss")), Read(documents, columns)),
        unseen=unseen_splits(splits, config.half),
    )  # fmt: skip
