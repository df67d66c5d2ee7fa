"""What models lose when a part of their input is masked: in every document, at random, and class by class."""

from typing import Any, NamedTuple

import pyarrow.compute as pc
from markupsafe import Markup

from fuseline.reports.figures.difference_matrix import DifferenceMatrix, line
from fuseline.reports.markup import fill
from fuseline.reports.measures import Measure
from fuseline.reports.page_data import ReportData
from fuseline.reports.section import Section
from fuseline.stores.conditions import Masking, masking
from fuseline.stores.results import summary

MAX_CLASSES = 20
WHOLE = "nothing masked"
F1 = Measure("f1", "F1", unit="share")

TEMPLATE = """\
<p class="lead">{{ first.title|capitalize }} with nothing masked, and what is lost of it when a part of the input is masked in every document. The deeper the red, the larger the share that is lost; a model that does not read an input has no cell. Of a decision between models it is the answers of these that are masked, one model at a time.</p>
{% for part in parts %}
<h3>{{ part.split|capitalize }}</h3>
{{ part.everywhere.drawn() }}
{% if part.at_random %}
<h3>{{ part.split|capitalize }}: missing at random</h3>
<p class="note" style="margin:0 0 10px">Columns: the share of documents that lack the input, chosen by their ids.</p>
{{ part.at_random.drawn() }}
{% endif %}
{% if part.classes %}
<h3>{{ part.split|capitalize }}: by class</h3>
<p class="note" style="margin:0 0 10px">F1 of the classes of <em>{{ best }}</em> that lose most{% if part.others %}; {{ "{:,}".format(part.others) }} others lose less{% endif %}.</p>
{{ part.classes.drawn() }}
{% endif %}
{% endfor %}
"""

Scores = dict[tuple[str, str | None], float]  # (model, condition) -> mean of the headline metric


class MaskedPart(NamedTuple):
    """One split: all models with something masked everywhere, and what else was asked for."""

    split: str
    everywhere: DifferenceMatrix
    at_random: DifferenceMatrix | None
    classes: DifferenceMatrix | None
    others: int  # classes that are not shown


def masked_parts(data: ReportData) -> list[MaskedPart]:
    """Return one part per split that has rows with a condition, for the headline metric; folds are left out."""
    results, first = data.table("metrics"), data.measures.headline
    chosen = results.filter(pc.and_(pc.is_null(results["fold"]), pc.equal(results["metric"], first.metric)))
    splits: dict[str, Scores] = {}
    for row in summary(chosen).to_pylist():
        splits.setdefault(row["split"], {})[row["model"], row["condition"]] = row["mean"]
    return [_part(data, split, scores) for split, scores in sorted(splits.items()) if any(c for _, c in scores)]


def render(data: ReportData) -> Markup | None:
    """Return the section; None when nothing was masked."""
    parts = masked_parts(data)
    return fill(TEMPLATE, parts=parts, first=data.measures.headline, best=data.best) if parts else None


def _part(data: ReportData, split: str, scores: Scores) -> MaskedPart:
    first = data.measures.headline
    conditions = sorted({condition for _, condition in scores if condition is not None})
    masked = {condition: masking(condition) for condition in conditions}
    whole = [name for name, one in masked.items() if one is None or one.share == 1]
    models = sorted({model for model, condition in scores if condition is not None and (model, None) in scores})
    lines = [
        line(model, first, scores[model, None], [scores.get((model, condition)) for condition in whole])
        for model in models
    ]
    everywhere = DifferenceMatrix([WHOLE, *map(_head, whole)], lines)
    return MaskedPart(split, everywhere, _at_random(first, models, masked, scores), *_by_class(data, split))


def _at_random(
    first: Measure, models: list[str], masked: dict[str, Masking | None], scores: Scores
) -> DifferenceMatrix | None:
    """Return a row per model and input that is missing in shares of the documents, or None."""
    partly = [one for one in masked.values() if one is not None and one.share < 1]
    shares = [*sorted({one.share for one in partly}), 1.0]
    lines = []
    for model in models:
        for name in sorted({one.name for one in partly}):
            values = [scores.get((model, str(Masking(name, share)))) for share in shares]
            if any(value is not None for value in values):
                lines.append(line(f"{model} without {name}", first, scores[model, None], values))
    return DifferenceMatrix([WHOLE, *(f"{100 * share:g} %" for share in shares)], lines) if lines else None


def _by_class(data: ReportData, split: str) -> tuple[DifferenceMatrix | None, int]:
    """Return F1 of the classes of the best model that lose most, and how many others there are."""
    chosen = {"model": data.best, "split": split}
    whole = {row["label"]: row["f1"] for row in data.rows("classes", **chosen) if row["support"]}
    masked: dict[str, dict[str, Any]] = {}
    for row in data.rows("masked_classes", **chosen):
        if row["label"] in whole:
            masked.setdefault(row["label"], {})[row["condition"]] = row["f1"]
    conditions = sorted({name for by in masked.values() for name in by})
    worst = sorted(masked, key=lambda label: (min(masked[label].values()) - whole[label], label))
    lines = [
        line(label, F1, whole[label], [masked[label].get(name) for name in conditions]) for label in worst[:MAX_CLASSES]
    ]
    matrix = DifferenceMatrix([WHOLE, *map(_head, conditions)], lines) if lines else None
    return matrix, max(0, len(worst) - MAX_CLASSES)


def _head(condition: str) -> str:
    one = masking(condition)
    return condition if one is None else f"without {one.name}"


SECTION = Section(
    "conditions", "Masked", "scores of models when a part of their input is masked",
    ("metrics", "measures", "classes", "masked_classes"), render, heading="With a part of the input masked",
)  # fmt: skip
