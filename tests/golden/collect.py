"""What a root holds, as digests that depend on content alone: no key, no clock, no layout of ours is in them.

The files are read with the libraries that define their formats, so that this module stays when the stores change.
"""

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zarr
from safetensors.numpy import load_file

# Keys may change when the code does, and clocks always do.
VOLATILE = {
    "row_inputs", "model_key", "dataset_keys", "key", "run", "seconds", "fastest", "slowest", "processor_seconds",
    "ratio", "processor", "cores", "load", "source_file", "inputs", "compile_seconds", "words_per_second", "machine",
    "times", "search_seconds",
}  # fmt: skip
# Options that came later, at the values that the models had before.
LATER_OPTIONS = {("preset", "'fasttext'"), ("scaling", "'unit'"), ("weighting", "'mean'"), ("bins", "255")}
# Metrics that came later: their rows are left out.
LATER_METRICS = ("hit_at_3", "hit_at_10", "ece", "quadratic_kappa", "auc")
LATER_TABLES = (
    "masked_classes", "groups", "comparisons", "maps", "class_maps", "class_neighbours", "class_similarity",
    "decisions", "quadrants", "call_rates", "calibration", "reconstructions", "class_importance", "importances",
    "instances", "estimates", "value_errors",
)  # fmt: skip
# Columns that the results table got after the golden numbers were taken: left out while they are null.
LATER = ({"options", "condition"}, {"metrics.options", "metrics.condition"})
LATER_LISTS = ("element_shares",)  # of predictions: left out while they are empty
LATER_OF_MODELS = ("options", "stands_in_for")
# Names that changed since the net was drawn: what they hold did not.
FORMER = {"token_counts": "owners", "representatives": "typical", "trial.json": "cell.json", "phase": "scope"}
FORMER_PHASES = {"search": "grid", "timing": "alone"}
TABLES = ("latest", "sweep", "metrics")
# Sweeps had a table per use, with a column per axis, and the scores of a trial lay in its record.
AXES = ("lr", "epochs", "dim", "alpha", "gate", "image_length")
SCORES = ("accuracy", "p_at_1", "top_5", "f1_micro", "f1_macro", "f1_weighted", "f1_samples", "log_loss")
PARTS = (("valid", None), ("test", None), ("test", "image masked"), ("test", "text masked"))
LIBRARIES = ("torch", "numpy", "numba", "onnxruntime", "lightgbm", "scikit-learn", "pillow", "faiss-cpu")


