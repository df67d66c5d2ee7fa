"""Cross-validation: mean and standard deviation over the folds, and each fold."""

from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from fuseline.reports.markup import fill
from fuseline.reports.measures import Measure
from fuseline.reports.page_data import ReportData
from fuseline.reports.section import Section
from fuseline.reports.standings import spread_text
from fuseline.stores.results import summary

TEMPLATE = """\
<p class="lead">Every model was fitted once per fold, on the other folds, and scored on what was held out. Mean ± standard deviation over the folds (n − 1 below); fractions in per cent.</p>
{% for table in tables %}
<h3>{{ table.split|capitalize }}: {{ table.folds|length }} folds, {{ "{:,}".format(table.n) }} documents</h3>
<div class="scroll"><table>
<thead><tr><th>model</th>{% for metric in table.metrics %}<th class="n">{{ metric.title }}{{ " ↓" if metric.lower_is_better else "" }}</th>{% endfor %}{% for fold in table.folds %}<th class="n">fold {{ fold }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in table.rows %}
<tr><td>{{ row.model }}</td>{% for text in row.means %}<td class="n">{% if loop.first %}<b>{{ text }}</b>{% else %}{{ text }}{% endif %}</td>{% endfor %}{% for text in row.each %}<td class="n">{{ text }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
<p class="note">Single folds: {{ table.metrics[0].title }}.</p>
{% endfor %}
"""


class FoldRow(NamedTuple):
    """One model, ready to print."""

    model: str
    means: list[str]  # of every metric, over the folds
    each: list[str]  # the first metric of every fold


class FoldTable(NamedTuple):
    """All models on one split, the best first."""

    split: str
    metrics: list[Measure]
    folds: list[int]
    rows: list[FoldRow]
    n: int  # documents of all folds


def fold_tables(data: ReportData) -> list[FoldTable]:
    """Return one table per split that has rows with a fold; rows of conditions are left out."""
    results = data.table("metrics")
    results = results.filter(pc.and_(pc.is_valid(results["fold"]), pc.is_null(results["condition"])))
    splits = sorted(set(results["split"].to_pylist()))
    tables = (_fold_table(results.filter(pc.equal(results["split"], split)), split, data) for split in splits)
    return [table for table in tables if table.metrics]


def _fold_table(results: pa.Table, split: str, data: ReportData) -> FoldTable:
    means = {(row["model"], row["metric"]): row for row in summary(results).to_pylist()}
    shown = data.measures.shown(name for _, name in means)
    folds = sorted(set(results["fold"].to_pylist()))
    if not shown:
        return FoldTable(split, [], folds, [], 0)
    first, rows = shown[0], list[tuple[Any, FoldRow]]()
    single = {
        (row["model"], fold): row
        for fold in folds
        for row in summary(results.filter(pc.equal(results["fold"], fold))).to_pylist()
        if row["metric"] == first.metric
    }
    for model in sorted({model for model, _ in means}):
        own = [means.get((model, one.metric)) for one in shown]
        texts = [spread_text(one, row) if row else "" for one, row in zip(shown, own, strict=True)]
        each = [spread_text(first, single[model, fold]) if (model, fold) in single else "" for fold in folds]
        rows.append((first.order(own[0]["mean"] if own[0] else None), FoldRow(model, texts, each)))
    rows.sort(key=lambda one: (one[0], one[1].model))
    n = max(row["n"] for (_, name), row in means.items() if name == first.metric)
    return FoldTable(split, shown, folds, [row for _, row in rows], n)


def render(data: ReportData) -> Markup | None:
    """Return the section; None without a cross-validation."""
    tables = fold_tables(data)
    return fill(TEMPLATE, tables=tables) if tables else None


SECTION = Section(
    "folds", "Folds", "mean and standard deviation over the folds of a cross-validation, and each fold",
    ("metrics", "measures"), render, heading="Cross-validation",
)  # fmt: skip
