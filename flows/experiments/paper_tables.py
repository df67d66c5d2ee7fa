"""The rows of Kiela 2018's tables, from what the trials of a sweep found."""

from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa

from fuseline.flows.experiments.trials import Grid, Trial
from fuseline.flows.graph import build
from fuseline.reports.papers.kiela_data import DATA, HIDDEN, METRICS, PAIRED, SCORES, SIZES, TIMES
from fuseline.reports.papers.published import accuracies, counts, minutes
from fuseline.stores.results import spread
from fuseline.stores.schemas import TOKENS
from fuseline.tasks.experiments.paired import SUMMED, paired_rows
from fuseline.tasks.experiments.trial import outcome_table

BASELINE = "text"  # kind of the model that gains are told against

Rows = dict[str, list[dict[str, Any]]]  # model -> rows of its seeds that ended well
Facts = dict[str, dict[str, Any]]  # model -> what its measured training told


def data_table(grid: Grid, published: str | None) -> pa.Table:
    """Return documents and words per split beside the published ones (K-05, Table 1)."""
    node = next(node for node in build(grid.config) if node.name == "statistics/total")
    dataset, found = node.dataset(grid.root), dict[tuple[str, str], int]()
    for record in dataset.records().values():
        for row in dataset.read(record).to_pylist():
            what = {("documents", "documents"): "documents", ("clean", "words"): "words"}.get(
                (row["field"], row["measure"])
            )
            if what:
                found[row["split"], what] = found.get((row["split"], what), 0) + row["value"]
    known = counts(published)
    rows = [
        {
            "split": split,
            **{what: found.get((split, what), 0) for what in ("documents", "words")},
            **{f"published_{what}": known.get((split, what)) for what in ("documents", "words")},
        }
        for split in ("train", "valid", "test")
    ]
    return pa.Table.from_pylist(rows if found else [], schema=DATA)


def score_table(grid: Grid, rows: Rows, published: str | None, *, multi_label: bool) -> pa.Table:
    """Return one row per model: test scores over the seeds, the published value, what it gains on `text` (K-33, K-36).

    Models without a seed that ended well have a row with nulls.
    """
    known, made = accuracies(published), []
    base = _mean(rows, _baseline(grid), "test", "p_at_1")
    for name in grid.names:
        kind, point, own = grid.config.models[name].kind, grid.chosen(name), rows[name]
        row: dict[str, Any] = {"model": name, "kind": kind, "seeds": len(own)}
        row |= {"direction": (point or {}).get("gate"), "options": own[0]["options"] if own else None}
        row["valid"] = _mean(rows, name, "valid", grid.config.sweep.metric)
        for metric in METRICS:
            row[metric], row[f"{metric}_std"] = spread(_values(own, "test", metric))
        row["n"] = int(own[0]["splits"].get("test", {}).get("n", 0)) if own else 0
        if kind in known:
            as_, value, std = known[kind]
            row |= {"published_as": as_, "published": value / 100, "published_std": None if std is None else std / 100}
            row["gap"] = _less(row["p_at_1"], value / 100)
            row["gap_f1_micro"] = _less(row["f1_micro"], value / 100) if multi_label else None
        gain = None if kind == BASELINE else _less(row["p_at_1"], base)
        made.append({**row, "extra_correct": None if gain is None else round(gain * row["n"])})
    return pa.Table.from_pylist(made, schema=SCORES)


def paired_table(grid: Grid, *, multi_label: bool) -> pa.Table:
    """Return how much better every model is than every other on the same test documents."""
    metric = grid.config.sweep.metric
    metric = metric if metric in SUMMED else "f1_micro" if multi_label else "accuracy"
    found = {name: tables for name in grid.names if (tables := _written(grid, grid.finals(name), "documents"))}
    return pa.Table.from_pylist(list(paired_rows(found, metric=metric, multi_label=multi_label)), schema=PAIRED)


def time_table(grid: Grid, facts: Facts) -> pa.Table:
    """Return the times of the fit alone, with the ratio to `text` and the published ones (K-34, Table 3)."""
    seconds = {name: [fit["seconds"] for fit in told["times"]] for name, told in facts.items()}
    base, known = seconds.get(_baseline(grid) or ""), minutes()
    rows = []
    for name, told in facts.items():
        own, published = seconds[name], known.get(grid.config.models[name].kind)
        rows.append(
            {
                "model": name,
                "seconds": median(own),
                "fastest": min(own),
                "slowest": max(own),
                "processor_seconds": median(fit["processor_seconds"] for fit in told["times"]),
                "fits": len(own),
                "ratio": median(own) / median(base) if base else None,
                "published_minutes": published,
                "published_ratio": None if published is None else published / known[BASELINE],
                **{key: told["machine"][key] for key in ("processor", "cores", "load")},
            }
        )
    return pa.Table.from_pylist(rows, schema=TIMES)


def size_table(facts: Facts) -> pa.Table:
    """Return parameters, operations, and the bytes that models and documents take (K-32, K-40)."""
    rows = []
    for name, told in facts.items():
        model, sizes = told["model"], told["sizes"]
        text = sizes["text_bytes"] + 4 * sizes["text_numbers"]
        image = 4 * sizes["image_numbers"] + sizes["image_codes"]
        columns = 4.0 * sizes["column_numbers"]
        rows.append(
            {
                "model": name,
                "parameters": model.get("parameters"),
                "bytes": model.get("bytes"),
                "multiply_adds": model.get("multiply_adds_per_document"),
                "text_bytes": text,
                "image_bytes": float(image),
                "image_bytes_float16": 2.0 * sizes["image_numbers"] if sizes["image_numbers"] else None,
                "column_bytes": columns,
                "document_bytes": text + image + columns,
            }
        )
    return pa.Table.from_pylist(rows, schema=SIZES)


def hidden_table(grid: Grid, rows: Rows) -> pa.Table:
    """Return the score on test with one modality hidden (K-39); null where a model does not read it."""
    metric, made = grid.config.sweep.metric, []
    for name, own in rows.items():
        row: dict[str, Any] = {"model": name, "metric": metric, "seeds": len(own)}
        row["test"] = _mean(rows, name, "test", metric)
        for modality in ("image", "text"):
            values = _values(own, f"test without {modality}", metric)
            row[f"without_{modality}"], row[f"without_{modality}_std"] = spread(values)
        made.append(row)
    return pa.Table.from_pylist(made, schema=HIDDEN)


def token_table(grid: Grid) -> pa.Table:
    """Return the words nearest to the visual tokens of every model that has some (K-37, Table 5)."""
    tables, at = [TOKENS.empty_table()], TOKENS.get_field_index("model")
    for name in grid.names:
        for table in _written(grid, grid.timings(name), "tokens"):
            tables.append(table.set_column(at, TOKENS.field(at), pa.repeat(name, len(table))))
    return pa.concat_tables(tables)


def _baseline(grid: Grid) -> str | None:
    return next((name for name in grid.names if grid.config.models[name].kind == BASELINE), None)


def _written(grid: Grid, trials: list[Trial], name: str) -> list[pa.Table]:
    """Return a table of those trials that wrote one."""
    tables = (outcome_table(trial.node, grid.root, name) for trial in trials)
    return [table for table in tables if table is not None]


def _values(rows: list[dict[str, Any]], split: str, metric: str) -> list[float]:
    return [row["splits"][split][metric] for row in rows if metric in row["splits"].get(split, {})]


def _mean(rows: Rows, name: str | None, split: str, metric: str) -> float | None:
    values = _values(rows[name], split, metric) if name is not None else []
    return float(np.mean(values)) if values else None


def _less(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b
