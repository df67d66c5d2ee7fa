"""Scores of each source and each kind of document beside those of all."""

from collections import Counter

from markupsafe import Markup

from fuseline.reports.figures.difference_matrix import DifferenceMatrix, line
from fuseline.reports.markup import fill
from fuseline.reports.page_data import ReportData, by
from fuseline.reports.section import Section
from fuseline.stores.results import plain

SHOWN = 20  # groups of a column
TOP = "(top)"  # documents that lie in no folder

TEMPLATE = """\
<p class="lead">{{ first.title|capitalize }} on all documents, and by how much it differs in each group of them; the number of documents in brackets.</p>
{% for part, column, matrix, hidden in parts %}
<h3>{{ part|capitalize }}: by {{ column }}</h3>
{% if hidden %}<p class="note" style="margin:0 0 10px">The {{ matrix.columns|length - 1 }} largest groups; {{ hidden }} others are in the table groups.</p>{% endif %}
{{ matrix.drawn() }}
{% endfor %}
"""


def group_matrices(data: ReportData) -> list[tuple[str, str, DifferenceMatrix, int]]:
    """Return (split, column, models x the largest groups, how many others) for the headline metric."""
    first = data.measures.headline
    whole = {
        (row["model"], row["split"]): row["value"]
        for row in plain(data.table("metrics")).to_pylist()
        if row["metric"] == first.metric
    }
    parts = []
    for split, rows in by(data.rows("groups", metric=first.metric), "split"):
        for column, own in by(rows, "column"):
            sizes = Counter({row["group"]: row["n"] for row in own})
            names = [name for name, _ in sorted(sizes.items(), key=lambda one: (-one[1], one[0]))[:SHOWN]]
            values = {(row["model"], row["group"]): row["value"] for row in own}
            models = sorted(model for model in {row["model"] for row in own} if (model, split) in whole)
            lines = [line(one, first, whole[one, split], [values.get((one, name)) for name in names]) for one in models]
            heads = [f"{name or TOP} ({sizes[name]:,})" for name in names]
            if lines and len(sizes) > 1:  # one group is the whole
                parts.append((split, column, DifferenceMatrix(["all", *heads], lines), len(sizes) - len(names)))
    return parts


def render(data: ReportData) -> Markup | None:
    """Return the section; None when documents were not grouped."""
    parts = group_matrices(data)
    return fill(TEMPLATE, parts=parts, first=data.measures.headline) if parts else None


SECTION = Section(
    "groups", "Groups", "scores of each source and each kind of document beside those of all",
    ("groups", "metrics", "measures"), render, heading="By groups of documents",
)  # fmt: skip
