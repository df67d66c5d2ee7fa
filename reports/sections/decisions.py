"""Decisions between models: beside each model and their oracle, who is right where, and what asking fewer saves."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from fuseline.reports.figures.curves import Curve, curves
from fuseline.reports.markup import fill, p_text
from fuseline.reports.page_data import ReportData
from fuseline.reports.quadrants import quadrant
from fuseline.reports.section import Section

MOST = 20  # labels whose quadrants are shown
EVERY = 2  # of the stored rates one in so many is shown
DRAWN = 6  # curves that are drawn, those that lie highest; the table has all
TEMPLATE = """\
<p class="lead">Share of documents whose most probable label is one of their own. The first model is the default; the oracle is right where any of the models is, so no decision between them can be better. A choice is right where another model decides exactly when it is right and the first is wrong.</p>
{% for table in decisions %}
<h3>{{ table.title }}, {{ table.split }}</h3>
<div class="scroll"><table>
<thead><tr><th>decision</th><th class="n">right</th><th class="n">against {{ table.first }}</th><th class="n">against best</th><th>best of them</th><th class="n">p</th><th class="n">others decide</th><th class="n">choice right</th><th class="n">balanced</th><th class="n">AUC</th><th class="n">precision</th><th class="n">recall</th></tr></thead>
<tbody>
{% for name, share in table.singles %}<tr><td>{{ name }}</td><td class="n">{{ share }}</td>{{ "<td></td>"|safe * 10 }}</tr>
{% endfor %}
{% for row in table.rows %}<tr><td>{{ row.model }}</td><td class="n">{{ row.accuracy }}</td><td class="n">{{ row.gain }}</td><td class="n">{{ row.over_best }}</td><td>{{ row.best }}</td>{% for text in row.texts %}<td class="n">{{ text }}</td>{% endfor %}</tr>
{% endfor %}
<tr><td>oracle</td><td class="n">{{ table.oracle }}</td><td class="n">{{ table.oracle_gain }}</td>{{ "<td></td>"|safe * 9 }}</tr>
</tbody></table></div>
<p class="note">{{ "{:,}".format(table.n) }} documents. p: McNemar's exact test against the model that is best on valid. Balanced: mean of the shares of right choices where another model should decide and elsewhere.</p>
{% endfor %}
{% for table in quadrants %}
<h3>Who is right, {{ table.split }}: {{ table.title }}</h3>
<div class="scroll"><table>
<thead><tr><th>label</th><th class="n">documents</th>{% for name in table.columns %}<th class="n">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>{% for label, n, texts in table.rows %}<tr><td>{{ label|breakable }}</td><td class="n">{{ "{:,}".format(n) }}</td>{% for text in texts %}<td class="n">{{ text }}</td>{% endfor %}</tr>{% endfor %}</tbody>
</table></div>
{% if table.left %}<p class="note">The {{ most }} most frequent labels of {{ table.left + most }}.</p>{% endif %}
{% endfor %}
{% for table in curves %}
<h3>How often the second model is asked, {{ table.split }}: {{ table.title }}</h3>
{{ table.figure or "" }}
<div class="scroll"><table>
<thead><tr><th>asked by</th>{% for rate in table.rates %}<th class="n">{{ rate }}</th>{% endfor %}</tr></thead>
<tbody>{% for name, texts in table.rows %}<tr><td>{{ name }}</td>{% for text in texts %}<td class="n">{{ text }}</td>{% endfor %}</tr>{% endfor %}</tbody>
</table></div>
<p class="note">Accuracy when this share of the documents goes to the second model, those most wished for first. {{ table.saved }}</p>
{% endfor %}
{% if calibration %}
<h3>Calibration</h3>
<div class="scroll"><table>
<thead><tr><th>model</th><th>split</th><th class="n">documents</th><th class="n">temperature</th><th class="n">ECE</th><th class="n">at the temperature</th></tr></thead>
<tbody>{% for row in calibration %}<tr><td>{{ row.model }}</td><td>{{ row.split }}</td><td class="n">{{ "{:,}".format(row.n) }}</td><td class="n">{{ "%.2f"|format(row.temperature) }}</td><td class="n">{{ "%.3f"|format(row.ece_before) }}</td><td class="n">{{ "%.3f"|format(row.ece_after) }}</td></tr>{% endfor %}</tbody>
</table></div>
<p class="note">Expected calibration error of the best label's probability, as trained and with logits divided by the temperature that one half of valid chose.</p>
{% endif %}
"""


class DecisionTable(NamedTuple):
    """All decisions between the same models on one split; texts."""

    title: str
    split: str
    first: str
    n: int
    singles: list[tuple[str, str]]
    rows: list[dict[str, Any]]
    oracle: str
    oracle_gain: str


class QuadrantTable(NamedTuple):
    """Shares of documents on which exactly some models are right: of all, then of the most frequent labels."""

    title: str
    split: str
    columns: list[str]
    rows: list[tuple[str, int, list[str]]]
    left: int  # labels that are not shown


class CurveTable(NamedTuple):
    """Accuracy by how often the second model is asked."""

    title: str
    split: str
    figure: Markup | None  # of every stored rate
    rates: list[str]
    rows: list[tuple[str, list[str]]]
    saved: str


def percent(share: float | None) -> str:
    """Return a share in per cent, "" for none."""
    return "" if share is None else f"{100 * share:.1f}"


def gain(share: float, base: float) -> str:
    """Return a difference in points of per cent, with its sign."""
    return f"{100 * (share - base):+.1f}"


def grouped(rows: Sequence[dict[str, Any]]) -> dict[tuple[tuple[str, ...], str], list[dict[str, Any]]]:
    """Return rows by the models that they are about and their split, test first."""
    groups: dict[tuple[tuple[str, ...], str], list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (row["models"], row["split"])):
        groups.setdefault((tuple(row["models"]), row["split"]), []).append(row)
    return groups


def decision_tables(rows: Sequence[dict[str, Any]]) -> list[DecisionTable]:
    """Return a table per group of models and split; of decisions on different documents the means stand apart."""
    tables = []
    for (models, split), own in grouped(rows).items():
        for n in sorted({row["n"] for row in own}):
            part = sorted((row for row in own if row["n"] == n), key=lambda row: (-row["accuracy"], row["model"]))
            one = part[0]
            # A decision that trains its own models has other ones than its neighbours.
            base = one["first_accuracy"]
            singles = [(models[0], percent(base)), *zip(models[1:], map(percent, one["others_accuracy"]), strict=True)]
            texts = [_decision_texts(row) for row in part]
            oracle, over = percent(one["oracle_accuracy"]), gain(one["oracle_accuracy"], base)
            tables.append(DecisionTable(", ".join(models), split, models[0], n, singles, texts, oracle, over))
    return tables


def _decision_texts(row: dict[str, Any]) -> dict[str, Any]:
    p = p_text(row["p"])
    auc = "" if row["choice_auc"] is None else f"{row['choice_auc']:.3f}"
    shares = [percent(row[name]) for name in ("called", "choice_accuracy", "choice_balanced")]
    after = [percent(row[name]) for name in ("choice_precision", "choice_recall")]
    return {
        "model": row["model"], "accuracy": percent(row["accuracy"]), "best": row["best"],
        "gain": gain(row["accuracy"], row["first_accuracy"]), "over_best": gain(row["accuracy"], row["best_accuracy"]),
        "texts": [p, *shares, auc, *after],
    }  # fmt: skip


def quadrant_tables(rows: Sequence[dict[str, Any]]) -> list[QuadrantTable]:
    """Return a table per group of models and split."""
    tables = []
    for (models, split), own in grouped(rows).items():
        sets = sorted({tuple(row["right"]) for row in own}, key=lambda names: (-len(names), names))
        counts: dict[str | None, dict[tuple[str, ...], int]] = {}
        for row in own:
            counts.setdefault(row["label"], {})[tuple(row["right"])] = row["n"]
        everything = counts.pop(None, {})
        labels = sorted(counts, key=lambda label: (-sum(counts[label].values()), str(label)))
        shown = [("all", everything), *((str(label), counts[label]) for label in labels[:MOST])]
        lines = [(name, sum(part.values()), [_part(part, one) for one in sets]) for name, part in shown]
        columns = [quadrant(names, models) for names in sets]
        tables.append(QuadrantTable(", ".join(models), split, columns, lines, max(0, len(labels) - MOST)))
    return tables


def _part(counts: Mapping[tuple[str, ...], int], names: tuple[str, ...]) -> str:
    total = sum(counts.values())
    return percent(counts.get(names, 0) / total) if total else ""


def curve_tables(rows: Sequence[dict[str, Any]], seconds: Mapping[str, float]) -> list[CurveTable]:
    """Return a table per group of models and split.

    Args:
        rows: of the table.
        seconds: per document, of each stage that this run made.
    """
    tables = []
    for (models, split), own in grouped(rows).items():
        ways: dict[str, list[dict[str, Any]]] = {}
        for row in own:
            name = f"doubt of {models[0]}" if row["by"] == "confidence" else row["model"]
            ways.setdefault(name, []).append(row)
        for curve in ways.values():
            curve.sort(key=lambda row: row["rate"])
        lines = [Curve(name, [(row["rate"], row["accuracy"]) for row in curve]) for name, curve in sorted(ways.items())]
        highest = sorted(lines, key=lambda line: -sum(right for _, right in line.points))[:DRAWN]
        drawn = [line for line in lines if line in highest]
        said = f"Per cent of right documents by the share for which {models[1]} is asked"
        figure = curves(drawn, title=said, axis=f"documents for which {models[1]} is asked")
        rates = [percent(row["rate"]) + " %" for row in next(iter(ways.values()))[::EVERY]]
        shown = [(name, [percent(row["accuracy"]) for row in curve[::EVERY]]) for name, curve in sorted(ways.items())]
        spared = max((row["spared"] for row in own), key=len)
        tables.append(CurveTable(", ".join(models), split, figure, rates, shown, _saved(spared, seconds)))
    return tables


def _saved(spared: Sequence[str], seconds: Mapping[str, float]) -> str:
    """Return a sentence on the time that a document takes which does not go to the second model."""
    if not spared:
        return "No time is saved: what ranks the documents looks at all models."
    known, unknown = [name for name in spared if name in seconds], [name for name in spared if name not in seconds]
    total = sum(seconds[name] for name in known)
    said = f"Ranked by the first model alone, each document that does not go to it saves {', '.join(spared)}"
    took = f": {1000 * total:.3g} ms of work a document in this run" if known else ""
    rest = f"; not measured, as nothing was made in this run: {', '.join(unknown)}" if unknown else ""
    return f"{said}{took}{rest}."


def stage_seconds(data: ReportData) -> dict[str, float]:
    """Return seconds per document of each stage that made any in this run."""
    rows = data.rows("stages")
    return {row["stage"]: row["seconds"] / row["rows_computed"] for row in rows if row["rows_computed"]}


def render(data: ReportData) -> Markup | None:
    """Return the section; None without decisions."""
    rows = data.rows("decisions")
    if not rows:
        return None
    return fill(
        TEMPLATE, most=MOST, decisions=decision_tables(rows), quadrants=quadrant_tables(data.rows("quadrants")),
        curves=curve_tables(data.rows("call_rates"), stage_seconds(data)), calibration=data.rows("calibration"),
    )  # fmt: skip


SECTION = Section(
    "decisions", "Decisions", "decisions between models beside each model and their oracle",
    ("decisions", "quadrants", "call_rates", "calibration", "stages"), render, heading="Decisions between models",
)  # fmt: skip
