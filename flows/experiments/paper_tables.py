"""The rows of Kiela 2018's tables, from the scores of a sweep and what its measured trainings took."""

from collections import Counter
from statistics import median
from typing import Any

import pyarrow as pa

from fuseline.flows.experiments.tables import Sweep
from fuseline.flows.experiments.trials import Grid, Trial
from fuseline.flows.graph import build
from fuseline.reports.papers.kiela_data import (
    DATA,
    HIDDEN,
    METRICS,
    PAIRED,
    SIZES,
    TIMES,
    VARIED,
    chosen_means,
    scores_schema,
)
from fuseline.reports.papers.published import accuracies, counts, minutes
from fuseline.stores.schemas import TOKENS
from fuseline.tasks.experiments.paired import SUMMED, pairs
from fuseline.tasks.experiments.trial import Measured, Tested, outcome_table

BASELINE = "text"  # kind of the model that gains are measured against

Costs = dict[str, Measured]  # model -> what its measured training took


class Means:
    """The scores of the chosen options over the seeds."""

    def __init__(self, results: pa.Table, chosen: dict[str, str | None]) -> None:
        rows = chosen_means(results, chosen).to_pylist()
        self._rows: dict[tuple[str, str, str | None, str], dict[str, Any]] = {
            (row["model"], row["split"], row["condition"], row["metric"]): row for row in rows
        }

    def row(self, model: str, split: str, metric: str, masked: str | None = None) -> dict[str, Any]:
        """Return a SUMMARY row; where there is none its mean and standard deviation are None, and it is of no seed."""
        absent = {"mean": None, "std": None, "values": 0, "n": 0}
        return self._rows.get((model, split, masked and f"{masked} masked", metric), absent)

    def mean(self, model: str | None, split: str, metric: str) -> float | None:
        """Return the mean of a score; None without a model or a score."""
        value: float | None = None if model is None else self.row(model, split, metric)["mean"]
        return value


def measured(grid: Grid) -> Costs:
    """Return what the measured trainings that ended well took, by model."""
    costs = {}
    for name in grid.names:
        for one in grid.outcomes(grid.timings(name)):
            if one is not None and isinstance(one.record.facts, Measured):
                costs[name] = one.record.facts
    return costs


def has_several_labels(grid: Grid) -> bool:
    """Return whether documents may carry several labels, as the trials of the chosen options say."""
    facts = [one.record.facts for name in grid.names for one in grid.outcomes(grid.finals(name)) if one is not None]
    return any(isinstance(own, Tested) and own.multi_label for own in facts)


def data_table(grid: Grid, published: str | None) -> pa.Table:
    """Return documents and words per split beside the published ones (K-05, Table 1)."""
    node = next(node for node in build(grid.config) if node.name == "statistics/total")
    dataset, totals = node.dataset(grid.root), Counter[tuple[str, str]]()
    counted = {("documents", "documents"): "documents", ("clean", "words"): "words"}
    for record in dataset.records().values():
        for row in dataset.read(record).to_pylist():
            if what := counted.get((row["field"], row["measure"])):
                totals[row["split"], what] += row["value"]
    known = counts(published)
    rows = [
        {
            "split": split,
            **{what: totals[split, what] for what in counted.values()},
            **{f"published_{what}": known.get((split, what)) for what in counted.values()},
        }
        for split in ("train", "valid", "test")
    ]
    return pa.Table.from_pylist(rows if totals else [], schema=DATA)


def score_table(grid: Grid, sweep: Sweep, published: str | None, *, multi_label: bool) -> pa.Table:
    """Return one row per model: test scores over the seeds, the published value, what it gains on `text` (K-33, K-36).

    What a model has no score of is null.
    """
    known, means, rows = accuracies(published), Means(sweep.results, sweep.chosen), []
    schema = scores_schema(sweep.metric)
    base = means.mean(_baseline(grid), "test", "p_at_1")
    for name in grid.names:
        kind, point = grid.config.models[name].kind, grid.chosen(name) or {}
        valid, accuracy = means.row(name, "valid", sweep.metric), means.row(name, "test", "accuracy")
        row: dict[str, Any] = {"model": name, "kind": kind, "gate": point.get("gate"), "options": sweep.chosen[name]}
        row |= {"valid": valid["mean"], "seeds": valid["values"], "n": accuracy["n"]}
        for metric in dict.fromkeys((*METRICS, sweep.metric)):
            score = means.row(name, "test", metric)
            row |= {metric: score["mean"], f"{metric}_std": score["std"]}
        if kind in known:
            as_, value, std = known[kind]
            row |= {"published_as": as_, "published": value / 100, "published_std": None if std is None else std / 100}
            row["gap"] = _less(row["p_at_1"], value / 100)
            row["gap_f1_micro"] = _less(row["f1_micro"], value / 100) if multi_label else None
        gain = None if kind == BASELINE else _less(row["p_at_1"], base)
        rows.append({**row, "extra_correct": None if gain is None else round(gain * row["n"])})
    return pa.Table.from_pylist(rows, schema=schema)


