"""Tables of Zahavy et al. 2016 beside what runs found, and its claims as rules (Z-06 to Z-28)."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

from fuseline.reports.papers.cells import (
    HERE,
    PUBLISHED,
    Part,
    Value,
    labels,
    laid_out,
    mean_text,
    others,
    printed_cells,
    remarks,
)
from fuseline.reports.papers.claims import Mean
from fuseline.reports.papers.paper import Paper, Printed
from fuseline.reports.papers.printed import Cell, Row, Table
from fuseline.reports.papers.rows import ZAHAVY, models_of
from fuseline.reports.papers.rules import ABOVE, TINY, Claim, Difference, Facts, Region, averaged, paired, unpaired
from fuseline.reports.papers.runs import TEST, DataSet, mean_of_shares

WALMART, LETTER = "Walmart", "Z"
TEXT = "textcnn"  # the default of every decision
HIT, ACCURACY = "hit@1", "policy_accuracy"
# Metric of Table 1 -> its column of DECISIONS and its head.
TABLE_1 = {
    "text_hit@1": ("first_accuracy", "text"),
    "image_hit@1": ("others_accuracy", "image"),
    "policy_hit@1": ("accuracy", "policy"),
    "policy_gain": ("", "gain"),
    "oracle_hit@1": ("oracle_accuracy", "oracle"),
    ACCURACY: ("choice_accuracy", "choice right"),
}
SHOWN = {*TABLE_1, "layers", "q", HIT, "share"}
GAINS = {"policy_gain": ("accuracy", "first_accuracy")}
QUADRANTS = {
    "Z-quadrant-both": "both right", "Z-quadrant-text_only": "title only", "Z-quadrant-image_only": "image only",
    "Z-quadrant-none": "both wrong",
}  # fmt: skip
EQUAL = Region(-0.45, 0.45)  # points: 71.8 less 71.4 is the largest that the paper calls not significant, as printed
BELOW = Region(below=0)
ORACLE = 7.4  # points above the title: 77.5 less 70.1, the least of the paper
SIZES = ("policy_cp1_2", "policy_cp3_2", "policy_cp_all_2")
BEST, ACCURATE = "policy_cp3_2", "policy_cp3_2_q1"
RIVALS = (ACCURATE, "policy_cp3_2_q7", "policy_cp3_2_q10")
RAW = ("policy_text", "policy_image", "policy_both")


def _of_text(*names: str) -> Any:
    return lambda facts: (facts.over(name, TEXT) for name in names)


def _group(start: str) -> tuple[str, ...]:
    return tuple(one.model for one in ZAHAVY if one.group.startswith(start) and one.model)


CLAIMS = (
    Claim("1", "Two layers beat one", "two layers above one, over CP-1",
          lambda facts: [facts.over("policy_cp1_2", "policy_cp1_1")], ABOVE),
    Claim("2", "The number of class probabilities has no significant effect",
          "CP-1, CP-3 and CP-all within 0.4 points of each other",
          lambda facts: (facts.over(a, b) for a, b in combinations(SIZES, 2)), EQUAL),
    Claim("3a", "q = 5 is best", "CP-3 with q = 5 above q = 1, 7 and 10",
          lambda facts: (facts.over(BEST, name) for name in RIVALS), ABOVE),
    Claim("3b", "q = 1 has the most accurate policy", "choices of q = 1 right more often than of q = 5 and 10",
          lambda facts: facts.numbers["choices"], ABOVE),
    Claim("3c", "q = 1 gains nothing", "CP-3 with q = 1 within 0.4 points of the title", _of_text(ACCURATE), EQUAL),
    Claim("4", "Policies over text, image or both overfit and lose to text", "each below the title", _of_text(*RAW),
          BELOW),
    Claim("5", "Fixed decisions lose to text", "mean and maximum below the title", _of_text(*_group("Fixed")), BELOW),
    Claim("6", "Fusion of features ends below text alone", "every fusion of features below the title",
          _of_text(*_group("Fusion")), BELOW),
    Claim("7", "The oracle reaches 77.5 to 77.7", "the oracle at least 7.4 points above the title",
          lambda facts: facts.numbers["oracle"], Region(above=ORACLE - TINY)),
    Claim("8", "A policy beats text alone, 71.8 to 70.2 (the paper's result; not in its list)",
          "CP-3 with q = 5 above the title", _of_text(BEST), ABOVE),
)  # fmt: skip


def values_of(data: Sequence[DataSet]) -> list[Value]:
    """Return every cell of the tables: published, then those of each data set."""
    return [*_published(), *(value for one in data for value in _ours(one))]


def tables_of(data: Sequence[DataSet], values: Sequence[Value]) -> list[Printed]:
    """Return Table 1, the single networks and fusions of features, and the quadrants of Figure 3."""
    rows, names, notes = others(ZAHAVY, data), labels(LETTER), remarks(ZAHAVY, data)
    heads = {metric: head for metric, (_, head) in TABLE_1.items()}
    first = [Part(f"{WALMART}, published", PUBLISHED, {"layers": "layers", "q": "q", **heads}, bold=("policy_hit@1",))]
    first += [Part(one.title, HERE, heads, ("policy_hit@1",), ("policy_hit@1",)) for one in data]
    second = [Part(f"{WALMART}, published", PUBLISHED, {HIT: "hit@1"}, bold=(HIT,))]
    second += [Part(one.title, HERE, {HIT: "hit@1"}, (HIT,), (HIT,)) for one in data]
    return [
        Printed(
            "table1", "Table 1: decision policies",
            "Per cent of test documents whose most probable label is one of their own (hit@1), mean ± standard "
            "deviation over the seeds. Gain: of the policy over the text network. Oracle: right where either network "
            "is. Choice right: share of documents on which the image network is called exactly where it should be. "
            "Gap: the policy here less the published one.",
            laid_out(values, "1", parts=first, rows=rows, names=names, remarks=notes),
        ),
        Printed(
            "models", "Networks and fusions of features",
            "The same share for every model. For fusions of features the paper prints no figures: it says that all end "
            "below text alone.",
            laid_out(values, "text", parts=second, rows=rows, names=names, remarks=notes),
        ),
        Printed(
            "figure3", "Figure 3: who is right",
            "Per cent of test documents; the first of both networks is the title's.",
            _quadrant_table(values, data),
        ),
    ]  # fmt: skip


def facts_of(data: Sequence[DataSet]) -> list[Facts]:
    """Return what the claims are decided from: the published cells, then each data set."""
    printed = {**printed_cells(LETTER, "text"), **printed_cells(LETTER, "1")}
    rows = {model: known.row for model, known in models_of(ZAHAVY).items()}

    def over(model: str, other: str) -> Difference | None:
        hit = printed.get((rows[model], "policy_hit@1"))
        # The text network of a row is that of its own training run.
        base = printed.get((rows[model], "text_hit@1") if other == TEXT else (rows[other], "policy_hit@1"))
        return None if hit is None or base is None else Difference(f"{model} \u2212 {other}", hit - base)

    choices = []
    for name in (BEST, *RIVALS[1:]):
        a, b = (printed.get((rows[one], ACCURACY)) for one in (ACCURATE, name))
        if a is not None and b is not None:
            choices.append(Difference(f"{ACCURATE} \u2212 {name}, choices", a - b))
    gains = [
        Difference("oracle \u2212 text", value - printed[row, "text_hit@1"])
        for (row, metric), value in printed.items()
        if metric == "oracle_hit@1"
    ]
    return [Facts(WALMART, PUBLISHED, over, {"choices": choices, "oracle": gains}), *map(_facts, data)]


def _facts(data: DataSet) -> Facts:
    def over(model: str, other: str) -> Difference | None:
        own = data.decisions(model)
        first = own[0]["models"][0] if own and other == TEXT else other
        return data.over(model, first)

    choices = (averaged(_choices(data, name)) for name in (BEST, *RIVALS[1:]))
    return Facts(
        data.title, HERE, over, {"choices": [one for one in choices if one is not None], "oracle": _oracles(data)}
    )


def _choices(data: DataSet, name: str) -> list[Difference]:
    """Return by how much more often q = 1 chooses rightly than another q, in each run."""
    pairs = zip(data.decisions(ACCURATE), data.decisions(name), strict=False)
    return [
        unpaired(f"{ACCURATE} \u2212 {name}, choices", a["choice_accuracy"], b["choice_accuracy"], a["n"])
        for a, b in pairs
        if a["choice_accuracy"] is not None and b["choice_accuracy"] is not None
    ]


def _oracles(data: DataSet) -> list[Difference]:
    """Return by how much the oracle of the policy's networks is above the first of them."""
    rows = data.decisions(BEST) or data.decisions()[:1]
    gains = [(row, round((row["oracle_accuracy"] - row["first_accuracy"]) * row["n"])) for row in rows]
    found = averaged([paired(f"oracle \u2212 {row['models'][0]}", more, 0, row["n"]) for row, more in gains])
    return [] if found is None else [found]


