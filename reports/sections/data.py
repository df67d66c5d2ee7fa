"""What was read: documents, words, labels, what is missing, and how that compares with the release."""

from collections import Counter
from typing import Any, NamedTuple

import pyarrow as pa
from markupsafe import Markup

from fuseline.reports.markup import fill
from fuseline.reports.page_data import ReportData
from fuseline.reports.section import Section

TEMPLATE = """\
<p class="lead">What was read, counted shard by shard. Words are those of the cleaned text.</p>
<div class="scroll"><table>
<thead><tr><th></th>{% for name in dataset.splits %}<th class="n">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in dataset.rows %}<tr><td>{{ row.name }}</td>{% for value in row.values %}<td class="n">{{ value }}</td>{% endfor %}</tr>{% endfor %}</tbody>
</table></div>
{% if dataset.labels %}
<h3>Documents per label{% if dataset.n_labels > 60 %}: the 60 most frequent of {{ "{:,}".format(dataset.n_labels) }}{% endif %}</h3>
<div class="columns">
{% for name, n in dataset.labels[:60] %}
<div class="bars"><span>{{ name|breakable }}</span><div class="bar"><i style="width:{{ "%.1f"|format(100 * n / dataset.labels[0][1]) }}%"></i></div><span class="n">{{ "{:,}".format(n) }}</span></div>
{% endfor %}
</div>
{% endif %}
{% if presence %}
<h3>After the stages</h3>
<div class="scroll"><table>
<thead><tr><th>stage</th><th class="n">present</th><th class="n">nothing to read</th><th class="n">failed</th></tr></thead>
<tbody>
{% for row in presence %}<tr><td>{{ row.stage|breakable }}</td>{% for n in (row.present, row.missing, row.failed) %}<td class="n">{{ "{:,}".format(n) }} ({{ (n / row.documents if row.documents else 0)|percent }})</td>{% endfor %}</tr>
{% endfor %}</tbody>
</table></div>
<p class="note">Documents with a text, an embedding or a look at their image; those that failed are listed under <a href="#quarantine">Skipped and quarantined</a>.</p>
{% endif %}
{% if leaks %}
<h3>Columns that give the label away</h3>
<div class="scroll"><table>
<thead><tr><th>column</th><th></th><th class="n">documents with a label</th><th class="n">on which it does</th></tr></thead>
<tbody>
{% for row in leaks %}<tr><td>{{ row.column|breakable }}</td><td>{{ "determines the label" if row.way == "determines" else "follows from the label" }}</td><td class="n">{{ "{:,}".format(row.documents) }}</td><td class="n">{{ (row.right / row.documents)|percent }}</td></tr>
{% endfor %}</tbody>
</table></div>
<p class="note">Models that read such a column may have learnt nothing else. A value that occurs once does not count, so an id is not listed.</p>
{% endif %}
{% if sources %}
<h3>Not in the source, by folder</h3>
<div class="scroll"><table>
<thead><tr><th>source</th><th class="n">documents</th>{% for field in fields %}<th class="n">{{ field }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in sources %}<tr><td>{{ row.source|breakable }}</td><td class="n">{{ "{:,}".format(row.n) }}</td>{% for field in fields %}<td class="n">{{ "{:,}".format(row.missing[field]) }} ({{ (row.missing[field] / row.n if row.n else 0)|percent }})</td>{% endfor %}</tr>
{% endfor %}</tbody>
</table></div>
{% endif %}
{% if published %}
<h3>Against the published counts</h3>
<div class="scroll"><table>
<thead><tr><th>count</th><th class="n">published</th><th class="n">found</th><th class="n">difference</th></tr></thead>
<tbody>
{% for row in published %}<tr><td>{{ row.measure }}</td><td class="n">{{ "{:,}".format(row.published) }}</td><td class="n">{{ "{:,}".format(row.found) }}</td><td class="n">{{ "{:+,}".format(row.found - row.published) }}</td></tr>
{% endfor %}</tbody>
</table></div>
{% endif %}
"""


TILES = """\
{% if dataset %}
<div class="tile"><span>Documents</span><b>{{ "{:,}".format(dataset.documents) }}</b><small>{{ dataset.n_labels }} labels</small></div>
{% endif %}
"""

SPLIT_ORDER = {"train": 0, "valid": 1, "test": 2}
PREFIX = "label:"
SOURCE_FIELDS = ("title", "description", "text", "html", "image", "labels")

Sums = Counter[tuple[str, str, str]]  # (split, field, measure) -> value


