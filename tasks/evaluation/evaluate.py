"""From predictions and labels to metrics: streamed shard by shard, counts only."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from fuseline.models.classifier import LINKS
from fuseline.models.columns import Logits
from fuseline.models.config import FrozenConfig, added
from fuseline.models.metrics.registry import Documents, counted, intervals, scores
from fuseline.models.metrics.scores import NOTHING, Tally, class_scores
from fuseline.models.scoring import every_class, single
from fuseline.stores.errors import AlignmentError, mismatch
from fuseline.stores.report_schemas import CLASSES, CONFUSION, IMPORTANCE
from fuseline.stores.schemas import RESULTS
from fuseline.tasks.engine.nodes import Context, Fit, Ingest, Node, Read, Shards, ShardStage, Summary, ordered
from fuseline.tasks.engine.rows import HALVES, in_split, split_of
from fuseline.tasks.evaluation.shard_streams import streams
from fuseline.tasks.label_parts import LabelsConfig, of_labels
from fuseline.tasks.stages.train import MULTI_LABEL, ModelConfig

ROLE = "evaluation"
TABLES = ("metrics", "classes", "confusion", "importance")


class EvaluateConfig(FrozenConfig):
    """Which model is scored, on which splits."""

    model: str
    kind: str
    seed: int
    splits: tuple[str, ...]
    every_class: bool = added(False)  # the model's logits are read too
    half: str | None = added(
        None, description="Half of its split that alone is scored, as the model learns from the other"
    )
    labels: LabelsConfig | None = added(None)  # that it learns: documents of others alone are not scored


def count(
    predictions: Iterator[pa.Table], documents: Iterator[pa.Table], *others: Iterator[pa.Table],
    splits: Sequence[str], multi_label: bool,
) -> dict[str, Tally]:  # fmt: skip
    """Return one tally per split; `others` is the stream of the model's logits, if any.

    Shards come in the same order from both sides. Documents without labels, or whose status is not `ok` (duplicates,
    bad rows), are not counted. Raises AlignmentError when the ids of a shard differ.
    """
    totals = {split: Tally() for split in splits}
    for guessed, known, *logits in zip(predictions, documents, *others, strict=True):
        check_ids(guessed, known)
        for split, rows in scored_rows(known, splits):
            scores = logits[0].filter(rows) if logits else None
            totals[split] += tallied(guessed.filter(rows), known.filter(rows), multi_label=multi_label, logits=scores)
    return totals


def scored_rows(documents: pa.Table, splits: Sequence[str]) -> Iterator[tuple[str, pa.ChunkedArray]]:
    """Yield each split with which rows (n,) bool of a shard of documents are scored in it: usable and labelled."""
    usable = pc.and_(pc.equal(documents["status"], "ok"), pc.greater(pc.list_value_length(documents["labels"]), 0))
    for split in splits:
        yield split, pc.fill_null(pc.and_(usable, pc.equal(documents["split"], split)), False)


def metric_table(
    tallies: dict[str, Tally], *, model: str, seed: int, multi_label: bool, fold: int | None = None,
    condition: str | None = None,
) -> pa.Table:  # fmt: skip
    """Return RESULTS rows of every metric; a 95 % interval follows as the metrics <name>_low and <name>_high."""
    rows = []
    fixed = {"model": model, "seed": seed, "fold": fold, "condition": condition}
    for split, counts in tallies.items():
        values = scores(counts, multi_label=multi_label)
        for name, interval in intervals(counts, multi_label=multi_label).items():
            values |= {f"{name}_low": (interval.low, counts.n), f"{name}_high": (interval.high, counts.n)}
        rows += [
            {**fixed, "split": split, "metric": metric, "value": value, "n": n} for metric, (value, n) in values.items()
        ]
    return pa.Table.from_pylist(rows, schema=RESULTS)


def class_table(tallies: dict[str, Tally], *, model: str) -> pa.Table:
    """Return CLASSES rows: precision, recall and F1 of every class per split."""
    rows = [
        {"model": model, "split": split, **score._asdict()}
        for split, counts in tallies.items()
        for score in class_scores(counts)
    ]
    return pa.Table.from_pylist(rows, schema=CLASSES)


def confusion_table(tallies: dict[str, Tally], *, model: str) -> pa.Table:
    """Return CONFUSION rows: how often documents of a label got which best label; `predicted` is null for none."""
    rows = [
        {"model": model, "split": split, "label": true, "predicted": None if best == NOTHING else best, "n": n}
        for split, counts in tallies.items()
        for (true, best), n in sorted(counts.confusion.items())
    ]
    return pa.Table.from_pylist(rows, schema=CONFUSION)


def importance(
    predictions: Iterator[pa.Table], documents: Iterator[pa.Table], *, model: str, splits: Sequence[str]
) -> pa.Table:
    """Return IMPORTANCE rows: mean share per modality in the decisions of a split; none if the model cannot compute it.

    A modality that a document does not mention had no share in its decision and counts as 0. Streams come as for
    `count`.
    """
    sums: dict[tuple[str, str], float] = {}
    n = dict.fromkeys(splits, 0)
    for guessed, known in zip(predictions, documents, strict=True):
        check_ids(guessed, known)
        for split in splits:
            mask = pc.fill_null(pc.equal(known["split"], split), False)
            shares = guessed.filter(mask)["importance"].combine_chunks()
            n[split] += pc.sum(pc.greater(pc.list_value_length(shares), 0)).as_py() or 0
            for modality, share in _summed(pc.list_flatten(shares)).items():
                sums[split, modality] = sums.get((split, modality), 0.0) + share
    rows = [
        {"model": model, "split": split, "modality": modality, "share": total / n[split], "n": n[split]}
        for (split, modality), total in sorted(sums.items())
    ]
    return pa.Table.from_pylist(rows, schema=IMPORTANCE)


def check_ids(predictions: pa.Table, documents: pa.Table) -> None:
    """Refuse predictions of other documents; raises AlignmentError."""
    if not predictions["id"].equals(documents["id"]):
        got = f"{len(predictions)} ids starting {predictions['id'][:3].to_pylist()}"
        expected = f"{len(documents)} ids starting {documents['id'][:3].to_pylist()}"
        raise AlignmentError(mismatch("predictions", expected, got, "predict again on these documents"))


def _summed(shares: pa.StructArray) -> dict[str, float]:
    table = pa.table({"modality": shares.field("modality"), "share": shares.field("share").cast(pa.float64())})
    summed = table.group_by("modality").aggregate([("share", "sum")])
    return dict(zip(summed["modality"].to_pylist(), summed["share_sum"].to_pylist(), strict=True))


def tallied(predictions: pa.Table, documents: pa.Table, *, multi_label: bool, logits: pa.Table | None = None) -> Tally:
    """Count predictions of labelled documents, row by row; with the model's logits, for metrics of every class too."""

    def column(table: pa.Table, name: str) -> pa.Array:
        return table[name].combine_chunks()

    best = column(predictions, "label")
    predicted = column(predictions, "predicted") if multi_label else single(best)
    given = (column(predictions, name) for name in ("score", "rank", "loss"))
    labels = column(documents, "labels")
    every = 2 * (pa.nulls(len(labels)),) if logits is None else _every_class(logits, labels)
    columns = [labels, predicted, best, *given, *every]
    return counted(Documents(*columns))