def _published() -> Iterator[Value]:
    for table in ("1", "text", "fig3"):
        for (row, metric), value in printed_cells(LETTER, table).items():
            if metric in SHOWN:
                yield Value(table, f"{WALMART}, published", PUBLISHED, row, "", metric, Mean(value))


def _ours(data: DataSet) -> Iterator[Value]:
    known = models_of(others(ZAHAVY, [data]))
    first, text, third = (printed_cells(LETTER, table) for table in ("1", "text", "fig3"))
    for model, one in known.items():
        for metric, (column, _) in TABLE_1.items():
            if (mean := _decided(data, model, metric, column)) is not None:
                published = first.get((one.row, metric))
                yield Value("1", data.title, HERE, one.row, model, metric, mean, published)
        if (mean := data.score(model)) is not None and not data.decisions(model):
            yield Value("text", data.title, HERE, one.row, model, HIT, mean, text.get((one.row, HIT)))
    for row, share in _quadrants(data).items():
        yield Value("fig3", data.title, HERE, row, row, "share", share, third[row, "share"])


def _decided(data: DataSet, model: str, metric: str, column: str) -> Mean | None:
    rows = data.decisions(model)
    if column == "others_accuracy":
        values = [row[column][0] for row in rows if len(row[column]) == 1]
    elif metric in GAINS:
        a, b = GAINS[metric]
        values = [row[a] - row[b] for row in rows]
    else:
        return data.decided(model, column)
    return mean_of_shares(values)


