"""Maps of embeddings and of hidden layers, how well they tell classes apart, and which classes lie near each other."""

from statistics import fmean
from typing import Any, NamedTuple

from markupsafe import Markup

from fuseline.reports.figures.scatter import scatter
from fuseline.reports.markup import fill
from fuseline.reports.page_data import ReportData, by
from fuseline.reports.section import Section

NEAREST = 10  # pairs of classes

TEMPLATE = """\
{% macro share(value) %}{{ "" if value is none else "%.1f"|format(100 * value) }}{% endmacro %}
{% macro number(value) %}{{ "" if value is none else "%.3f"|format(value) }}{% endmacro %}
<p class="lead">Classes drawn by the seed, by t-SNE. Purity: the share of a document's nearest others that have its label; silhouette: how much nearer its own class is than the next one, -1 to 1. Both are measured in the vectors, not on the map.</p>
<div class="scroll"><table>
<thead><tr><th>vectors</th><th class="n">documents</th><th class="n">purity, %</th><th class="n">silhouette</th></tr></thead>
<tbody>{% for one in maps %}<tr><td>{{ one.vectors }}</td><td class="n">{{ "{:,}".format(one.n) }}</td><td class="n">{{ share(one.purity) }}</td><td class="n">{{ number(one.silhouette) }}</td></tr>{% endfor %}</tbody>
</table></div>
{% for one in maps %}
<h3>{{ one.vectors }}</h3>
{{ one.figure }}
<div class="scroll"><table>
<thead><tr><th>label</th><th class="n">documents</th><th class="n">purity, %</th><th class="n">silhouette</th></tr></thead>
<tbody>{% for row in one.classes %}<tr><td>{{ row.label|breakable }}</td><td class="n">{{ row.n }}</td><td class="n">{{ share(row.purity) }}</td><td class="n">{{ number(row.silhouette) }}</td></tr>{% endfor %}</tbody>
</table></div>
{% if one.pairs %}
<p class="note">Nearest classes of all: {% for pair in one.pairs %}{{ pair.label|breakable }} and {{ pair.other|breakable }} ({{ "%.2f"|format(pair.cosine) }}){% if not loop.last %}; {% endif %}{% endfor %}.</p>
{% endif %}
{% endfor %}
"""


class Separation(NamedTuple):
    """How well one class is told from the others."""

    label: str
    n: int
    purity: float | None
    silhouette: float | None


class VectorMap(NamedTuple):
    """One dataset of vectors."""

    vectors: str
    n: int
    purity: float | None
    silhouette: float | None
    figure: Markup
    classes: list[Separation]  # the best separated first
    pairs: list[dict[str, Any]]


def vector_maps(data: ReportData) -> list[VectorMap]:
    """Return one map per dataset of vectors."""
    near = dict(by(data.rows("class_neighbours"), "vectors"))
    maps = []
    for name, rows in by(data.rows("maps"), "vectors"):
        classes = [Separation(label, len(own), *_means(own)) for label, own in by(rows, "label")]
        classes.sort(key=lambda one: (-(one.purity or 0.0), one.label))
        pairs = sorted(
            (row for row in near.get(name, []) if row["label"] < row["other"]), key=lambda row: -row["cosine"]
        )
        maps.append(VectorMap(name, len(rows), *_means(rows), scatter(rows), classes, pairs[:NEAREST]))
    return maps


def render(data: ReportData) -> Markup | None:
    """Return the section; None without maps."""
    maps = vector_maps(data)
    return fill(TEMPLATE, maps=maps) if maps else None


def _means(rows: list[dict[str, Any]]) -> tuple[float | None, float | None]:
    known = [[row[name] for row in rows if row[name] is not None] for name in ("purity", "silhouette")]
    purity, silhouette = (fmean(values) if values else None for values in known)
    return purity, silhouette


SECTION = Section(
    "maps", "Maps", "maps of embeddings and hidden layers, and how well they tell classes apart",
    ("maps", "class_neighbours"), render,
)  # fmt: skip
