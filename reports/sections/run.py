"""What the run did: shards and rows per stage, and where the time went."""

from markupsafe import Markup

from fuseline.reports.markup import fill
from fuseline.reports.page_data import ReportData
from fuseline.reports.section import Section

TEMPLATE = """\
{% set longest = stages|map(attribute="seconds")|max %}
<p class="lead">Shards that were fresh were not touched; within the others, unchanged rows were reused.</p>
<div class="scroll"><table>
<thead><tr><th>stage</th><th class="n">shards fresh</th><th class="n">shards made</th><th class="n">rows made</th><th class="n">rows reused</th><th class="n">time</th><th style="width:14%"></th><th>share of the work</th></tr></thead>
<tbody>
{% for row in stages %}<tr><td>{{ row.stage }}</td><td class="n">{{ "{:,}".format(row.fresh) }}</td><td class="n">{{ "{:,}".format(row.computed_shards) }}</td><td class="n">{{ "{:,}".format(row.rows_computed) }}</td><td class="n">{{ "{:,}".format(row.rows_reused) }}</td><td class="n">{{ row.seconds|duration if row.computed_shards else "–" }}</td><td style="vertical-align:middle"><div class="bar"><i style="width:{{ "%.1f"|format(100 * row.seconds / longest) if longest else 0 }}%"></i></div></td><td>{% for kind, share in (row.shares or [])|sort(attribute=1, reverse=true) if share >= 0.005 %}{{ kind }} {{ "%.0f"|format(100 * share) }} %{{ ", " if not loop.last }}{% endfor %}</td></tr>{% endfor %}
</tbody></table></div>
"""


TILES = """\
<div class="tile"><span>Time of this run</span><b>{{ stages|sum(attribute="seconds")|duration }}</b>
<small>{{ "{:,}".format(stages|sum(attribute="rows_computed")) }} rows made, {{ "{:,}".format(stages|sum(attribute="rows_reused")) }} reused</small></div>
"""


def render(data: ReportData) -> Markup | None:
    """Return the section; None without stages."""
    stages = data.rows("stages")
    return fill(TEMPLATE, stages=stages) if stages else None


def tiles(data: ReportData) -> Markup:
    """Return the time that the run took."""
    stages = data.rows("stages")
    return fill(TILES, stages=stages) if stages else Markup("")


SECTION = Section("run", "Run", "shards, rows and time of every stage", ("stages",), render, tiles=tiles)
