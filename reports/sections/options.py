"""What models tried before they were fitted, and which options they took."""

from collections.abc import Iterator
from statistics import fmean
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
from markupsafe import Markup

from fuseline.reports.markup import fill
from fuseline.reports.page_data import ReportData, by
from fuseline.reports.section import Section

SHOWN = 10  # trials of a model

TEMPLATE = """\
<p class="lead">Options that the configuration leaves open are chosen on valid documents: many on few documents, the better ones on more. Test documents have no part in it.</p>
<div class="scroll"><table>
<thead><tr><th>model</th><th>chosen</th><th class="n">precision at 1, valid</th><th class="n">trials</th><th class="n">documents</th></tr></thead>
<tbody>
{% for one in searches %}
<tr><td>{{ one.model }}</td><td>{{ one.best.options }}</td><td class="n">{{ "%.1f %%"|format(100 * one.best.score) }}</td><td class="n">{{ one.trials|length }}</td><td class="n">{{ "{:,}".format(one.best.documents) }}</td></tr>
{% endfor %}
</tbody></table></div>
{% for one in searches %}
<details><summary>{{ one.model }}: the best {{ [one.trials|length, shown]|min }} trials</summary><div class="scroll"><table>
<thead><tr><th>options</th><th class="n">documents</th><th class="n">precision at 1, valid</th></tr></thead>
<tbody>{% for row in one.trials[:shown] %}<tr><td>{{ row.options }}</td><td class="n">{{ "{:,}".format(row.documents) }}</td><td class="n">{{ "%.1f %%"|format(100 * row.score) if row.score is not none else "diverged" }}</td></tr>{% endfor %}</tbody>
</table></div></details>
{% endfor %}
"""


class Searched(NamedTuple):
    """The trials of one model, most documents first, then by falling score.

    `best` are the options it took, with the mean of their scores where they were tried from several seeds.
    """

    model: str
    best: dict[str, Any]
    trials: list[dict[str, Any]]


def searched(searches: pa.Table) -> Iterator[Searched]:
    """Yield what every model tried, or each of its parts that did, in the order of their names."""
    named = ({**row, "model": ", ".join(filter(None, (row["model"], row["part"])))} for row in searches.to_pylist())
    for model, trials in by(named, "model"):
        rows = [{**row, "options": words(row["options"])} for row in trials]
        rows.sort(key=lambda row: (-row["documents"], -(row["score"] if row["score"] is not None else -1)))
        chosen = [row for row in rows if row["chosen"]] or rows[:1]
        scores = [row["score"] for row in chosen]
        yield Searched(model, {**chosen[0], "score": None if None in scores else fmean(scores)}, rows)


def words(options: str) -> str:
    """Return options as "lr 0.5, epochs 25"."""
    return ", ".join(f"{name} {value}" for name, value in orjson.loads(options).items())


def render(data: ReportData) -> Markup | None:
    """Return the section; None where every option was given."""
    rows = [one for one in searched(data.table("searches")) if one.best["score"] is not None]
    return fill(TEMPLATE, searches=rows, shown=SHOWN) if rows else None


SECTION = Section(
    "options", "Options", "options that models chose on valid documents, and what they tried", ("searches",), render,
    heading="Options chosen on valid documents",
)  # fmt: skip