def paired_table(grid: Grid, *, multi_label: bool) -> pa.Table:
    """Return how much better every model is than every other on the same test documents."""
    metric = grid.config.sweep.metric
    metric = metric if metric in SUMMED else "f1_micro" if multi_label else "accuracy"
    tested = {name: tables for name in grid.names if (tables := _written(grid, grid.finals(name), "documents"))}
    rows = [pair._asdict() for pair in pairs(tested, metric=metric, multi_label=multi_label)]
    return pa.Table.from_pylist(rows, schema=PAIRED)


def time_table(grid: Grid, costs: Costs, published: str | None) -> pa.Table:
    """Return the times of the fit alone, with the ratio to `text` and the published ones (K-34, Table 3)."""
    seconds = {name: [fit.seconds for fit in cost.times] for name, cost in costs.items()}
    base, known = seconds.get(_baseline(grid) or ""), minutes(published)
    rows = []
    for name, cost in costs.items():
        own, minute = seconds[name], known.get(grid.config.models[name].kind)
        rows.append(
            {
                "model": name,
                "seconds": median(own),
                "fastest": min(own),
                "slowest": max(own),
                "processor_seconds": median(fit.processor_seconds for fit in cost.times),
                "fits": len(own),
                "ratio": median(own) / median(base) if base else None,
                "published_minutes": minute,
                "published_ratio": None if minute is None else minute / known[BASELINE],
                "processor": cost.machine.processor,
                "cores": cost.machine.cores,
                "load": cost.machine.load,
            }
        )
    return pa.Table.from_pylist(rows, schema=TIMES)


def size_table(costs: Costs) -> pa.Table:
    """Return parameters, operations, and the bytes that models and documents take (K-32, K-40)."""
    rows = []
    for name, cost in costs.items():
        model, sizes = cost.model, cost.sizes
        text = sizes.text_bytes + 4 * sizes.text_numbers
        image = 4 * sizes.image_numbers + sizes.image_codes
        columns = 4.0 * sizes.column_numbers
        rows.append(
            {
                "model": name,
                "parameters": model.get("parameters"),
                "bytes": model.get("bytes"),
                "multiply_adds": model.get("multiply_adds_per_document"),
                "text_bytes": text,
                "image_bytes": float(image),
                "image_bytes_float16": 2.0 * sizes.image_numbers if sizes.image_numbers else None,
                "column_bytes": columns,
                "document_bytes": text + image + columns,
            }
        )
    return pa.Table.from_pylist(rows, schema=SIZES)


def hidden_table(grid: Grid, sweep: Sweep) -> pa.Table:
    """Return the score on test with one modality masked (K-39); null where a model does not read it."""
    means, rows = Means(sweep.results, sweep.chosen), []
    for name in grid.names:
        plain = means.row(name, "test", sweep.metric)
        row: dict[str, Any] = {"model": name, "metric": sweep.metric}
        row |= {"seeds": means.row(name, "valid", sweep.metric)["values"], "test": plain["mean"]}
        for modality in ("image", "text"):
            score = means.row(name, "test", sweep.metric, modality)
            row |= {f"without_{modality}": score["mean"], f"without_{modality}_std": score["std"]}
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=HIDDEN)


def varied_table(grid: Grid, sweep: Sweep) -> pa.Table:
    """Return the scores on test with one of the chosen options changed, beside those of the chosen ones (K-41)."""
    kept, rows = Means(sweep.results, sweep.chosen), []
    for name in grid.names:
        chosen, points = grid.chosen(name) or {}, {trial.options: trial.point for trial in grid.varied(name)}
        base = kept.row(name, "test", "p_at_1")
        for text, point in points.items():
            changed = Means(sweep.results, {name: text}).row(name, "test", "p_at_1")
            ((option, value),) = (
                (axis, own) for axis, own in point.items() if axis not in chosen or chosen[axis] != own
            )
            row = {"model": name, "kind": grid.config.models[name].kind, "option": option, "value": str(value)}
            row |= {"p_at_1": changed["mean"], "p_at_1_std": changed["std"], "seeds": changed["values"]}
            rows.append({**row, "chosen": base["mean"], "chosen_std": base["std"]})
    return pa.Table.from_pylist(rows, schema=VARIED)


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


def _less(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b