def collect(root: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Return name -> column or array -> {n, digest, mean} of every dataset, checkpoint and published table."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for manifest in sorted(root.glob("*/**/manifest.json")):
        folder = manifest.parent
        role, _, short = folder.parent.relative_to(root).as_posix().partition("/")
        name = f"{FORMER.get(role, role)}/{short}"
        if role == "leaks":
            continue  # came later
        values = dict(_checkpoint(folder)) if any(folder.glob("checkpoint-*")) else _dataset(folder)
        # A sweep holds many trainings of one name: their keys may change, so they are told apart by content.
        if name.startswith("sweep/"):
            name = f"{name} {_digest(json.dumps(values, sort_keys=True).encode())}"
        assert name not in found, f"two versions of {name}"
        found[name] = values
    for folder in TABLES:
        for path in sorted((root / folder).glob("*.parquet")):
            name = folder if folder == "metrics" else f"{folder}/{path.stem}"
            if path.stem == "searches" and not pq.read_metadata(path).num_rows:
                continue  # came later; models that are given all options search nothing
            if path.stem in LATER_TABLES and not pq.read_metadata(path).num_rows:
                continue  # came later; a run that does not ask for them has none
            if path.stem == "varied" and not pq.read_metadata(path).num_rows:
                continue  # came later; a sweep that asks for no other threads and counts varies nothing
            found[name] = _columns(pq.read_table(path, partitioning=None))
            if name == "latest/models":
                found[name] = {column: one for column, one in found[name].items() if column not in LATER_OF_MODELS}
    return _former_sweep(root, found) if (root / "sweep" / "trials.parquet").exists() else found


def machine() -> dict[str, str]:
    """Return what decides the last bits of floating-point results."""
    lines = dict(
        map(str.strip, line.split(":", 1))
        for line in _cpuinfo()
        if line.startswith(("model name", "flags")) and ": " in line
    )
    flags = _digest(" ".join(sorted(lines.get("flags", "").split())).encode())
    name = lines.get("model name", platform.processor())
    return {"processor": f"{name}, flags {flags}", **{name: _version(name) for name in LIBRARIES}}


def _dataset(folder: Path) -> dict[str, dict[str, Any]]:
    shards = sorted(folder.glob("[0-9]*-*.*"))
    if shards[0].suffix == ".parquet":
        tables = [pq.read_table(path, partitioning=None) for path in shards]
        alike = all(table.schema == tables[0].schema for table in tables)
        return _columns(pa.concat_tables(tables) if alike else _glued(folder, tables))
    groups = [zarr.open_group(str(path), mode="r") for path in shards]
    names = sorted(set(groups[0].array_keys()) - VOLATILE)
    return {name: _summary(np.concatenate([np.asarray(group[name][:]) for group in groups])) for name in names}


def _glued(folder: Path, tables: list[pa.Table]) -> pa.Table:
    """Return tables of several names as one with prefixed columns, null where a row is of another table."""
    records = [json.loads(path.read_bytes()) for path in sorted((folder / "shards").glob("*.json"))]
    named = [
        table.rename_columns([f"{record['table']}.{name}" for name in table.column_names])
        for record, table in zip(records, tables, strict=True)
    ]
    return pa.concat_tables(named, promote_options="default")


def _checkpoint(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(folder.glob("checkpoint-*/*")):
        if path.suffix == ".safetensors":
            yield from ((f"{path.name} {name}", _summary(array)) for name, array in load_file(path).items())
        elif path.name == "trial.json":
            yield FORMER[path.name], _json_summary(_steady(_former_trial(path.parent)))
        elif path.name == "results.parquet":
            continue  # with the trial
        elif path.suffix == ".json":
            yield FORMER.get(path.name, path.name), _json_summary(_steady(json.loads(path.read_bytes())))
        else:
            yield path.name, {"n": path.stat().st_size, "digest": _digest(path.read_bytes()), "mean": None}


def _former_trial(folder: Path) -> dict[str, Any]:
    """Return the record of a trial with its scores in it, by split and metric."""
    record, path = json.loads((folder / "trial.json").read_bytes()), folder / "results.parquet"
    metrics: dict[str, dict[str, float]] = {}
    for row in pq.read_table(path).to_pylist() if path.exists() else []:
        scores = metrics.setdefault(_former_split(row["split"], row["condition"]), {})
        if not row["metric"].endswith(("_low", "_high")) and row["metric"] not in LATER_METRICS:
            scores[row["metric"]] = row["value"]
        if row["metric"] == "accuracy":
            scores["n"] = row["n"]
    former = {**{key: value for key, value in record.items() if value is not None}, "metrics": metrics}
    sorted_: dict[str, Any] = json.loads(json.dumps(former, sort_keys=True))  # means depend on the order
    return sorted_


def _former_split(split: str, condition: str | None) -> str:
    return split if condition is None else f"{split} without {condition.removesuffix(' masked')}"


def _former_sweep(root: Path, found: dict[str, dict[str, dict[str, Any]]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return what was found with the tables of a sweep as they were: one row per trial, and means of the chosen."""
    rows, trials = (pq.read_table(root / "sweep" / f"{name}.parquet").to_pylist() for name in ("metrics", "trials"))
    scores = pq.read_table(root / "sweep" / "scores.parquet")
    at = scores.column_names.index("options")
    scores = scores.set_column(at, "options", pa.array(map(_former_options, scores["options"].to_pylist())))
    former = {
        "grid": _former_grid(rows, trials),
        "results": _former_results(rows, trials),
        "directions": _former_directions(trials),
        "scores": scores.rename_columns({"gate": "direction"}),
    }
    kept = {name: columns for name, columns in found.items() if name not in ("sweep/metrics", "sweep/trials")}
    return {**kept, **{f"sweep/{name}": _columns(table) for name, table in former.items()}}


def _former_grid(rows: list[dict[str, Any]], trials: list[dict[str, Any]]) -> pa.Table:
    values = {(row["model"], row["options"], row["seed"], row["split"], row["metric"]): row for row in rows}
    grid = []
    for trial in (trial for trial in trials if trial["phase"] == "search"):
        own = {name: values.get((*(trial[key] for key in ("model", "options", "seed")), "valid", name))
               for name in SCORES}  # fmt: skip
        point = json.loads(trial["options"])
        row = {name: trial[name] for name in ("model", "seed", "status", "reason", "documents")}
        row |= {axis: point.get(axis) for axis in AXES} | {name: one and one["value"] for name, one in own.items()}
        grid.append(
            {**row, "options": _former_options(trial["options"]), "n": own["accuracy"] and own["accuracy"]["n"]}
        )
    return pa.Table.from_pylist(grid)


def _former_results(rows: list[dict[str, Any]], trials: list[dict[str, Any]]) -> pa.Table:
    chosen = {trial["model"]: trial["options"] for trial in trials if trial["phase"] == "final"}
    missing = {trial["model"] for trial in trials if trial["status"] == "missing" and trial["phase"] != "timing"}
    results = []
    for model, options in sorted(chosen.items()):
        fixed = {"model": model, "direction": json.loads(options).get("gate"), "options": _former_options(options)}
        for split, condition in PARTS:
            for metric in SCORES:
                key = {"model": model, "options": options, "split": split, "condition": condition, "metric": metric}
                values = [row["value"] for row in rows if key.items() <= row.items()]
                if values:
                    row = {"split": _former_split(split, condition), "metric": metric, "n": len(values), "ddof": 1}
                    row |= {"mean": float(np.mean(values)), "std": float(np.std(values, ddof=1))}
                    results.append({**fixed, **row, "complete": model not in missing})
    return pa.Table.from_pylist(results)


def _former_directions(trials: list[dict[str, Any]]) -> pa.Table:
    assert not any("gate" in json.loads(trial["options"]) for trial in trials), "a gate in the golden grid"
    names = ("chosen", "direction", "metric", "model", "options", "value")
    return pa.table({name: pa.array([], pa.string()) for name in names})


def _former_options(text: str | None) -> str | None:
    """Return the JSON of a point with the axes in the order that they had."""
    point = json.loads(text or "{}")
    ordered = {axis: point[axis] for axis in (*AXES, *point) if axis in point}
    return None if text is None else json.dumps(ordered, separators=(",", ":"))


def _columns(table: pa.Table) -> dict[str, dict[str, Any]]:
    for column in {"metric", "metrics.metric"} & {*table.column_names}:
        later_rows = pc.fill_null(pc.is_in(table[column], pa.array(LATER_METRICS)), False)
        table = table.filter(pc.invert(later_rows))
    later = next((names for names in LATER if names <= {*table.column_names}), set())
    empty = {name for name in later if table[name].null_count == len(table)}
    empty |= {name for name in {*table.column_names} & {*LATER_LISTS} if not len(pc.list_flatten(table[name]))}
    names = [name for name in table.column_names if name not in VOLATILE | empty]
    return {FORMER.get(name, name): _json_summary(table[name].to_pylist()) for name in names}


def _json_summary(values: Any) -> dict[str, Any]:
    text = json.dumps(values, sort_keys=True, default=_plain)
    numbers = np.fromiter(_floats(values), float)
    mean = float(np.nanmean(numbers)) if len(numbers) and not np.isnan(numbers).all() else None
    return {"n": len(values), "digest": _digest(text.encode()), "mean": mean}


def _summary(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    if array.dtype.kind not in "biuf":
        return _json_summary(array.tolist())
    head = f"{array.dtype.str} {array.shape} ".encode()
    mean = float(np.nanmean(array)) if array.dtype.kind == "f" and array.size else None
    return {"n": len(array) if array.ndim else 1, "digest": _digest(head + array.tobytes()), "mean": mean}


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        value = {**value, "phase": FORMER_PHASES.get(value["phase"], value["phase"])} if "phase" in value else value
        kept = {name: _former_input(name, inner) for name, inner in value.items() if name not in VOLATILE}
        later = {name for name, inner in kept.items() if (name, repr(inner)) in LATER_OPTIONS}
        return {FORMER.get(name, name): _steady(inner) for name, inner in kept.items() if name not in later}
    return [_steady(inner) for inner in value] if isinstance(value, list) else value


def _former_input(name: str, value: Any) -> Any:
    """Return the name of a single dense input, which was no list."""
    return value[0] if name == "image" and isinstance(value, list) and len(value) == 1 else value


def _floats(value: Any) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _floats(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _floats(inner)


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else str(value)


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=10).hexdigest()


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text("utf-8").splitlines() if path.exists() else []


def _version(name: str) -> str:
    return importlib.metadata.version(name)
