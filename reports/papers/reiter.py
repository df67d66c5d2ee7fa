"""Tables of Reiter et al. 2020, deep multi-modal sets, beside what runs found; its claims as rules (R-23 to R-29)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from fuseline.reports.papers.cells import HERE, PUBLISHED, Part, Value, laid_out, others, printed_cells, remarks
from fuseline.reports.papers.claims import Mean
from fuseline.reports.papers.paper import Paper, Printed
from fuseline.reports.papers.printed import Cell, Row, Table
from fuseline.reports.papers.published import published_rows
from fuseline.reports.papers.rows import REITER, Known, models_of
from fuseline.reports.papers.rules import ABOVE, Claim, Difference, Facts
from fuseline.reports.papers.runs import TEST, DataSet, mean_of_shares

LETTER = "R"
POOLINGS = ("max", "min", "sum")
Over = Callable[[str, str], Difference | None]


class Study(NamedTuple):
    """One of the paper's two data sets: its table, and what a model's name begins with."""

    table: str
    title: str
    prefix: str
    heads: dict[str, str]  # metric -> head of its column; the first ranks models
    scale: float  # of the printed numbers to per cent

    @property
    def rows(self) -> tuple[Known, ...]:
        """The rows of the table."""
        return tuple(one for one in REITER if one.model.startswith(self.prefix) or one.note.startswith(self.title))

    @property
    def metric(self) -> str:
        """What ranks models."""
        return next(iter(self.heads))

    def names(self) -> dict[str, str]:
        """Return row -> its name in the table: a row's number, its inputs and its pooling."""
        return {row["row"]: row["row_label"].replace(" | ", ": ") for row in published_rows(LETTER, self.table)}

    def printed(self) -> dict[tuple[str, str], float]:
        """Return (row, metric) -> per cent."""
        return {key: self.scale * value for key, value in printed_cells(LETTER, self.table).items()}


ADS = Study(
    "2", "Ads-Parallelity", "ads_",
    {"accuracy": "accuracy", "auc": "AUC", "accuracy_non_parallel": "non-parallel",
     "accuracy_parallel_equiv": "equivalent", "accuracy_parallel_non_equiv": "non-equivalent"}, 1.0,
)  # fmt: skip
IMDB = Study("3", "MM-IMDb", "imdb_", {"f1_micro": "F1 micro", "f1_macro": "macro", "f1_samples": "samples"}, 100.0)
STUDIES = (ADS, IMDB)
REFERENCES = "References"
FINER = "cat_finer"  # column of the finer relation, which `evaluation.by` names; its values by their letters alone
RELATIONS = {
    "nonparallel": "accuracy_non_parallel",
    "parallelequivalent": "accuracy_parallel_equiv",
    "parallelnonequivalent": "accuracy_parallel_non_equiv",
}

CLAIMS = (
    Claim("1", "Images and texts together beat either alone",
          "the best row over both above the best over images and the best over texts",
          lambda facts: facts.numbers["both"], ABOVE),
    Claim("2", "No pooling always wins",
          "rows that are pooled in several ways are not all best with the same one, by every metric of the table",
          lambda facts: facts.numbers["poolings"], ABOVE),
    Claim("4", "Sets do not grow with the number of elements",
          "fewer parameters than the concatenation that is padded to the most elements, over the same inputs",
          lambda facts: facts.numbers["sizes"], ABOVE),
    Claim("5", "The best row beats all references", "above each earlier model, by the first metric of the table",
          lambda facts: facts.numbers["references"], ABOVE),
)  # fmt: skip


def values_of(data: Sequence[DataSet]) -> list[Value]:
    """Return every cell of the tables: published, then those of each data set."""
    found = []
    for study in STUDIES:
        for (row, metric), value in study.printed().items():
            found.append(Value(study.table, f"{study.title}, published", PUBLISHED, row, "", metric, Mean(value)))
    return [*found, *(value for study in STUDIES for one in data for value in _ours(study, one))]


def tables_of(data: Sequence[DataSet], values: Sequence[Value]) -> list[Printed]:
    """Return Tables 2 and 3, and how large models are (R-26)."""
    notes, tables = remarks(REITER, data), list[Printed]()
    for study in STUDIES:
        parts = [Part(f"{study.title}, published", PUBLISHED, study.heads, bold=tuple(study.heads))]
        for one in (one for one in data if _reads(study, one)):
            measured = {value.metric for value in values if value.dataset == one.title and value.table == study.table}
            heads = {metric: head for metric, head in study.heads.items() if metric in measured}
            parts.append(Part(one.title, HERE, heads, tuple(heads), tuple(heads)))
        rows, names = _listed(study, data), study.names()
        tables.append(
            Printed(
                f"table{study.table}", f"Table {study.table}: {study.title}",
                "Per cent; mean ± standard deviation (n - 1) over the folds of a cross-validation where there is one, "
                "else on test over the seeds. Gap: here less published.",
                laid_out(values, study.table, parts=parts, rows=rows, names=names, remarks=notes),
            )
        )  # fmt: skip
    return [*tables, *([Printed("sizes", "Size of the models", SIZES, _size_table(data))] if data else [])]


SIZES = (
    "Parameters. Those of sets depend on their inputs alone, not on how many elements documents have, as those of the "
    "padded concatenation do. That the order of elements changes nothing (claim 3) is tested, not measured."
)


def facts_of(data: Sequence[DataSet]) -> list[Facts]:
    """Return what the claims are decided from: the published cells of each study, then each data set."""
    return [*map(_published, STUDIES), *(_facts(study, one) for study in STUDIES for one in data if _reads(study, one))]


