"""What each input had in predictions: documents with a matrix of models and inputs, and means by label (R-22)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from fuseline.reports.markup import fill, picture
from fuseline.reports.page_data import ReportData
from fuseline.reports.section import Section

DOCUMENTS, LABELS = 6, 12  # shown
LEAST = 0.005  # share that a cell shows
LABEL_CHARACTERS = 40
TEMPLATE = """\
<p class="lead">Share of each input in the predictions: dimensions that its elements won, of models that pool by max or min; of others
how far the label's probability falls without the input (<em>left out</em>). Empty: nothing; red: a wrong label. All parts of all predictions are in the
tables <code>importances</code> and <code>element_importance</code>.</p>
<div class="matrices">
{% for row in documents %}
<article class="matrix" data-shows='{{ [row.id]|tojson }}'>
<div class="inputs">{% if row.uri %}<img src="{{ row.uri }}" alt="">{% else %}<span>no image</span>{% endif %}
<div><p><strong>{{ row.labels|join(", ") }}</strong></p>
{% if row.words %}<p class="text">read in the image: {{ row.words }}</p>{% endif %}
<p class="text">{{ row.text or "(no text)" }}</p><p class="id">{{ row.id }}</p></div></div>
{{ table(row.grid) }}
</article>
{% endfor %}
</div>
{% for split, model, method, grid in means %}
<h3>{{ model }} <span class="tag">{{ method }}, mean over the predictions of each label on {{ split }}</span></h3>
{{ table(grid) }}
{% endfor %}
"""
TABLE = """\
<div class="scroll"><table class="heat wide">
<thead><tr><th></th>{% for name in grid.columns %}<th><bdi>{{ name }}</bdi></th>{% endfor %}</tr></thead>
<tbody>{% for head, hint, right, cells in grid.lines %}
<tr><th title="{{ hint }}"><bdi>{{ head }}</bdi></th>
{% for share in cells %}{% if share is none or share < least %}<td></td>{% else %}<td class="{{ "no" if right is false else "ok" }}{{ " deep" if share > 0.55 else "" }}" style="--s:{{ "%.0f"|format(10 + 90 * share) }}%" title="{{ grid.columns[loop.index0] }}: {{ share|percent }}">{{ "%.0f"|format(100 * share) }}</td>{% endif %}{% endfor %}
</tr>{% endfor %}</tbody>
</table></div>
"""


class Line(NamedTuple):
    """One row of a matrix."""

    head: str
    hint: str
    right: bool | None  # whether the label is one of the document's own; None where that says nothing
    cells: list[float | None]


class Grid(NamedTuple):
    """A matrix of shares 0..1."""

    columns: list[str]
    lines: list[Line]


def document_grid(row: dict[str, Any]) -> Grid:
    """Return the matrix of one document (a MATRICES row): a line per model, with its label; a column per input."""
    shares = [{part["input"]: part["share"] for part in model["shares"]} for model in row["models"]]
    columns = sorted({name for own in shares for name in own})
    lines = [
        Line(
            f"{model['model']}: {(model['label'] or 'no input')[:LABEL_CHARACTERS]}",
            f"{model['model']} ({model['method'].replace('_', ' ')})",
            None if model["label"] is None else model["label"] in row["labels"],
            [own.get(name) for name in columns],
        )
        for model, own in zip(row["models"], shares, strict=True)
    ]
    return Grid(columns, lines)


def class_grids(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str, str, Grid]]:
    """Return (split, model, method, matrix) of CLASS_IMPORTANCE rows: the most frequent labels, all documents first."""
    found = []
    for split, model, method in sorted({(row["split"], row["model"], row["method"]) for row in rows}):
        own = [row for row in rows if (row["split"], row["model"], row["method"]) == (split, model, method)]
        columns = sorted({row["input"] for row in own if row["input"] is not None})
        has_dead = any(row["input"] is None and row["share"] >= LEAST for row in own)
        cells = {(row["label"], row["input"]): row["share"] for row in own}
        counts = {row["label"]: row["n"] for row in own}
        labels = sorted((label for label in counts if label is not None), key=lambda one: (-counts[one], one))[:LABELS]
        names: list[str | None] = [*columns, *([None] if has_dead else [])]
        lines = [
            Line("all" if label is None else label, f"{counts[label]} documents", None,
                 [cells.get((label, name)) for name in names])
            for label in (*([None] if None in counts else []), *labels)
        ]  # fmt: skip
        found.append((split, model, method.replace("_", " "), Grid(["dead" if n is None else n for n in names], lines)))
    return found


def best_method(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return of every model the rows of one method: own where it tells of elements (or dead ones), else left_out."""
    telling = {row["model"] for row in rows if row["input"] is None}
    return [row for row in rows if row["method"] == ("own" if row["model"] in telling else "left_out")]


def render(data: ReportData) -> Markup | None:
    """Return the section; None where nothing was asked for."""
    means = class_grids(best_method(data.rows("class_importance", split=data.split)))
    documents = [
        {**row, "grid": document_grid(row), "uri": picture(row["picture"])} for row in data.rows("matrices")[:DOCUMENTS]
    ]
    if not means and not documents:
        return None
    return fill(TEMPLATE, documents=documents, means=means, table=lambda grid: fill(TABLE, grid=grid, least=LEAST))


SECTION = Section(
    "matrices", "Inputs", "what each input and element had in predictions, of documents and by label",
    ("class_importance", "matrices", "metrics", "measures"), render, heading="What the inputs had in predictions",
)  # fmt: skip
