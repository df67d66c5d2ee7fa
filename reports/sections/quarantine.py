"""What was skipped: rows and modalities that could not be used, with their reason."""

from collections import Counter
from typing import Any

import pyarrow as pa
from markupsafe import Markup

from fuseline.reports.markup import fill
from fuseline.reports.page_data import ReportData
from fuseline.reports.section import Section

TEMPLATE = """\
{% if quarantine %}
<p class="lead">A modality that cannot be used is marked with its reason; the document stays. Nothing listed here was silently dropped.</p>
<div class="scroll"><table>
<thead><tr><th>stage</th><th>reason</th><th class="n">documents</th></tr></thead>
<tbody>{% for row in quarantine %}<tr><td>{{ row.stage }}</td><td><span class="tag">{{ row.reason }}</span></td><td class="n">{{ "{:,}".format(row.count_all) }}</td></tr>{% endfor %}</tbody>
</table></div>
<h3>{% if quarantined|length < total %}The first {{ quarantined|length }} of {{ "{:,}".format(total) }}{% else %}All of them{% endif %}</h3>
<div class="scroll"><table>
{% set sources = quarantined|map(attribute="source")|select|list|length > 0 %}
<thead><tr><th>id</th>{% if sources %}<th>source</th>{% endif %}<th>stage</th><th>reason</th></tr></thead>
<tbody>{% for row in quarantined %}<tr data-shows='{{ ([row.id] if row.id is not none else [])|tojson }}'><td><code>{{ row.id if row.id is not none else "(none)" }}</code></td>{% if sources %}<td><code>{{ row.source if row.source is not none else "" }}</code></td>{% endif %}<td>{{ row.stage }}</td><td><span class="tag">{{ row.reason }}</span></td></tr>{% endfor %}</tbody>
</table></div>
{% else %}
<p class="lead">Nothing: every document could be used.</p>
{% endif %}
"""


TILES = """\
<div class="tile"><span>Quarantined</span><b>{{ "{:,}".format(total) }}</b><small>{{ quarantine|length }} {{ "reason" if quarantine|length == 1 else "reasons" }}</small></div>
"""

FIRST_ROWS = 20
SEARCHED = 100_000  # rows of the quarantine table that the examples are taken from


def quarantine_counts(quarantine: pa.Table) -> list[dict[str, Any]]:
    """Return stage, reason and n, the most frequent first."""
    counted = quarantine.group_by(["stage", "reason"]).aggregate([([], "count_all")]).to_pylist()
    return sorted(counted, key=lambda row: (-row["count_all"], row["stage"] or "", row["reason"] or ""))


def quarantine_first(quarantine: pa.Table) -> list[dict[str, Any]]:
    """Return the first rows: those with a rare reason before the thousandth of a frequent one."""
    first: list[dict[str, Any]] = []
    seen: Counter[tuple[str, str]] = Counter()
    for row in quarantine.slice(0, SEARCHED).to_pylist():
        seen[row["stage"], row["reason"]] += 1
        first.append({**row, "_turn": seen[row["stage"], row["reason"]]})
    return sorted(first, key=lambda row: row["_turn"])[:FIRST_ROWS]


def render(data: ReportData) -> Markup:
    """Return the section, which is there even when nothing was skipped."""
    table = data.table("quarantine")
    return fill(TEMPLATE, total=len(table), quarantine=quarantine_counts(table), quarantined=quarantine_first(table))


def tiles(data: ReportData) -> Markup:
    """Return how many rows are in quarantine."""
    table = data.table("quarantine")
    return fill(TILES, total=len(table), quarantine=quarantine_counts(table))


SECTION = Section(
    "quarantine", "Quarantine", "documents and source rows that failed, with the reason", ("quarantine",), render,
    heading="Skipped and quarantined", tiles=tiles,
)  # fmt: skip
