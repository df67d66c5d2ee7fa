"""Rows for the report's sections about data, classes, examples and the run."""

from collections import Counter
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from fuseline.reports.sections.tokens import picture

MAX_CLASSES = 60  # of the per-class table and the heat map
MAX_CONFUSIONS = 12
FIRST_ROWS = 20
COLOURS = 5  # that the style sheet knows
SPLIT_ORDER = {"train": 0, "valid": 1, "test": 2}
PREFIX = "label:"
SEARCHED = 100_000  # rows of the quarantine table that the examples are taken from

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


class HeatCell(NamedTuple):
    """One cell of the confusion heat map."""

    n: int
    share: float  # of the true class's documents
    right: bool


class Heat(NamedTuple):
    """Confusions: rows are true classes, columns predicted ones in the same order, then what is not shown."""

    labels: list[str]
    cells: list[list[HeatCell]]
    hidden: int  # documents whose true or predicted class is not shown
    classes: int


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


def class_rows(classes: pa.Table | None, *, model: str, split: str) -> list[dict[str, Any]]:
    """Return the classes of one model and split, the best F1 first; the largest ones when there are too many."""
    rows = _of(classes, model=model, split=split)
    rows = sorted(rows, key=lambda row: -row["support"])[:MAX_CLASSES]
    return sorted(rows, key=lambda row: (-row["f1"], row["label"]))


def heat_map(confusion: pa.Table | None, *, model: str, split: str) -> Heat | None:
    """Return the confusions of one model and split, for its largest classes."""
    rows = _of(confusion, model=model, split=split)
    if not rows:
        return None
    support: Counter[str] = Counter()
    counts: Counter[tuple[str, str | None]] = Counter()
    for row in rows:
        support[row["label"]] += row["n"]
        counts[row["label"], row["predicted"]] += row["n"]
    labels = sorted(label for label, _ in support.most_common(MAX_CLASSES))
    cells = [
        [HeatCell(counts[t, p], counts[t, p] / support[t], t == p) for p in labels] for t in labels
    ]  # fmt: skip
    shown = sum(cell.n for line in cells for cell in line)
    return Heat(labels, cells, support.total() - shown, len(support))


def top_confusions(confusion: pa.Table | None, *, model: str, split: str) -> list[dict[str, Any]]:
    """Return the most frequent wrong pairs, and pairs that occur once only when there are no others."""
    wrong = [row for row in _of(confusion, model=model, split=split) if row["label"] != row["predicted"]]
    wrong = [row for row in wrong if row["n"] > 1] or wrong
    return sorted(wrong, key=lambda row: (-row["n"], row["label"], row["predicted"] or ""))[:MAX_CONFUSIONS]


def examples(gallery: pa.Table | None, *, model: str) -> dict[str, list[dict[str, Any]]]:
    """Return kind -> examples with their picture as a data URI."""
    found: dict[str, list[dict[str, Any]]] = {"right": [], "wrong": [], "confident_error": []}
    for row in _of(gallery, model=model):
        uri = _webp(row["thumbnail"])
        best = row["top_k"][0] if row["top_k"] else None
        found.setdefault(row["kind"], []).append({**row, "uri": uri, "best": best})
    return {kind: rows for kind, rows in found.items() if rows}


def sheet_rows(sheet: pa.Table | None) -> list[dict[str, Any]]:
    """Return the images of the contact sheet as data URIs."""
    return [{**row, "uri": _webp(row["picture"])} for row in _of(sheet)]


def importance_rows(importance: pa.Table | None, *, split: str) -> list[tuple[str, list[tuple[str, float]]]]:
    """Return (model, [(modality, share)]) of one split."""
    models: dict[str, list[tuple[str, float]]] = {}
    for row in _of(importance, split=split):
        models.setdefault(row["model"], []).append((row["modality"], row["share"]))
    return [(model, sorted(shares)) for model, shares in sorted(models.items())]


def modality_colours(importance: pa.Table | None, gallery: pa.Table | None) -> dict[str, int]:
    """Return modality -> colour number, the same wherever a modality appears."""
    names = {row["modality"] for row in _of(importance)}
    names |= {part["modality"] for row in _of(gallery) for part in row["importance"] or ()}
    return {name: number % COLOURS for number, name in enumerate(sorted(names))}


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


def presence_rows(presence: pa.Table) -> list[dict[str, Any]]:
    """Return per stage how many documents have what it makes, had nothing for it to read, or failed."""
    rows = presence.to_pylist()
    return [{**row, "documents": row["present"] + row["missing"] + row["failed"]} for row in rows]


def _webp(data: bytes | None) -> str | None:
    return None if data is None else picture(data)


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


def _of(table: pa.Table | None, **wanted: str) -> list[dict[str, Any]]:
    """Return the rows whose columns have the wanted values."""
    if table is None or not len(table):
        return []
    for name, value in wanted.items():
        table = table.filter(pc.equal(table[name], value))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows
