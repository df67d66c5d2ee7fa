"""The confusions of a model as a heat map."""

from collections import Counter
from typing import Any, NamedTuple

from markupsafe import Markup

from fuseline.reports.markup import fill

MAX_CLASSES = 60

TEMPLATE = """\
<div class="scroll"><table class="heat">
<thead><tr><th></th>{% for label in heat.labels %}<th title="{{ label }}">{{ loop.index }}</th>{% endfor %}</tr></thead>
<tbody>
{% for line in heat.cells %}
{% set label = heat.labels[loop.index0] %}
<tr><th title="{{ label }}"><bdi>{{ label }} {{ loop.index }}</bdi></th>
{% for cell in line %}
{% if cell.n %}<td class="{{ "ok" if cell.right else "no" }}{{ " deep" if cell.share > 0.55 else "" }}" style="--s:{{ "%.0f"|format(15 + 85 * cell.share) }}%" title="{{ label }} → {{ heat.labels[loop.index0] }}: {{ cell.n }}">{{ cell.n }}</td>{% else %}<td></td>{% endif %}
{% endfor %}
</tr>
{% endfor %}
</tbody></table></div>
"""


class HeatCell(NamedTuple):
    """One cell of the confusion heat map."""

    n: int
    share: float  # of the true class's documents
    right: bool


class Heat(NamedTuple):
    """Confusions: rows are true classes, columns predicted ones in the same order, then what is not shown."""

    labels: list[str]
    cells: list[list[HeatCell]]
    outside: int  # documents whose true or predicted class is not shown
    classes: int

    def drawn(self) -> Markup:
        """Return the figure."""
        return fill(TEMPLATE, heat=self)


def heat_map(confusion: list[dict[str, Any]]) -> Heat | None:
    """Return the confusions (CONFUSION rows of one model and split) of the largest classes; None without any."""
    if not confusion:
        return None
    support: Counter[str] = Counter()
    counts: Counter[tuple[str, str | None]] = Counter()
    for row in confusion:
        support[row["label"]] += row["n"]
        counts[row["label"], row["predicted"]] += row["n"]
    labels = sorted(label for label, _ in support.most_common(MAX_CLASSES))
    cells = [
        [HeatCell(counts[t, p], counts[t, p] / support[t], t == p) for p in labels] for t in labels
    ]  # fmt: skip
    shown = sum(cell.n for line in cells for cell in line)
    return Heat(labels, cells, support.total() - shown, len(support))