class Statistic(NamedTuple):
    """One line of the data table: a number per split and the total."""

    name: str
    values: list[str]


class DataTable(NamedTuple):
    """What the data set holds."""

    splits: list[str]
    rows: list[Statistic]
    labels: list[tuple[str, int]]  # every label with its documents, most frequent first
    documents: int
    n_labels: int


def data_table(statistics: pa.Table) -> DataTable | None:
    """Return the data set's counts; None when there are none."""
    sums: Sums = Counter()
    labels: Counter[str] = Counter()
    for row in statistics.to_pylist():
        if row["field"].startswith(PREFIX):
            labels[row["field"].removeprefix(PREFIX)] += row["value"]
        else:
            sums[row["split"], row["field"], row["measure"]] += row["value"]
            sums["all", row["field"], row["measure"]] += row["value"]
    if not sums["all", "documents", "documents"]:
        return None
    named = sorted({split for split, _, _ in sums} - {"all"}, key=lambda split: (SPLIT_ORDER.get(split, 9), split))
    splits = [*named, "all"]
    documents = [sums[split, "documents", "documents"] for split in splits]
    rows = [Statistic("documents", [f"{n:,}" for n in documents])]
    for name, field, measure, digits in (("words", "clean", "words", 1), ("labels", "labels", "labels", 2)):
        counts = [sums[split, field, measure] for split in splits]
        per = [f"{_ratio(n, of):.{digits}f}" for n, of in zip(counts, documents, strict=True)]
        rows += [Statistic(name, [f"{n:,}" for n in counts]), Statistic(f"{name} per document", per)]
    for name, field, measure in _missing_rows(sums):
        counts = [sums[split, field, measure] for split in splits]
        shares = [f"{n:,} ({100 * _ratio(n, of):.1f} %)" for n, of in zip(counts, documents, strict=True)]
        rows.append(Statistic(name, shares))
    ordered = sorted(labels.items(), key=lambda item: (-item[1], item[0]))
    return DataTable(splits, rows, ordered, documents[-1], len(ordered))


def source_rows(statistics: pa.Table) -> list[dict[str, Any]]:
    """Return per source folder its documents and how many lack each field (paper M, Table 1); empty for one folder."""
    counts: dict[str, Counter[str]] = {}
    for row in statistics.to_pylist():
        if row["measure"] == "missing" and row["field"] in SOURCE_FIELDS:
            counts.setdefault(row["source"] or "", Counter())[row["field"]] += row["value"]
        if row["field"] == row["measure"] == "documents":
            counts.setdefault(row["source"] or "", Counter())["documents"] += row["value"]
    rows = [
        {"source": name or "(top)", "n": found["documents"], "missing": found} for name, found in sorted(counts.items())
    ]
    return rows if len(rows) > 1 else []


def presence_rows(presence: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return per stage how many documents have what it makes, had nothing for it to read, or failed."""
    return [{**row, "documents": row["present"] + row["missing"] + row["failed"]} for row in presence]


def _missing_rows(sums: Sums) -> list[tuple[str, str, str]]:
    """Return (name, field, measure) of what some, but not all documents lack."""
    documents = sums["all", "documents", "documents"]
    rows = [("no text after cleaning", "clean", "missing"), ("cleaning failed", "clean", "failed")]
    rows += [("not usable", "documents", "failed")]
    fields = sorted({f for s, f, m in sums if s == "all" and m == "missing"} - {"clean"})
    rows += [(f"no {'label' if field == 'labels' else field} in the source", field, "missing") for field in fields]
    rows += [("image not found", "image", "failed")]
    return [row for row in rows if 0 < sums["all", row[1], row[2]] < documents]


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def render(data: ReportData) -> Markup | None:
    """Return the section; None without documents."""
    dataset = data_table(data.table("statistics"))
    if dataset is None:
        return None
    return fill(
        TEMPLATE, dataset=dataset, presence=presence_rows(data.rows("presence")), fields=SOURCE_FIELDS,
        sources=source_rows(data.table("statistics")), published=data.rows("release"), leaks=data.rows("leaks"),
    )  # fmt: skip


def tiles(data: ReportData) -> Markup:
    """Return the number of documents."""
    return fill(TILES, dataset=data_table(data.table("statistics")))


SECTION = Section(
    "data", "Data", "documents, words, labels and what is missing, by split", ("statistics", "presence", "release", "leaks"),
    render, tiles=tiles,
)  # fmt: skip
