"""Tables of paper P, an autoencoder with attention on PetFinder, beside what runs found; its claims as rules."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any

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
from fuseline.reports.papers.published import published_rows
from fuseline.reports.papers.rows import PETFINDER, models_of
from fuseline.reports.papers.rules import ABOVE, Claim, Difference, Facts, mean_of
from fuseline.reports.papers.runs import TEST, DataSet, mean_of_shares

PETS, LETTER = "PetFinder", "P"
ACCURACY, MSE = "accuracy", "reconstruction_mse_normalized"
# Published row of Table 2 -> the inputs that its codes are made of; the picture is what is decoded.
DECODED = {
    "P-mse-visual": ("ae_visual", "Visual Feature only"),
    "P-mse-visual_tabular": ("mmae_two", "+ Tabular Feature"),
    "P-mse-visual_tabular_textual": ("mmae", "+ Textual Feature"),
}
PICTURE = "embed/pixels"


CLAIMS = (
    Claim("1", "Several inputs beat columns alone", "concatenation above each single input",
          lambda facts: (facts.over("concat", one) for one in ("tabular", "textual", "visual")), ABOVE),
    Claim("2", "Numbers as bins beat numbers", "concatenation over bins above that over numbers",
          lambda facts: [facts.over("concat_bins", "concat")], ABOVE),
    Claim("3", "Attention beats concatenation", "attention above concatenation, of the same inputs",
          lambda facts: [facts.over("attention", "concat")], ABOVE),
    Claim("4", "Codes of autoencoders enrich the input", "attention with codes of three autoencoders above without",
          lambda facts: [facts.over("attention_ae", "attention")], ABOVE),
    Claim("5", "Codes of one autoencoder of all inputs beat those of three",
          "attention with codes of one autoencoder above that with as many numbers of three",
          lambda facts: [facts.over("attention_mmae", "attention_ae")], ABOVE),
    Claim("6", "The whole beats the best single input", "attention with codes of one autoencoder above columns alone",
          lambda facts: [facts.over("attention_mmae", "tabular")], ABOVE),
    Claim("7", "Other inputs help to decode the picture",
          "each added input lowers the mean squared error of the decoded picture",
          lambda facts: facts.numbers["decoded"], ABOVE),
)  # fmt: skip


def values_of(data: Sequence[DataSet]) -> list[Value]:
    """Return every cell of the tables: published, then those of each data set."""
    title, printed = f"{PETS}, published", _printed()
    found = [Value("1", title, PUBLISHED, row, "", metric, mean) for (row, metric), mean in printed.items()]
    found += [
        Value("2", title, PUBLISHED, row, "", metric, Mean(value))
        for (row, metric), value in printed_cells(LETTER, "2").items()
    ]
    return [*found, *(value for one in data for value in _ours(one))]


def tables_of(data: Sequence[DataSet], values: Sequence[Value]) -> list[Printed]:
    """Return Table 1, accuracies, and Table 2, errors of the decoded picture."""
    rows, names, notes = others(PETFINDER, data), labels(LETTER), remarks(PETFINDER, data)
    names = {**names, "P-model2": "#2 Textual only"}  # the print repeats the name of #1
    first = [Part(f"{PETS}, published", PUBLISHED, {ACCURACY: "accuracy"}, bold=(ACCURACY,))]
    first += [Part(one.title, HERE, {ACCURACY: "accuracy"}, (ACCURACY,), (ACCURACY,)) for one in data]
    return [
        Printed(
            "table1", "Table 1: accuracy",
            "Per cent; mean ± standard deviation (n - 1) over the folds of a cross-validation where there is one, else "
            "on test over the seeds. The paper prints deviations as fractions; here they are points. Gap: here less "
            "published.",
            laid_out(values, "1", parts=first, rows=rows, names=names, remarks=notes),
        ),
        Printed(
            "table2", "Table 2: the decoded picture",
            "Mean squared error of test pictures, values 0 to 1, decoded of codes of the picture alone and with other "
            "inputs; share left: over the error of the mean training picture. The paper reads 512 x 512 pixels.",
            _decoded_table(data),
        ),
    ]  # fmt: skip


def facts_of(data: Sequence[DataSet]) -> list[Facts]:
    """Return what the claims are decided from: the published cells, then each data set."""
    printed, rows = _printed(), {model: one.row for model, one in models_of(PETFINDER).items()}

    def over(model: str, other: str) -> Difference | None:
        a, b = (printed.get((rows[name], ACCURACY)) for name in (model, other))
        return None if a is None or b is None else Difference(f"{model} \u2212 {other}", a.value - b.value)

    errors = [printed_cells(LETTER, "2")[row, MSE] for row in DECODED]
    lower = [Difference(f"{PETS}: error less", 100 * (a - b)) for a, b in pairwise(errors)]
    return [Facts(PETS, PUBLISHED, over, {"decoded": lower}), *map(_facts, data)]


def _printed() -> dict[tuple[str, str], Mean]:
    """Return (row, metric) of Table 1 -> its mean with its deviation in points."""
    found = {}
    for row in published_rows(LETTER, "1"):
        std = None if row["std"] is None else 100 * row["std"]
        found[row["row"], row["metric"]] = Mean(row["value"], std)
    return found


def _facts(data: DataSet) -> Facts:
    def over(model: str, other: str) -> Difference | None:
        own, theirs = data.folds(model), data.folds(other)
        both = [own[fold] - theirs[fold] for fold in own.keys() & theirs.keys()]
        return mean_of(f"{model} \u2212 {other}", both) if len(both) > 1 else data.over(model, other)

    errors = {row: _errors(data, codes) for row, (codes, _) in DECODED.items()}
    means = [fmean(own) if own else None for own in errors.values()]
    lower = [
        Difference("mean squared error less", 100 * (a - b))
        for a, b in pairwise(means)
        if a is not None and b is not None
    ]
    return Facts(data.title, HERE, over, {"decoded": lower})


def _ours(data: DataSet) -> Iterator[Value]:
    printed = _printed()
    for model, known in models_of(others(PETFINDER, [data])).items():
        folds = list(data.folds(model).values())
        mean = mean_of_shares(folds) if folds else data.score(model, data.right)
        if mean is not None:
            published = printed.get((known.row, ACCURACY))
            yield Value("1", data.title, HERE, known.row, model, ACCURACY, mean, published and published.value)
    for row, (codes, _) in DECODED.items():
        if own := _errors(data, codes):
            yield Value("2", data.title, HERE, row, codes, MSE, Mean(fmean(own)), printed_cells(LETTER, "2")[row, MSE])


def _errors(data: DataSet, codes: str) -> list[float]:
    return [row["mse"] for row in _decoded(data, codes) if row["mse"] is not None]


def _decoded(data: DataSet, codes: str) -> Iterator[dict[str, Any]]:
    for run in data.runs:
        yield from run.rows("reconstructions", split=TEST, codes=codes, input=PICTURE)


def _decoded_table(data: Sequence[DataSet]) -> Table:
    printed, rows = printed_cells(LETTER, "2"), []
    for row, (codes, label) in DECODED.items():
        cells = [Cell(f"{printed[row, MSE]:.5f}")]
        for one in data:
            found = [each for each in _decoded(one, codes) if each["mse"] is not None]
            left = [each["mse"] / each["mean_mse"] for each in found if each["mean_mse"]]
            cells += [Cell(f"{fmean(each['mse'] for each in found):.5f}" if found else "")]
            cells += [Cell(f"{100 * fmean(left):.1f}" if left else "")]
        rows.append(Row(label, codes, cells))
    heads = [(f"{PETS}, published", 1), *((one.title, 2) for one in data)]
    return Table(heads, ["error", *(["error", "left, %"] * len(data))], [("", rows)])


PAPER = Paper(
    letter=LETTER,
    title="Multi-modal autoencoder with attention on PetFinder",
    rows=PETFINDER,
    claims=CLAIMS,
    values=values_of,
    tables=tables_of,
    facts=facts_of,
    sections=("codes", "importance", "comparisons"),
)