def _published(study: Study) -> Facts:
    printed, rows = study.printed(), {one.model: one.row for one in study.rows if one.model and one.row}
    every = {(model, metric): printed[row, metric] for model, row in rows.items() for metric in study.heads
             if (row, metric) in printed}  # fmt: skip
    scores = {model: score for (model, metric), score in every.items() if metric == study.metric}

    def over(model: str, other: str) -> Difference | None:
        return Difference(f"{model} \u2212 {other}", scores[model] - scores[other])

    best = max(scores, key=lambda model: scores[model])
    earlier = [(one.row, printed[one.row, study.metric]) for one in study.rows
               if one.group == REFERENCES and (one.row, study.metric) in printed]  # fmt: skip
    references = [Difference(f"{best} \u2212 {row}", scores[best] - value) for row, value in earlier]
    numbers = {"both": _both(study, scores, over), "poolings": _poolings(study, every), "sizes": [],
               "references": references}  # fmt: skip
    return Facts(study.title, PUBLISHED, over, numbers)


def _facts(study: Study, data: DataSet) -> Facts:
    every = {(one.model, one.metric): one.mean.value for one in _ours(study, data)}
    scores = {model: score for (model, metric), score in every.items() if metric == study.metric}
    numbers = {"both": _both(study, scores, data.over), "poolings": _poolings(study, every),
               "sizes": _smaller(study, data), "references": []}  # fmt: skip
    return Facts(data.title, HERE, data.over, numbers)


def _both(study: Study, scores: Mapping[str, float], over: Over) -> list[Difference]:
    """Return by how much the best model over images and texts is right more often than the best over each alone."""
    groups = {one.model: one.group for one in study.rows}
    best: dict[str, str] = {}
    for model, score in scores.items():
        group = groups.get(model, "")
        if group in (IMAGES, TEXTS, BOTH) and score > scores.get(best.get(group, ""), float("-inf")):
            best[group] = model
    found = [over(best[BOTH], best[group]) for group in (IMAGES, TEXTS) if {BOTH, group} <= best.keys()]
    return [one for one in found if one is not None]


def _poolings(study: Study, scores: Mapping[tuple[str, str], float]) -> list[Difference]:
    """Return how many poolings are best somewhere, less one; nothing unless something was pooled in several ways.

    scores: (model, metric) -> per cent.
    """
    pooled: dict[tuple[str, str], dict[str, float]] = {}
    for (model, metric), score in scores.items():
        inputs, _, pooling = model.rpartition("_")
        if pooling in POOLINGS and model.startswith(study.prefix):
            pooled.setdefault((inputs, metric), {})[pooling] = score
    winners = [max(own, key=lambda name: own[name]) for own in pooled.values() if len(own) > 1]
    counts = {name: winners.count(name) for name in POOLINGS if name in winners}
    said = "best: " + ", ".join(f"{name} {count}" for name, count in counts.items())
    return [Difference(f"{said}; poolings beside one", len(counts) - 1)] if winners else []


def _smaller(study: Study, data: DataSet) -> list[Difference]:
    padded = _parameters(data, f"{study.prefix}padded")
    sets = [_parameters(data, one.model) for one in study.rows if one.row == LAST[study.table]]
    return [Difference("per cent fewer", 100 * (1 - own / padded)) for own in sets if own and padded]


def _ours(study: Study, data: DataSet) -> Iterator[Value]:
    printed = study.printed()
    for model, known in models_of(_listed(study, [data])).items():
        folds = list(data.folds(model).values()) if study.metric == data.right else []
        finer = _by_relation(data, model) if study is ADS else {}
        for metric in study.heads:
            mean = mean_of_shares(folds) if folds and metric == study.metric else data.score(model, metric)
            mean = finer.get(metric, mean)
            if mean is not None:
                published = printed.get((known.row, metric))
                yield Value(study.table, data.title, HERE, known.row, model, metric, mean, published)


def _by_relation(data: DataSet, model: str) -> dict[str, Mean | None]:
    """Return metric of Table 2 -> accuracy on the test documents of a finer relation, where they are grouped by it."""
    found: dict[str, list[float]] = {}
    for run in data.runs:
        for row in run.rows("groups", model=model, split=TEST, column=FINER, metric=ADS.metric):
            letters = "".join(filter(str.isalpha, row["group"].lower()))
            if letters in RELATIONS:
                found.setdefault(RELATIONS[letters], []).append(row["value"])
    return {metric: mean_of_shares(values) for metric, values in found.items()}


def _listed(study: Study, data: Sequence[DataSet]) -> tuple[Known, ...]:
    """Return the rows of a study, and other models of the data sets that have some of its rows."""
    return tuple(one for one in others(REITER, [one for one in data if _reads(study, one)])
                 if one in study.rows or one not in REITER)  # fmt: skip


def _reads(study: Study, data: DataSet) -> bool:
    return any(model.startswith(study.prefix) for model, *_ in data.scored)


def _parameters(data: DataSet, model: str) -> int:
    return int(data.models.get(model, {}).get("parameters") or 0)


def _size_table(data: Sequence[DataSet]) -> Table:
    groups = []
    for one in data:
        rows = [
            Row(study.names().get(known.row) or known.label, known.model, [Cell(f"{size:,}")])
            for study in STUDIES
            for known in study.rows
            if known.model and (size := _parameters(one, known.model))
        ]
        groups += [(one.title, rows)] if rows else []
    return Table([("", 1)], ["parameters"], groups)


IMAGES, TEXTS, BOTH = "Images", "Texts", "Images and texts"
LAST = {"2": "R-O11-max", "3": "R-O10-max"}  # rows over as many inputs as the concatenations read

PAPER = Paper(
    letter=LETTER,
    title="Reiter et al. 2020",
    rows=REITER,
    claims=CLAIMS,
    values=values_of,
    tables=tables_of,
    facts=facts_of,
    sections=("matrices", "comparisons"),
)
