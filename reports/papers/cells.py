"""Cells of the tables of papers Z, M, P and R: published and ours in one list, laid out as rows and columns."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from fuseline.reports.papers.claims import Mean
from fuseline.reports.papers.printed import Cell, Row, Table
from fuseline.reports.papers.published import published_rows
from fuseline.reports.papers.rows import Known
from fuseline.reports.papers.runs import DataSet

PUBLISHED, HERE = "published", "here"
OTHERS = "Not in the paper"
COUNTS = ("layers", "q", "batch_size")

CELLS = pa.schema(
    [
        ("paper", pa.string()),
        ("table", pa.string()),
        ("dataset", pa.string()),
        ("source", pa.string()),  # published, or here
        ("row", pa.string()),  # as published.csv has it; "" where the paper prints no figures
        ("model", pa.string()),  # name in the configuration; "" for what is published
        ("metric", pa.string()),
        ("value", pa.float64()),  # per cent, points or a count
        ("std", pa.float64()),  # over the seeds; null for one
        ("published", pa.float64()),  # of the same row and metric
        ("gap", pa.float64()),  # value less published
        ("stands_in_for", pa.list_(pa.string())),  # published networks in whose place the model has others
        ("note", pa.string()),  # how else it differs
    ]
)


class Value(NamedTuple):
    """One number of a table."""

    table: str
    dataset: str
    source: str
    row: str
    model: str
    metric: str
    mean: Mean
    published: float | None = None

    @property
    def gap(self) -> float | None:
        """Ours less the published."""
        return None if self.published is None else self.mean.value - self.published


class Part(NamedTuple):
    """Columns of one data set of one source: metrics, with their heads."""

    dataset: str
    source: str
    heads: dict[str, str]  # metric -> head of its column
    gaps: tuple[str, ...] = ()  # metrics that have the distance to the published in a column of its own
    bold: tuple[str, ...] = ()  # metrics whose best is bold


def printed_cells(paper: str, table: str) -> dict[tuple[str, str], float]:
    """Return (row, metric) -> number of one published table; what is not legible is left out."""
    rows = published_rows(paper, table)
    return {(row["row"], row["metric"]): row["value"] for row in rows if row["value"] is not None}


def labels(paper: str) -> dict[str, str]:
    """Return row -> its name in the paper's tables."""
    return {row["row"]: row["row_label"] for table in ("text", "3", "1") for row in published_rows(paper, table)}


def cell_table(paper: str, values: Iterable[Value], rows: Sequence[Known], data: Sequence[DataSet]) -> pa.Table:
    """Return CELLS."""
    notes, sets = {one.model: one.note for one in rows}, {one.title: one for one in data}
    found = []
    for one in values:
        stands = _stand_ins(sets[one.dataset], one.model) if one.source == HERE else []
        found.append(
            {
                "paper": paper, "table": one.table, "dataset": one.dataset, "source": one.source, "row": one.row,
                "model": one.model, "metric": one.metric, "value": one.mean.value, "std": one.mean.std,
                "published": one.published, "gap": one.gap, "stands_in_for": stands, "note": notes.get(one.model, ""),
            }
        )  # fmt: skip
    return pa.Table.from_pylist(found, schema=CELLS)


def laid_out(
    values: Iterable[Value], table: str, *, parts: Sequence[Part], rows: Sequence[Known], names: Mapping[str, str],
    remarks: Mapping[str, str],
) -> Table:  # fmt: skip
    """Return one table: the rows that have a cell, in their groups; the highest score of a column in bold.

    Args:
        values: of every table.
        table: which is laid out.
        parts: its columns.
        rows: every row, in order.
        names: row -> its name in the paper.
        remarks: model -> how it differs from the paper's, which is said below the table; its row has a star.
    """
    cells: dict[tuple[str, str, str, str], Value] = {}
    tops: dict[tuple[str, str, str], float] = {}
    for one in values:
        if one.table == table:
            cells[one.dataset, one.source, one.model or one.row, one.metric] = one
            place = one.dataset, one.source, one.metric
            tops[place] = max(tops.get(place, -math.inf), round(one.mean.value, 1))
    groups: dict[str, list[Row]] = {}
    noted: dict[str, list[str]] = {}
    seen: set[str] = set()  # what is published stands once, beside the first of its models
    for known in rows:
        texts = []
        for part in parts:
            key = known.model if part.source == HERE else "" if known.row in seen else known.row
            texts += [cell for metric in part.heads for cell in _cells(part, metric, key, cells, tops)]
        if any(cell.text for cell in texts):
            seen.add(known.row)
            label = names.get(known.row) or known.label or known.model
            star = ""
            if remark := remarks.get(known.model):
                noted.setdefault(remark, []).append(known.model)
                star = "*"
            alone = known.model in ("", label)
            name, own = (f"{label}{star}", "") if alone else (label, f"{known.model}{star}")
            groups.setdefault(known.group, []).append(Row(name, own, texts))
    heads = [(part.dataset, len(part.heads) + len(part.gaps)) for part in parts]
    columns = [head for part in parts for metric, head in part.heads.items()
               for head in ([head, "gap"] if metric in part.gaps else [head])]  # fmt: skip
    said = "; ".join(f"{remark} ({', '.join(models)})" for remark, models in noted.items())
    return Table(heads, columns, list(groups.items()), f"* not as in the paper: {said}" if said else "")


def remarks(rows: Iterable[Known], data: Iterable[DataSet]) -> dict[str, str]:
    """Return model -> how it differs from the row: networks that others stand in for, then what the map notes."""
    found: dict[str, dict[str, None]] = {}
    for one in data:
        for model in one.models:
            if stands := _stand_ins(one, model):
                found.setdefault(model, {})[f"another network for {', '.join(stands)}"] = None
    for known in rows:
        if known.model and known.note:
            found.setdefault(known.model, {})[known.note] = None
    return {model: "; ".join(notes) for model, notes in found.items()}


def others(rows: Sequence[Known], data: Iterable[DataSet]) -> tuple[Known, ...]:
    """Return the rows, and after them the other models that were scored."""
    known = {one.model for one in rows}
    more = dict.fromkeys(model for one in data for model, condition, _ in one.scored if condition is None)
    return (*rows, *(Known(OTHERS, model) for model in sorted(more) if model not in known))


def mean_text(mean: Mean, metric: str) -> str:
    """Print a number: counts whole, gains with their sign, per cent with one decimal and the deviation over seeds."""
    if metric in COUNTS:
        return f"{mean.value:,.0f}"
    text = f"{mean.value:+.1f}" if metric.endswith("gain") else f"{mean.value:.1f}"
    return text if mean.std is None else f"{text} ± {mean.std:.1f}"


def _cells(
    part: Part, metric: str, key: str, cells: Mapping[tuple[str, str, str, str], Value],
    tops: Mapping[tuple[str, str, str], float],
) -> Iterator[Cell]:  # fmt: skip
    one = cells.get((part.dataset, part.source, key, metric)) if key else None
    top = tops.get((part.dataset, part.source, metric))
    bold = metric in part.bold and one is not None and round(one.mean.value, 1) == top
    yield Cell() if one is None else Cell(mean_text(one.mean, metric), bold)
    if metric in part.gaps:
        gap = None if one is None else one.gap
        yield Cell("" if gap is None else f"{gap:+.1f}")


def _stand_ins(data: DataSet, model: str) -> list[str]:
    return data.models.get(model, {}).get("stands_in_for") or []
