"""Tables of Miller et al. 2020 beside what runs found, and its claims as rules (M-03, M-10 to M-24)."""

from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

import orjson

from fuseline.reports.papers.cells import (
    HERE,
    PUBLISHED,
    Part,
    Value,
    labels,
    laid_out,
    others,
    printed_cells,
    remarks,
)
from fuseline.reports.papers.claims import Mean
from fuseline.reports.papers.paper import Paper, Printed
from fuseline.reports.papers.printed import Cell, Row, Table
from fuseline.reports.papers.rows import MILLER, models_of
from fuseline.reports.papers.rules import ABOVE, Claim, Difference, Facts, Region, mean_of, unpaired
from fuseline.reports.papers.runs import TOP_5, DataSet
from fuseline.stores.conditions import masking

WEBVISION, LETTER = "WebVision 2.0", "M"
TOP_1S, TOP_5S = "top1_accuracy", "top5_accuracy"
OPTIMIZERS = {  # of Table 2, by published row; its batch sizes are in published.csv
    "M-inceptionv3": "Adagrad", "M-resnet50v2": "NAdam", "M-mobilenetv2": "NAdam", "M-use-dnn": "AdaMax",
    "M-bert-dnn": "NAdam", "M-inceptionv3-use": "Adagrad", "M-inceptionv3-bert": "Adagrad",
    "M-resnet50v2-use": "AdaMax", "M-resnet50v2-bert": "NAdam", "M-mobilenetv2-use": "AdaMax",
    "M-mobilenetv2-bert": "NAdam",
}  # fmt: skip
FIELDS = ("title", "description")
MINIMAL = Region(above=-5.0)  # points; the paper prints no figures and says "minimal"
IMAGES = tuple(one.model for one in MILLER if one.group.startswith("Images alone"))
TEXTS = tuple(one.model for one in MILLER if one.group.startswith("Texts alone"))
PAIRS = {f"{image}-{text.removesuffix('-dnn')}": (image, text) for image in IMAGES for text in TEXTS}

CLAIMS = (
    Claim("1", "Descriptions separate classes better than titles",
          "purity of the nearest others higher in vectors of descriptions than of titles",
          lambda facts: facts.numbers["descriptions"], ABOVE),
    Claim("2", "The tuning layer improves the separation",
          "purity higher behind the tuning layers of a text network than in the vectors of either text",
          lambda facts: facts.numbers["tuned"], ABOVE),
    Claim("3", "Each tower separates differently",
          "purity behind an image network differs from that behind a text network",
          lambda facts: facts.numbers["towers"], ABOVE),
    Claim("4", "One missing input costs little",
          "no network over images and texts loses 5 points or more without one input (the bound is ours)",
          lambda facts: facts.numbers["missing"], MINIMAL),
    Claim("5a", "Paired networks beat single ones", "each pair above both of its parts, top-1",
          lambda facts: (facts.over(pair, part) for pair, parts in PAIRS.items() for part in parts), ABOVE),
    Claim("5b", "The best network is a pair", "ResNet50V2-USE above every single network, top-1",
          lambda facts: (facts.over("resnet50v2-use", one) for one in (*IMAGES, *TEXTS)), ABOVE),
)  # fmt: skip


def values_of(data: Sequence[DataSet]) -> list[Value]:
    """Return every cell of the tables: published, then those of each data set."""
    found = []
    for table in "123":
        for (row, metric), value in printed_cells(LETTER, table).items():
            found.append(Value(table, f"{WEBVISION}, published", PUBLISHED, row, "", metric, Mean(value)))
    return [*found, *(value for one in data for value in _ours(one))]


