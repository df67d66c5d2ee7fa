"""Models by their scores: the figure, a table per split, and every metric."""

from markupsafe import Markup

from fuseline.reports.figures.forest import forest
from fuseline.reports.markup import fill
from fuseline.reports.page_data import ReportData
from fuseline.reports.section import Section

TEMPLATE = """\
<p class="lead">{% if first.summary %}{{ first.title[0]|upper }}{{ first.title[1:] }}: {{ first.summary }}. {% endif %}Fractions in per cent; Δ in points against <em>{{ data.baseline }}</em>, and how many more documents have a right most probable label; the best of each column in bold. The highlighted model was chosen on valid, never on test.</p>
{% if figure %}
{{ figure }}<p class="note">{{ first.title|capitalize }} on {{ data.split }} ({{ "{:,}".format(tables[0].n) }} documents){{ ", per cent" if first.unit == "share" }}, with 95 % intervals.</p>
{% endif %}
{% for table in tables %}
<h3>{{ table.split|capitalize }}, {{ "{:,}".format(table.n) }} documents</h3>
<div class="scroll"><table>
<thead><tr><th>model</th>
{% for metric in table.metrics %}<th class="n">{{ metric.title }}{{ " ↓" if metric.lower_is_better else "" }}</th>{% if loop.first %}<th class="n">Δ</th><th class="n">more right</th>{% endif %}{% endfor %}
</tr></thead>
<tbody>
{% for row in table.rows %}
<tr{{ ' class="chosen"'|safe if row.model == data.best else "" }}><td>{{ row.model }}</td>
{% for cell in row.cells %}<td class="n">{% if cell.best %}<b>{{ cell.text }}</b>{% else %}{{ cell.text }}{% endif %}</td>
{% if loop.first %}<td class="n">{% if row.delta is none %}{% if row.model == data.baseline %}<span class="tag">baseline</span>{% endif %}{% else %}<span class="{{ "" if row.delta == 0 else "up" if table.metrics[0].better(row.delta, 0) else "down" }}">{{ table.metrics[0].difference(row.delta) }}</span>{% endif %}</td>
<td class="n">{{ "{:+,}".format(row.extra_right) if row.extra_right is not none else "" }}</td>{% endif %}
{% endfor %}
</tr>
{% endfor %}
</tbody></table></div>
{% if table.unknown_label %}<p class="note">{{ table.unknown_label }} documents carry only labels that training never saw; they count as wrong.</p>{% endif %}
{% if table.seeds > 1 %}<p class="note">Mean ± standard deviation of {{ table.seeds }} seeds (n − 1 below).</p>{% endif %}
{% if table.every|length > table.metrics|length %}
<details><summary>Every metric on {{ table.split }}</summary><div class="scroll"><table>
<thead><tr><th>model</th>{% for metric in table.every %}<th class="n" title="{{ metric.summary }}">{{ metric.title }}{{ " ↓" if metric.lower_is_better else "" }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in table.rows %}<tr><td>{{ row.model }}</td>{% for cell in row.every %}<td class="n">{% if cell.best %}<b>{{ cell.text }}</b>{% else %}{{ cell.text }}{% endif %}</td>{% endfor %}</tr>
{% endfor %}</tbody>
</table></div></details>
{% endif %}
{% endfor %}
"""


TILES = """\
{% if winner and winner.cells[0].value is not none %}
<div class="tile"><span>Best on valid</span><b>{{ best }}</b><small>of {{ models }} models</small></div>
<div class="tile"><span>{{ first.title|capitalize }} on {{ split }}</span><b>{{ first.text(winner.cells[0].value) }}{{ first.per_cent }}</b>
{% if winner.low is not none and winner.high is not none %}<small>95 % interval {{ first.text(winner.low) }} to {{ first.text(winner.high) }}{{ first.per_cent }}</small>{% endif %}
</div>
{% if winner.delta is not none %}
<div class="tile"><span>Against {{ baseline }} alone</span><b class="{{ "up" if first.better(winner.delta, 0) else "down" }}">{{ first.difference(winner.delta) }}</b>
<small>{{ "points" if first.unit == "share" }}{% if winner.extra_right is not none %}: {{ winner.extra_right|abs }} {{ "more" if winner.extra_right >= 0 else "fewer" }} of {{ winner.n }} right{% endif %}</small></div>
{% endif %}
{% endif %}
"""


def render(data: ReportData) -> Markup | None:
    """Return the section, without what a split was not scored for; None without scores."""
    tables = data.results
    if not tables:
        return None
    return fill(
        TEMPLATE, data=data, tables=tables, first=tables[0].metrics[0], figure=forest(tables[0], best=data.best)
    )


def tiles(data: ReportData) -> Markup:
    """Return the best model on valid, what it reaches, and by how much it beats the baseline."""
    if not data.results:
        return Markup("")
    table = data.results[0]
    winner = next((row for row in table.rows if row.model == data.best), None)
    return fill(
        TILES, winner=winner, best=data.best, models=len(table.rows), first=table.metrics[0], split=table.split,
        baseline=data.baseline,
    )  # fmt: skip


SECTION = Section(
    "results", "Results", "models by their scores, with intervals and the difference to a baseline",
    ("metrics", "measures"), render, tiles=tiles,
)  # fmt: skip
