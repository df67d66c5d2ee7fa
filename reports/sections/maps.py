"""Maps of embeddings and of hidden layers, how well they tell classes apart, and which classes lie near each other."""

from statistics import fmean
from typing import Any, NamedTuple

from markupsafe import Markup

from fuseline.reports.figures.scatter import scatter
from fuseline.reports.figures.similarity import similarity
from fuseline.reports.markup import fill
from fuseline.reports.page_data import ReportData, by
from fuseline.reports.quadrants import quadrant, quadrants
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
{% if one.quadrants %}
<h4>The same map by who is right</h4>
{{ one.quadrants }}
{% endif %}
{% if one.similar %}
<h4>How alike classes are in {{ one.vectors }}</h4>
{{ one.similar }}
<p class="note">Cosine of the classes' mean vectors, in hundredths: the most frequent classes, those that are alike side by side.</p>
{% endif %}
{% if one.pairs %}
<p class="note">Nearest classes of all: {% for pair in one.pairs %}{{ pair.label|breakable }} and {{ pair.other|breakable }} ({{ "%.2f"|format(pair.cosine) }}){% if not loop.last %}; {% endif %}{% endfor %}.</p>
{% endif %}
{% for own in one.inner %}
<h3>{{ own.label|breakable }} in {{ one.vectors }}, by who is right</h3>
{{ own.figure }}
<div class="scroll"><table>
<thead><tr><th></th><th class="n">documents</th><th class="n">cosine to the class</th></tr></thead>
<tbody>{% for name, n, cosine in own.parts %}<tr><td>{{ name }}</td><td class="n">{{ n }}</td><td class="n">{{ number(cosine) }}</td></tr>{% endfor %}</tbody>
</table></div>
<p class="note">A map of this class alone. Cosine: of a document's vector and the mean of its class, in the mean over the documents; below that of the others where a group is unlike the rest of the class.</p>
{% endfor %}
{% endfor %}
"""


class Separation(NamedTuple):
    """How well one class is told from the others."""

    label: str
    n: int
    purity: float | None
    silhouette: float | None


class InnerMap(NamedTuple):
    """The documents of one class."""

    label: str
    figure: Markup
    parts: list[tuple[str, int, float | None]]  # quadrant, documents, mean cosine to the class


class VectorMap(NamedTuple):
    """One dataset of vectors."""

    vectors: str
    n: int
    purity: float | None
    silhouette: float | None
    figure: Markup
    quadrants: Markup | None  # None where no model was asked
    inner: list["InnerMap"]
    classes: list[Separation]  # the best separated first
    similar: Markup | None  # which of the most frequent are alike
    pairs: list[dict[str, Any]]


def vector_maps(data: ReportData) -> list[VectorMap]:
    """Return one map per dataset of vectors."""
    tables = ("class_neighbours", "class_maps", "class_similarity")
    near, inner, alike = (dict(by(data.rows(table), "vectors")) for table in tables)
    maps = []
    for name, rows in by(data.rows("maps"), "vectors"):
        classes = [Separation(label, len(own), *_means(own)) for label, own in by(rows, "label")]
        classes.sort(key=lambda one: (-(one.purity or 0.0), one.label))
        pairs = sorted(
            (row for row in near.get(name, []) if row["label"] < row["other"]), key=lambda row: -row["cosine"]
        )
        own = [inner_map(label, part) for label, part in by(inner.get(name, []), "label")]
        similar = similarity(alike[name]) if name in alike else None
        figures = scatter(rows), quadrant_map(rows)
        maps.append(VectorMap(name, len(rows), *_means(rows), *figures, own, classes, similar, pairs[:NEAREST]))
    return maps


def quadrant_map(rows: list[dict[str, Any]]) -> Markup | None:
    """Return the figure of documents by which models are right; None where no model was asked."""
    models = rows[0]["models"]
    if not models:
        return None
    told = [{**row, "quadrant": quadrant(row["right"], models)} for row in rows]
    return scatter(told, by="quadrant", groups=quadrants(models))


def inner_map(label: str, rows: list[dict[str, Any]]) -> InnerMap:
    """Return the map of one class."""
    models = rows[0]["models"]
    parts: dict[str, list[float]] = {name: [] for name in quadrants(models)}
    for row in rows:
        parts[quadrant(row["right"], models)].append(row["cosine"])
    told = [(name, len(values), fmean(values) if values else None) for name, values in parts.items()]
    return InnerMap(label, quadrant_map(rows) or Markup(""), told)


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
    ("maps", "class_maps", "class_neighbours", "class_similarity"), render,
)  # fmt: skip