def tables_of(data: Sequence[DataSet], values: Sequence[Value]) -> list[Printed]:
    """Return Tables 1 to 3, and the gains over single networks (M-12)."""
    rows, names, notes = others(MILLER, data), labels(LETTER), remarks(MILLER, data)
    heads = {TOP_1S: "top-1", TOP_5S: "top-5"}
    both = (TOP_1S, TOP_5S)
    parts = [Part(f"{WEBVISION}, published", PUBLISHED, heads, bold=both)]
    parts += [Part(one.title, HERE, heads, both, both) for one in data]
    best = ", ".join(f"{run.best} by {run.measures.headline.title} ({one.title})"
                     for one in data for run in one.runs[-1:] if run.best)  # fmt: skip
    return [
        Printed("table1", "Table 1: missing texts",
                "Documents without a title or a description, by where they come from.", _missing_table(data)),
        Printed("table2", "Table 2: optimiser and batch", "As published, and as the models here were configured.",
                _training_table(data, names)),
        Printed("table3", "Table 3: top-1 and top-5 accuracy",
                "Per cent of test documents, mean ± standard deviation over the seeds; the best of a column in bold. "
                f"Gap: here less published. Best on valid: {best or 'of none'}.",
                laid_out(values, "3", parts=parts, rows=rows, names=names, remarks=notes)),
        Printed("gains", "Gain of pairs over single networks",
                "Top-5 of each pair less the mean top-5 of all single networks; published for ResNet50V2-USE: +17.05.",
                _gain_table(values, data, names)),
    ]  # fmt: skip


def facts_of(data: Sequence[DataSet]) -> list[Facts]:
    """Return what the claims are decided from: the published cells, then each data set."""
    printed, rows = printed_cells(LETTER, "3"), {model: one.row for model, one in models_of(MILLER).items()}

    def over(model: str, other: str) -> Difference | None:
        a, b = (printed.get((rows[name], TOP_1S)) for name in (model, other))
        return None if a is None or b is None else Difference(f"{model} \u2212 {other}", a - b)

    none: dict[str, list[Difference]] = {name: [] for name in ("descriptions", "tuned", "towers", "missing")}
    return [Facts(WEBVISION, PUBLISHED, over, none), *map(_facts, data)]


def _facts(data: DataSet) -> Facts:
    tuned = [f"hidden/{name}" for name in TEXTS]
    texts = ("embed/description", "embed/title")
    towers = [(f"hidden/{image}", f"hidden/{text}") for image in IMAGES for text in TEXTS]
    numbers = {
        "descriptions": _purer(data, [texts]),
        "tuned": _purer(data, [(one, text) for one in tuned for text in texts]),
        "towers": [one if one.value >= 0 else one.negated(one.said) for one in _purer(data, towers)],
        "missing": list(_missing(data)),
    }
    return Facts(data.title, HERE, data.over, numbers)


def _purer(data: DataSet, pairs: Sequence[tuple[str, str]]) -> list[Difference]:
    """Return by how much purer vectors are than others, over the documents that both have on their maps."""
    found = []
    for a, b in pairs:
        for run in reversed(data.runs):
            first, second = ({row["id"]: row["purity"] for row in run.rows("maps", vectors=name)} for name in (a, b))
            both = [i for i, purity in first.items() if purity is not None and second.get(i) is not None]
            one = mean_of(f"purity {a} \u2212 {b}", [first[i] - second[i] for i in both])
            if one is not None:
                found.append(one)
                break
    return found


def _missing(data: DataSet) -> Iterator[Difference]:
    """Yield what networks over images and texts lose of their score where one input is masked in every document."""
    for model, condition, metric in data.scored:
        masked = None if condition is None else masking(condition)
        whole, less = data.score(model), data.score(model, condition=condition)
        if model in PAIRS and metric == data.right and masked is not None and masked.share == 1 and whole and less:
            said = f"{model} without {masked.name}"
            yield unpaired(said, less.value / 100, whole.value / 100, data.documents(model))


def _ours(data: DataSet) -> Iterator[Value]:
    batches, scores = printed_cells(LETTER, "2"), printed_cells(LETTER, "3")
    for model, known in models_of(others(MILLER, [data])).items():
        if (batch := _options(data, model).get("batch")) is not None and known.row:
            published = batches.get((known.row, "batch_size"))
            yield Value("2", data.title, HERE, known.row, model, "batch_size", Mean(batch), published)
        for metric, own in ((TOP_1S, data.right), (TOP_5S, TOP_5)):
            if (mean := data.score(model, own)) is not None:
                yield Value("3", data.title, HERE, known.row, model, metric, mean, scores.get((known.row, metric)))
    for source, field, share, _ in _missing_texts(data):
        yield Value("1", data.title, HERE, "", f"{source or '(top)'}, {field}", "missing_share", Mean(share))


