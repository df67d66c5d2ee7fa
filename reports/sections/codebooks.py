"""Whether codebooks still fit the documents that came later."""

from typing import Any, NamedTuple

import pyarrow as pa
from markupsafe import Markup

from fuseline.reports.markup import fill
from fuseline.reports.page_data import ReportData, by
from fuseline.reports.section import Section

TEMPLATE = """\
<p class="lead">How shards that came or changed after a codebook was fitted look to it, beside what it knows. It stays as it is until it is fitted again.</p>
<div class="scroll"><table>
<thead><tr><th>codebook</th><th class="n">new rows</th><th class="n">in shards</th><th class="n">error</th><th class="n">known error</th><th class="n">ratio</th><th class="n">empty</th><th class="n">by chance</th><th class="n">hot</th><th>verdict</th></tr></thead>
<tbody>
{% for book in codebooks %}
<tr><td>{{ book.name }}</td><td class="n">{{ "{:,}".format(book.all.rows) }}</td><td class="n">{{ "{:,}".format(book.all.shards) }}</td><td class="n">{{ "%.4g"|format(book.all.error) if book.all.error is not none else "" }}</td><td class="n">{{ "%.4g"|format(book.all.known_error) }}</td><td class="n">{{ "%.2f"|format(book.all.error_ratio) if book.all.error_ratio is not none else "" }}</td>
<td class="n">{{ book.parts|sum(attribute="empty") if book.all.rows else "" }}</td><td class="n">{{ "%.0f"|format(book.parts|sum(attribute="expected_empty")) if book.all.rows else "" }}</td><td class="n">{{ book.parts|sum(attribute="hot") if book.all.rows else "" }}</td>
<td>{% if book.all.refit %}<span class="down">fit again: {{ book.all.why }}</span>{% elif book.all.rows %}no drift{% else %}nothing new{% endif %}</td></tr>
{% endfor %}
</tbody></table></div>
{% for book in codebooks if book.all.rows %}
<details><summary>{{ book.name }}, part by part</summary><div class="scroll"><table>
<thead><tr><th class="n">repeat</th><th class="n">part</th><th class="n">codewords used</th><th class="n">empty</th><th class="n">by chance</th><th class="n">hot</th><th class="n">divergence, bits</th></tr></thead>
<tbody>{% for row in book.parts %}<tr><td class="n">{{ row.repeat }}</td><td class="n">{{ row.part }}</td><td class="n">{{ row.used }}</td><td class="n">{{ row.empty }}</td><td class="n">{{ "%.0f"|format(row.expected_empty) }}</td><td class="n">{{ row.hot }}</td><td class="n">{{ "%.3f"|format(row.divergence) }}</td></tr>{% endfor %}</tbody>
</table></div></details>
{% endfor %}
<p class="note">Error: mean squared quantisation error; the known one is that of held-out documents from the time of the fit, or of the training rows where these are too few. Empty: codewords that training used and no new row does. Divergence: Jensen-Shannon, between the codewords' use then and now.</p>
"""


class Codebook(NamedTuple):
    """The drift of one codebook; `parts` are its rows, the others hold for all of them."""

    name: str
    all: dict[str, Any]
    parts: list[dict[str, Any]]


def codebooks(drift: pa.Table) -> list[Codebook]:
    """Return the drift report of every codebook."""
    return [Codebook(name, rows[0], rows) for name, rows in by(drift.to_pylist(), "codebook")]


def render(data: ReportData) -> Markup | None:
    """Return the section; None without codebooks."""
    books = codebooks(data.table("drift"))
    return fill(TEMPLATE, codebooks=books) if books else None


SECTION = Section(
    "codebooks", "Codebooks", "new documents beside those that codebooks were fitted on", ("drift",), render
)
