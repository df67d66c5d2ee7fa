"""What models reach when a part of their input is masked."""

from typing import Any, NamedTuple

import pyarrow.compute as pc
from markupsafe import Markup

from fuseline.reports.markup import fill
from fuseline.reports.page_data import ReportData
from fuseline.reports.section import Section
from fuseline.reports.standings import spread_text
from fuseline.stores.results import summary

TEMPLATE = """\
<p class="lead">{{ first.title|capitalize }} when a part of the input is masked in every document, beside what the same model reaches with nothing masked.</p>
{% for table in tables %}
<h3>{{ table.split|capitalize }}</h3>
<div class="scroll"><table>
<thead><tr><th>model</th><th class="n">nothing masked</th>{% for name in table.conditions %}<th class="n">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for model, texts in table.rows %}
<tr><td>{{ model }}</td>{% for text in texts %}<td class="n">{{ text }}</td>{% endfor %}</tr>
{% endfor %}
</tbody></table></div>
{% endfor %}
"""


class ConditionTable(NamedTuple):
    """All models on one split: a text per condition, after that of the plain evaluation."""

    split: str
    conditions: list[str]
    rows: list[tuple[str, list[str]]]


def condition_tables(data: ReportData) -> list[ConditionTable]:
    """Return one table per split that has rows with a condition, for the headline metric; folds are left out."""
    results, first = data.table("metrics"), data.measures.headline
    chosen = results.filter(pc.and_(pc.is_null(results["fold"]), pc.equal(results["metric"], first.metric)))
    means = {(row["split"], row["model"], row["condition"]): row for row in summary(chosen).to_pylist()}
    tables = []
    for split in sorted({split for split, _, condition in means if condition is not None}):
        conditions = sorted({name for of, _, name in means if of == split and name is not None})
        models = sorted({model for of, model, name in means if of == split and name is not None})

        def text(key: tuple[Any, ...]) -> str:
            return spread_text(first, means[key]) if key in means else ""

        rows = [(model, [text((split, model, name)) for name in (None, *conditions)]) for model in models]
        tables.append(ConditionTable(split, conditions, rows))
    return tables


def render(data: ReportData) -> Markup | None:
    """Return the section; None when nothing was masked."""
    tables = condition_tables(data)
    return fill(TEMPLATE, tables=tables, first=data.measures.headline) if tables else None


SECTION = Section(
    "conditions", "Masked", "scores of models when a part of their input is masked", ("metrics", "measures"), render,
    heading="With a part of the input masked",
)  # fmt: skip
