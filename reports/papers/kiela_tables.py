"""Tables 1 to 5 of Kiela 2018 over several sweeps, as printed: data sets as columns, ours beside the published."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fuseline.reports.measures import MULTI, RIGHT, SINGLE
from fuseline.reports.papers.claims import Mean, Scored, Varied
from fuseline.reports.papers.kiela_data import PaperData
from fuseline.reports.papers.printed import Cell, Row, Table
from fuseline.reports.papers.published import FIRST_SHARD, SETS, accuracies, counts, minutes

COMPARED = ("food101", "mmimdb", FIRST_SHARD)  # the columns of Table 2
WHOLE = "flickrtag"  # the column of Table 4
GROUPS = {
    "Previous work": ("avg_tfidf", "gmu", "avg_probs"),
    "Baselines": ("text", "image"),
    "Continuous": ("additive", "max", "gated", "bilinear", "bilinear_gated"),
    "Discretized": ("pq", "rspq"),
}
OTHERS = "Not in the paper"
ROUNDED = 0.05  # points: what is printed as 0.0 may be as much


@dataclass(frozen=True)
class Column:
    """One data set of one source: the paper, or a sweep."""

    title: str  # of the data set
    source: str  # "published", or the name of the sweep
    published: str | None  # our name of the paper's data set
    kinds: Mapping[str, str] = field(default_factory=dict)  # model -> its kind
    scores: Mapping[str, Mean] = field(default_factory=dict)  # model -> points
    second: Mapping[str, Mean] = field(default_factory=dict)  # micro-F1 where documents have several labels
    times: Mapping[str, float] = field(default_factory=dict)  # model -> minutes if published, else seconds
    extra: Mapping[str, int] = field(default_factory=dict)  # model -> test documents right that text has wrong
    chosen: Mapping[str, str] = field(default_factory=dict)  # kind -> model of that kind that is best on valid
    varied: tuple[Varied, ...] = ()

    @cached_property
    def ratios(self) -> dict[str, float]:
        """Time of every model over that of `text`."""
        base = self.times.get(self.chosen.get("text", ""))
        return {model: time / base for model, time in self.times.items()} if base else {}

    def scored(self) -> Scored:
        """Return what the claims are decided from."""
        scores = {kind: self.scores[model] for kind, model in self.chosen.items() if model in self.scores}
        times = {kind: self.times[model] for kind, model in self.chosen.items() if model in self.times}
        return Scored(scores, times, self.varied)


def published_column(name: str) -> Column:
    """Return what the paper says of one of its data sets."""
    found, took = accuracies(name), minutes(name)
    scores = {kind: Mean(value, None if std is None else max(std, ROUNDED)) for kind, (_, value, std) in found.items()}
    own = dict.fromkeys([*found, *took])
    same = {kind: kind for kind in own}
    return Column(SETS[name], "published", name, same, scores, times=took, chosen=same)


def published_scores(name: str) -> Scored:
    """Return the paper's cells of a data set, as the claims read them."""
    return published_column(name).scored()


def study_column(study: PaperData) -> Column:
    """Return what a sweep found."""
    rows = study.scores.to_pylist()
    metric = RIGHT[MULTI if study.multi_label else SINGLE]
    kinds = {row["model"]: row["kind"] for row in rows}
    scores, second = _means(rows, metric), _means(rows, "f1_micro") if study.multi_label else {}
    measure = next((one for one in study.measures.to_pylist() if one["metric"] == study.metric), None)
    lower = measure is not None and measure["lower_is_better"]
    order = sorted((row for row in rows if row["valid"] is not None), key=lambda row: row["valid"], reverse=lower)
    return Column(
        title=SETS.get(study.published or "", study.title),
        source=study.title,
        published=study.published,
        kinds=kinds,
        scores=scores,
        second=second,
        times={row["model"]: row["seconds"] for row in study.times.to_pylist()},
        extra={row["model"]: row["extra_correct"] for row in rows if row["extra_correct"] is not None},
        chosen={row["kind"]: row["model"] for row in order},  # the last, that is the best, of a kind stays
        varied=tuple(_varied(row) for row in study.varied.to_pylist() if row["p_at_1"] is not None),
    )


def columns_of(studies: Iterable[PaperData], sets: Iterable[str] = COMPARED) -> list[Column]:
    """Return the columns of a table: each of the paper's sets with the sweeps of it, then those of other sets."""
    own = [study_column(study) for study in studies]
    columns = [one for name in sets for one in (published_column(name), *(o for o in own if o.published == name))]
    return [*columns, *(one for one in own if one.published not in SETS)]


def counts_table(studies: list[PaperData]) -> Table:
    """Return Table 1: documents and words per split."""
    splits = ("train", "valid", "test")
    known = {name: counts(name) for name in SETS}
    own = {study.title: {(row["split"], what): row[what] for row in study.data.to_pylist()
                         for what in ("documents", "words")} for study in studies}  # fmt: skip

    def row(label: str, found: Mapping[tuple[str, str], int]) -> Row:
        values = (found.get((split, what)) for split in splits for what in ("documents", "words"))
        return Row(label, "", [Cell("" if value is None else f"{value:,}") for value in values])

    printed = [row(SETS[name], known[name]) for name in SETS]
    ours = [row(_named(study), own[study.title]) for study in studies if own[study.title]]
    groups = [("Published", printed), *([("Here", ours)] if ours else [])]
    return Table([(split.capitalize(), 2) for split in splits], ["documents", "words"] * 3, groups)


def score_table(columns: list[Column]) -> Table:
    """Return Table 2: per cent of test documents whose best label is right, mean and deviation over the seeds."""
    cells = [_score_cells(column) for column in columns]
    return Table(_heads(columns, 1), [_where(column) for column in columns], _groups(columns, cells))


def time_table(columns: list[Column]) -> Table:
    """Return Table 3: training time and its ratio to text; the paper's minutes beside its one data set."""
    timed = [column for column in columns if column.times]
    names = [name for column in timed for name in (_unit(column), "× text")]
    cells = [_time_cells(column) for column in timed]
    return Table(_heads(timed, 2), names, _groups(timed, cells))


def whole_table(columns: list[Column]) -> Table:
    """Return Table 4: scores on the whole of FlickrTag, with the documents more than text that are right (K-36)."""
    names = [name for column in columns for name in (_where(column), "more right")]
    cells = [
        {model: [score[0], Cell(f"{column.extra[model]:+,}" if model in column.extra else "")]
         for model, score in _score_cells(column).items()}
        for column in columns
    ]  # fmt: skip
    return Table(_heads(columns, 2), names, _groups(columns, cells))


def number(value: float) -> str:
    """Print a time with three digits that count."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def mean_text(mean: Mean, printed: bool) -> str:
    """Print a score with its deviation; what the paper prints as 0.0 is printed so again."""
    if mean.std is None:
        return f"{mean.value:.1f}"
    std = 0.0 if printed and mean.std == ROUNDED else mean.std
    return f"{mean.value:.1f} ± {std:.1f}"


def _varied(row: dict[str, Any]) -> Varied:
    changed, kept = (_mean(row[name], row[f"{name}_std"]) for name in ("p_at_1", "chosen"))
    return Varied(row["model"], row["option"], row["value"], changed, kept)


def _mean(value: float, std: float | None) -> Mean:
    """Return shares as points."""
    return Mean(100 * value, None if std is None else 100 * std)


def _means(rows: list[dict[str, Any]], metric: str) -> dict[str, Mean]:
    return {row["model"]: _mean(row[metric], row[f"{metric}_std"]) for row in rows if row[metric] is not None}


def _named(study: PaperData) -> str:
    return f"{SETS[study.published]} ({study.title})" if study.published in SETS else study.title


def _where(column: Column) -> str:
    if column.source == "published":
        return column.source
    return "here" if column.source == column.title else f"here: {column.source}"


def _unit(column: Column) -> str:
    return "published, min" if column.source == "published" else "s"


def _heads(columns: list[Column], width: int) -> list[tuple[str, int]]:
    heads: list[tuple[str, int]] = []
    for column in columns:
        if heads and heads[-1][0] == column.title:
            heads[-1] = (column.title, heads[-1][1] + width)
        else:
            heads.append((column.title, width))
    return heads


def _score_cells(column: Column) -> dict[str, list[Cell]]:
    top = max((round(mean.value, 1) for mean in column.scores.values()), default=0.0)
    printed = column.source == "published"
    return {
        model: [Cell(mean_text(mean, printed) + _bracket(column.second.get(model)), round(mean.value, 1) == top)]
        for model, mean in column.scores.items()
    }


def _bracket(mean: Mean | None) -> str:
    return "" if mean is None else f" ({mean.value:.1f})"


def _time_cells(column: Column) -> dict[str, list[Cell]]:
    ratios = {model: f"{ratio:.1f}" for model, ratio in column.ratios.items()}
    return {model: [Cell(number(time)), Cell(ratios.get(model, ""))] for model, time in column.times.items()}


def _groups(columns: list[Column], cells: list[dict[str, list[Cell]]]) -> list[tuple[str, list[Row]]]:
    """Return the rows in the paper's order; a kind of which there are several models has a row for each."""
    labels = {kind: label for name in SETS for kind, (label, _, _) in accuracies(name).items()}
    widths = [len(next(iter(own.values()), [Cell()])) for own in cells]
    models: dict[str, dict[str, None]] = {}  # kind -> its models that have a cell, in order
    for column, own in zip(columns, cells, strict=True):
        for model in own:
            models.setdefault(column.kinds[model], {})[model] = None

    def row(kind: str, model: str) -> Row:
        found = (own.get(model) if column.kinds.get(model) == kind else None
                 for column, own in zip(columns, cells, strict=True))  # fmt: skip
        parts = (part or [Cell()] * width for part, width in zip(found, widths, strict=True))
        label = labels.get(kind, model)
        return Row(label, model if model != label else "", [cell for part in parts for cell in part])

    def rows(kinds: Collection[str]) -> list[Row]:
        ordered = (sorted(models.get(kind, ()), key=lambda model: (model not in kinds, model)) for kind in kinds)
        return [row(kind, model) for kind, own in zip(kinds, ordered, strict=True) for model in own]

    groups = {title: rows(kinds) for title, kinds in GROUPS.items()}
    groups[OTHERS] = rows(sorted(models.keys() - labels.keys()))
    return [(title, own) for title, own in groups.items() if own]
