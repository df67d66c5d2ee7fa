"""A report with every table, and what its page may hold."""

import html.parser

import orjson
import pyarrow as pa

from fuseline.flows.results.tables import measure_table
from fuseline.reports.page_data import ReportData
from fuseline.stores.decision_schemas import CALIBRATION, CALL_RATES, DECISIONS, QUADRANTS
from fuseline.stores.importance_schemas import CLASS_IMPORTANCE, MATRICES
from fuseline.stores.report_schemas import (
    CLASSES,
    CONFUSION,
    CONTACT_SHEET,
    GALLERY,
    IMPORTANCE,
    INSTANCES,
    LEAKS,
    PRESENCE,
    QUADRANT_GALLERY,
    RELEASE,
    STAGES,
)
from fuseline.stores.schemas import DRIFT, MODELS, QUARANTINE, RESULTS, SEARCHES, STATISTICS, TOKENS
from fuseline.stores.score_schemas import (
    CLASS_MAPS,
    CLASS_NEIGHBOURS,
    CLASS_SIMILARITY,
    COMPARISONS,
    GROUPS,
    MAPS,
    MASKED_CLASSES,
    RECONSTRUCTIONS,
)
from fuseline.stores.value_schemas import ERRORS

EVIL = "<script>alert('x')</script>\"'&{{ 7*7 }}"
VOID = {"meta", "br", "wbr", "img", "link", "hr"}
DRIFTED = {
    "repeat": 0, "part": 1, "shards": 3, "rows": 1200, "error": 0.6, "known_error": 0.4, "held_out": 500,
    "error_ratio": 1.5, "used": 250, "empty": 90, "expected_empty": 11.4, "hot": 2, "divergence": 0.123, "refit": True,
}  # fmt: skip