def _every_class(logits: pa.Table, labels: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return the fields `probabilities` and `own` of Documents, from a model's logits."""
    column = Logits.of(logits, "logits")
    names = pa.array(column.labels, pa.string())
    return every_class(LINKS[column.link](column.values), column.present, names, labels)


def score_model(shards: Shards, config: EvaluateConfig, context: Context) -> dict[str, pa.Table]:
    """Return metrics, class scores, confusion counts and importance of one model."""
    (facts,) = context.facts.values()
    multi_label = bool(facts[MULTI_LABEL])
    shards = of_labels(of_half(shards, config.half), config.labels)
    tallies = count(*streams(shards, 3 if config.every_class else 2), splits=config.splits, multi_label=multi_label)
    part = None if context.fold is None else context.fold.k
    return {
        "metrics": metric_table(tallies, model=config.model, seed=config.seed, multi_label=multi_label, fold=part),
        "classes": class_table(tallies, model=config.model),
        "confusion": confusion_table(tallies, model=config.model),
        "importance": importance(*streams(shards, 2), model=config.model, splits=config.splits),
    }


def of_half(shards: Shards, half: str | None, *, place: int = 1) -> Shards:
    """Return shards whose documents, the table at `place`, are of no split where they are the other half of one."""
    if half is None:
        return shards

    def kept() -> Iterator[list[pa.Table]]:
        for tables in shards():
            known = tables[place]
            other = pc.and_(pc.equal(known["split"], split_of(half)), pa.array(~in_split(known, half)))
            at = known.schema.get_field_index("split")
            split = pc.if_else(other, pa.scalar(None, pa.string()), known["split"])
            yield [*tables[:place], known.set_column(at, known.schema.field(at), split), *tables[place + 1 :]]

    return kept


def held_half(*nodes: Node) -> str | None:
    """Return the half of a split that alone may be scored, as something that nodes rest on learns from the other."""
    tuned = {node.rows.tune for node in ordered(nodes) if isinstance(node, Fit)}
    return next((name for name in sorted(tuned) if name in HALVES), None)


def unseen_splits(splits: Sequence[str], half: str | None) -> tuple[str, ...]:
    """Return what nothing may have learned from where splits are scored; scores on train are marked as such."""
    own = {} if half is None else {split_of(half): half}
    return tuple(own.get(split, split) for split in splits if split != "train")


def stage(
    name: str, spec: ModelConfig, predictions: ShardStage, documents: Ingest, *, splits: tuple[str, ...],
    logits: ShardStage | None = None,
) -> Summary:  # fmt: skip
    """Return the node of a model's scores; metrics that want every class need its logits.

    What rests on a fit to one half of valid is scored on the other.
    """
    half = held_half(predictions)
    config = EvaluateConfig(
        model=name, kind=spec.kind, seed=spec.seed, splits=splits, every_class=logits is not None, half=half,
        labels=spec.labels,
    )  # fmt: skip
    scored = Read(predictions, ("label", "score", "predicted", "rank", "loss", "importance"))
    whole = () if logits is None else (Read(logits, ("present", "logits")),)
    return Summary(
        role=ROLE, short=name, flow="evaluate", version=6, config=config, tables=TABLES, fits=predictions.fits,
        reads=(scored, Read(documents, ("status", "split", "labels")), *whole), summarise=score_model,
        unseen=unseen_splits(splits, half),
    )  # fmt: skip