def _options(data: DataSet, model: str) -> dict[str, Any]:
    text = data.models.get(model, {}).get("options")
    found: dict[str, Any] = orjson.loads(text) if text else {}
    return found


def _missing_texts(data: DataSet) -> list[tuple[str, str, float, int]]:
    """Return (folder of the source, field, per cent missing, count missing) of the last run."""
    counts: dict[tuple[str, str, str], int] = {}
    for row in data.runs[-1].rows("statistics"):
        key = row["source"] or "", row["field"], row["measure"]
        counts[key] = counts.get(key, 0) + row["value"]
    sources = sorted({source for source, *_ in counts})
    found = []
    for source in sources:
        documents = counts.get((source, "documents", "documents"), 0)
        for field in FIELDS:
            missing = counts.get((source, field, "missing"))
            if documents and missing is not None:
                found.append((source, field, 100 * missing / documents, missing))
    return found


def _missing_table(data: Sequence[DataSet]) -> Table:
    printed, names = printed_cells(LETTER, "1"), labels(LETTER)
    rows = [
        Row(names[row], "", [Cell(f"{printed[row, 'missing_count']:,.0f}"), Cell(f"{share:.1f}")])
        for (row, metric), share in printed.items()
        if metric == "missing_share"
    ]
    groups = [(f"{WEBVISION}, published", rows)]
    for one in data:
        own = [Row(f"{source or 'all'}, {field}s", "", [Cell(f"{count:,}"), Cell(f"{share:.1f}")])
               for source, field, share, count in _missing_texts(one)]  # fmt: skip
        groups += [(one.title, own)] if own else []
    return Table([("Missing", 2)], ["documents", "%"], groups)


def _training_table(data: Sequence[DataSet], names: dict[str, str]) -> Table:
    batches = printed_cells(LETTER, "2")
    groups: dict[str, list[Row]] = {}
    for known in MILLER:
        cells = [Cell(OPTIMIZERS[known.row]), Cell(f"{batches[known.row, 'batch_size']:.0f}")]
        for one in data:
            options = _options(one, known.model)
            cells += [Cell(str(options.get(name, ""))) for name in ("optimizer", "batch")]
        groups.setdefault(known.group, []).append(Row(names[known.row], known.model, cells))
    titles = [f"{WEBVISION}, published", *(one.title for one in data)]
    return Table([(title, 2) for title in titles], ["optimiser", "batch"] * len(titles), list(groups.items()))


def _gain_table(values: Sequence[Value], data: Sequence[DataSet], names: dict[str, str]) -> Table:
    rows = {known.model: known.row for known in MILLER}
    titles = [f"{WEBVISION}, published", *(one.title for one in data)]
    found = {(one.dataset, one.row): one.mean.value for one in values if one.metric == TOP_5S and one.row}
    alone = [rows[name] for name in (*IMAGES, *TEXTS)]
    singles = {title: fmean(found[title, row] for row in alone) for title in titles
               if all((title, row) in found for row in alone)}  # fmt: skip

    def cell(title: str, model: str) -> Cell:
        value, base = found.get((title, rows[model])), singles.get(title)
        return Cell("" if value is None or base is None else f"{value - base:+.2f}")

    own = [Row(names[rows[model]], model, [cell(title, model) for title in titles]) for model in PAIRS]
    return Table([(title, 1) for title in titles], ["points"] * len(titles), [("Images and texts", own)])


PAPER = Paper(
    letter=LETTER,
    title="Miller et al. 2020",
    rows=MILLER,
    claims=CLAIMS,
    values=values_of,
    tables=tables_of,
    facts=facts_of,
    sections=("conditions", "groups", "maps"),
)