class Checker(html.parser.HTMLParser):
    """Collects tags, addresses and event handlers, and checks that tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in {"src", "href", "action", "data"}:
                self.addresses.append(value)
            if name.startswith("on"):
                self.handlers.append(name)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"{tag} closes out of order"


def check(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    return checker


def full(name: str = "name") -> ReportData:
    """Return a report whose tables all have rows, and in which every text is `name`."""
    label, other = f"{name}/a", f"{name}/b"
    rows = [
        {"model": name, "split": split, "metric": metric, "value": value, "n": 10, "seed": 0}
        for split in ("valid", "test")
        for metric, value in (("accuracy", 0.5), ("accuracy_low", 0.4), ("accuracy_high", 0.6), ("log_loss", 1.0))
    ]
    rows += [{**row, "model": "text", "value": row["value"] / 2} for row in rows]
    example = {
        "model": name, "split": "test", "id": name, "labels": [label], "text": name, "thumbnail": b"RIFF",
        "top_k": [{"label": other, "score": 0.9}], "importance": [{"modality": name, "share": 1.0}],
    }  # fmt: skip
    statistics = [("documents", "documents", 10), ("clean", "words", 40), (f"label:{label}", "documents", 7)]
    held_out = [row for row in rows if row["split"] == "test" and row["metric"] in ("accuracy", "log_loss")]
    rows += [{**row, "fold": fold, "value": row["value"] - fold / 10} for row in held_out for fold in (0, 1)]
    shares = [f"{name} masked", f"{name} masked in 50 %"]
    rows += [{**row, "condition": condition} for row in held_out if "fold" not in row for condition in shares]
    tables = {
        "measures": measure_table(),
        "metrics": pa.Table.from_pylist(rows, schema=RESULTS),
        "statistics": pa.Table.from_pylist(
            [{"split": name, "field": f, "measure": m, "value": v} for f, m, v in statistics], schema=STATISTICS
        ),
        "classes": pa.Table.from_pylist(
            [dict(zip(CLASSES.names, (name, "test", label, 0.5, 0.25, 0.33, 7, 3), strict=True))], schema=CLASSES
        ),
        "masked_classes": pa.Table.from_pylist(
            [dict(zip(MASKED_CLASSES.names, (name, "test", shares[0], label, 0.5, 0.1, 0.2, 7, 3), strict=True))],
            schema=MASKED_CLASSES,
        ),
        "maps": pa.Table.from_pylist(
            [
                dict(
                    zip(MAPS.names, (name, name, "test", label, x, -x, 0.5, 0.1, 0, [name, "text"], right), strict=True)
                )
                for x, right in ((0.0, []), (1.5, [name]))
            ],
            schema=MAPS,
        ),
        "class_maps": pa.Table.from_pylist(
            [
                {
                    **dict.fromkeys(("vectors", "label", "id", "split"), name),
                    **dict.fromkeys(("x", "y", "cosine"), 0.5),
                    "models": [name],
                    "right": right,
                    "predicted": [predicted],
                    "seed": 0,
                }
                for right, predicted in (([name], label), ([], None))
            ],
            schema=CLASS_MAPS,
        ),
        "class_neighbours": pa.Table.from_pylist(
            [dict(zip(CLASS_NEIGHBOURS.names, (name, label, 7, 1, other, 0.9), strict=True))], schema=CLASS_NEIGHBOURS
        ),
        "class_similarity": pa.Table.from_pylist(
            [
                dict(zip(CLASS_SIMILARITY.names, (name, a, 7, place, b, 1.0 if a == b else -0.1), strict=True))
                for place, a in enumerate((label, other), 1)
                for b in (label, other)
            ],
            schema=CLASS_SIMILARITY,
        ),
        "value_errors": pa.Table.from_pylist(
            [
                dict(zip(ERRORS.names, (name, name, "test", scale, 9, 1.5, 2.5, r2, 3.0, 1), strict=True))
                for scale, r2 in (("unit", None), ("log", -0.5))
            ],
            schema=ERRORS,
        ),
        "groups": pa.Table.from_pylist(
            [
                dict(zip(GROUPS.names, (name, "test", name, group, "accuracy", 0.4, 5), strict=True))
                for group in (label, "")
            ],
            schema=GROUPS,
        ),
        "comparisons": pa.Table.from_pylist(
            [
                dict(zip(COMPARISONS.names, ("test", "accuracy", *row, 10), strict=True))
                for row in (
                    (name, None, 0.5, 0.4, 0.6, None, None),
                    ("text", None, 0.25, 0.2, 0.3, None, None),
                    (name, "text", 0.25, 0.1, 0.4, "mcnemar", 0.01),
                    ("text", name, -0.25, -0.4, -0.1, "mcnemar", 0.01),
                )
            ],
            schema=COMPARISONS,
        ),
        "confusion": pa.Table.from_pylist(
            [
                {"model": name, "split": "test", "label": t, "predicted": p, "n": n}
                for t, p, n in ((label, label, 3), (label, other, 4), (other, label, 1), (other, None, 2))
            ],
            schema=CONFUSION,
        ),
        "gallery": pa.Table.from_pylist(
            [{**example, "kind": kind} for kind in ("right", "wrong", "confident_error")], schema=GALLERY
        ),
        "instances": pa.Table.from_pylist(
            [
                {
                    **{key: example[key] for key in ("split", "id", "labels", "text")},
                    "place": 1,
                    "title": label,
                    "fields": [{"name": name, "value": label}],
                    "answers": [
                        {"model": name, "label": label, "score": 0.5, "importance": example["importance"]},
                        {"model": "text", "label": None, "score": None, "importance": []},
                    ],
                    "picture": example["thumbnail"],
                }
            ],
            schema=INSTANCES,
        ),
        "quadrant_gallery": pa.Table.from_pylist(
            [
                {
                    **{key: example[key] for key in ("split", "id", "labels", "text", "thumbnail")},
                    "models": [name, "text"],
                    "part": part,
                    "label": of,
                    "place": 1,
                    "right": right,
                    "disagreement": 0.25,
                    "answers": [example["top_k"], []],
                }
                for part, of, right in (("quadrant", None, []), ("quadrant", None, [name]), ("class", label, ["text"]))
            ],
            schema=QUADRANT_GALLERY,
        ),
        "class_importance": pa.Table.from_pylist(
            [
                dict(zip(CLASS_IMPORTANCE.names, (name, "test", of, "own", input_name, 0.25, 7), strict=True))
                for of in (None, label)
                for input_name in (None, name)
            ],
            schema=CLASS_IMPORTANCE,
        ),
        "matrices": pa.Table.from_pylist(
            [
                {
                    "id": name,
                    "labels": [label],
                    "text": name,
                    "words": name,
                    "picture": b"RIFF",
                    "models": [
                        {"model": name, "label": found, "method": "own", "shares": [{"input": name, "share": share}]}
                        for found, share in ((label, 1.0), (other, 0.2), (None, 0.0))
                    ],
                }
            ],
            schema=MATRICES,
        ),
        "importance": pa.Table.from_pylist(
            [{"model": name, "split": "test", "modality": name, "share": 1.0, "n": 1}], schema=IMPORTANCE
        ),
        "searches": pa.Table.from_pylist(
            [
                {
                    "model": name,
                    "options": orjson.dumps({"lr": 0.5, name: 25}).decode(),
                    "documents": 900,
                    "score": 0.61,
                    "sureness": 0.5,
                    "chosen": True,
                },
                {
                    "model": name,
                    "options": '{"lr":50.0}',
                    "documents": 900,
                    "score": None,
                    "sureness": 0.0,
                    "chosen": False,
                },
            ],
            schema=SEARCHES,
        ),
        "models": pa.Table.from_pylist(
            [
                {
                    "model": name,
                    "kind": name,
                    "seed": 0,
                    "documents": 90,
                    "seconds": 75.0,
                    "parameters": 1_234_567,
                    "bytes": 4_938_268,
                    "bytes_per_document": 16,
                    "multiply_adds_per_document": 980,
                    "key": name,
                },
                {"model": "text", "kind": "text", "seed": 0, "documents": 90, "seconds": 30.0, "key": name},
            ],
            schema=MODELS,
        ),
        "drift": pa.Table.from_pylist([{**DRIFTED, "codebook": name, "why": name}], schema=DRIFT),
        "contact_sheet": pa.Table.from_pylist(
            [
                {"id": name, "status": status, "picture": data, "words": name, "found": [{"detector": name, "n": 2}]}
                for status, data in (("ok", b"RIFF"), (name, None))
            ],
            schema=CONTACT_SHEET,
        ),
        "presence": pa.Table.from_pylist([{"stage": name, "present": 6, "missing": 1, "failed": 3}], schema=PRESENCE),
        "tokens": pa.Table.from_pylist(
            [
                {
                    "model": name,
                    "repeat": 0,
                    "part": 1,
                    "centroid": 7,
                    "token": name,
                    "n_documents": 12,
                    "n_train": 9,
                    "words": [{"word": name, "cosine": 0.75}],
                    "coherence": 0.875,
                    "clarity": 0.5,
                    "documents": [{"id": name, "distance": 0.5}],
                    "thumbnails": [b"RIFF", None],
                }
            ],
            schema=TOKENS,
        ),
        "stages": pa.Table.from_pylist(
            [
                {
                    "stage": name,
                    "fresh": 1,
                    "computed_shards": 2,
                    "rows_computed": 30,
                    "rows_reused": 4,
                    "seconds": 75,
                    "shares": [("decode", 0.196), (name, 0.8), ("wait", 0.004)],
                }
            ],
            schema=STAGES,
        ),
        "quarantine": pa.Table.from_pylist(
            [{"stage": name, "id": name, "source": name, "reason": name, "shard": 0}], schema=QUARANTINE
        ),
        "leaks": pa.Table.from_pylist(
            [{"column": name, "way": "follows", "right": 99, "documents": 100}], schema=LEAKS
        ),
        "decisions": pa.Table.from_pylist(
            [
                {
                    "model": name,
                    "kind": name,
                    "models": [name, "text"],
                    "split": "test",
                    "n": 10,
                    **dict.fromkeys(("accuracy", "first_accuracy", "oracle_accuracy", "best_accuracy", "p"), 0.5),
                    "others_accuracy": [0.25],
                    "best": name,
                    "better": 1,
                    "worse": 2,
                    **(dict.fromkeys((*DECISIONS.names[-7:],), 0.75) if chooses else {}),
                }
                for chooses in (True, False)
            ],
            schema=DECISIONS,
        ),
        "quadrants": pa.Table.from_pylist(
            [
                {"models": [name, "text"], "split": "test", "label": of, "right": right, "n": 5}
                for of in (None, label)
                for right in ([], [name], [name, "text"])
            ],
            schema=QUADRANTS,
        ),
        "reconstructions": pa.Table.from_pylist(
            [
                {
                    "codes": name,
                    "split": "test",
                    "input": f"embed/{one}",
                    "inputs": [f"embed/{name}", f"embed/{label}"],
                    "documents": 9,
                    "mse": 0.25,
                    "mean_mse": 1.0,
                }
                for one in (name, label)
            ],
            schema=RECONSTRUCTIONS,
        ),
        "call_rates": pa.Table.from_pylist(
            [
                {
                    "model": name,
                    "models": [name, "text"],
                    "split": "test",
                    "by": by,
                    "rate": rate,
                    "accuracy": 0.5,
                    "n": 10,
                    "spared": [name],
                }
                for by in ("policy", "confidence")
                for rate in (0.0, 0.5, 1.0)
            ],
            schema=CALL_RATES,
        ),
        "calibration": pa.Table.from_pylist(
            [{"model": name, "split": "test", "n": 9, "temperature": 2.0, "ece_before": 0.25, "ece_after": 0.125}],
            schema=CALIBRATION,
        ),
        "release": pa.Table.from_pylist([{"measure": name, "published": 9, "found": 10}], schema=RELEASE),
    }
    return ReportData(
        title=name, run=name, created=name, tables=tables, detectors={name: "rgb(0, 114, 178)"}, lineage={name: name},
        versions={name: name}, config_yaml=name, notes=(name,),
    )  # fmt: skip