def _quadrants(data: DataSet) -> dict[str, Mean]:
    """Return the shares on which both, the first, the second or none of the policy's two networks are right."""
    chosen = next((row["models"] for row in data.decisions(BEST) or data.decisions() if len(row["models"]) == 2), None)
    if chosen is None:
        return {}
    shares: dict[str, list[float]] = {row: [] for row in QUADRANTS}
    for run in data.runs:
        rows = [row for row in run.rows("quadrants", split=TEST) if row["label"] is None and row["models"] == chosen]
        counts = {tuple(row["right"]): row["n"] for row in rows}
        sets = (tuple(chosen), (chosen[0],), (chosen[1],), ())
        for name, right in zip(QUADRANTS, sets, strict=True):
            if rows:
                shares[name].append(counts.get(right, 0) / sum(counts.values()))
    means = {name: mean_of_shares(own) for name, own in shares.items()}
    return {name: mean for name, mean in means.items() if mean is not None}


def _quadrant_table(values: Sequence[Value], data: Sequence[DataSet]) -> Table:
    titles = [f"{WALMART}, published", *(one.title for one in data)]
    found = {(one.dataset, one.row): one for one in values if one.table == "fig3"}

    def cell(title: str, row: str) -> Cell:
        one = found.get((title, row))
        return Cell("" if one is None else mean_text(one.mean, one.metric))

    rows = [Row(label, "", [cell(title, row) for title in titles]) for row, label in QUADRANTS.items()]
    return Table([(title, 1) for title in titles], ["%"] * len(titles), [("Share of documents", rows)])


PAPER = Paper(
    letter=LETTER,
    title="Zahavy et al. 2016",
    rows=ZAHAVY,
    claims=CLAIMS,
    values=values_of,
    tables=tables_of,
    facts=facts_of,
    sections=("decisions", "maps"),
)
