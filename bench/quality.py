"""How good models are whose options nobody gives, beside swept ones and logistic regression.

    python -m bench.quality --data DATA [--work FOLDER] [--sets openclipart ...] [--models text ...] [--seeds 5]
        [--swept text additive ...] [--json]

DATA holds folders of documents.parquet with images.tar or images.parquet. The first run extracts features into FOLDER
by `fuseline run`; later ones find them there. Everything is chosen on valid and quoted on test: accuracy, or P@1 where
documents have several labels; documents without a label are left out.

auto         mean over the seeds, no option given; `additive_all` and others ending so read all dense inputs,
             `vectors` is the image kind over these
spread       standard deviation over the seeds
swept        of every model named after --swept: the best on valid of a grid (GRID), then as many seeds
logistic     scikit-learn's, over TF-IDF and the same vectors, standardised; C is chosen on valid; a document with
             several labels stands once with each of them
best_fusion  `auto` of the fusion that is best on valid, among those that read what `logistic` reads
seconds      of the processor: of a model the first fit, search included; of `logistic` all values of C
restarted    seeds that started over at a lower rate

The last line is {"sets": {set: {"auto", "spread", "swept", "logistic", "best_fusion", "seconds", "restarted"}}}.
"""

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import yaml

from bench.studies.prepare import frequent
from fuseline.flows.config import load_config
from fuseline.flows.graph import build
from fuseline.models.classifier import BaseClassifier
from fuseline.models.columns import Dense
from fuseline.models.features import Block, embedding_name
from fuseline.models.metrics.registry import scores
from fuseline.models.registry import MODELS
from fuseline.models.scoring import count
from fuseline.stores.places import open_root
from fuseline.tasks.engine.nodes import Fit
from fuseline.tasks.engine.shard_features import ShardFeatures

ALL = "additive_all"  # reads what logistic regression reads
TAGS = 20  # train documents that a tag of icons_tags must stand on
PENALTIES = (0.01, 0.1, 1.0, 10.0)  # C of logistic regression
GRID = {"lr": (0.1, 0.25, 0.5, 1.0, 2.0), "epochs": (5, 10, 20, 50), "dim": (20, 100)}  # and, where there are such,
MORE = {"minn,maxn": ((0, 0), (3, 6)), "image_length": (0.1, 0.3, 1.0), "alpha": (0.1, 0.5), "gate": ("image",)}


@dataclass(frozen=True)
class Collection:
    """What a set's configuration says: roles of columns, and what is read besides text and image."""

    columns: dict[str, str]
    clean: tuple[str, ...] = ("text",)
    tabular: bool = False  # whether cat_* and num_* are read
    more: tuple[str, ...] = ("minilm",)  # dense inputs beside the image


SETS = {
    "openclipart": Collection({"text": "text", "labels": "label"}),
    "cdda_items": Collection({"text": "text", "labels": "label_fine"}, tabular=True, more=("minilm", "table")),
    "debapps": Collection({"title": "title", "html": "html", "labels": "labels"}, ("title", "html"), tabular=True,
                          more=("minilm", "table")),
    "icons_tags": Collection({"text": "text", "labels": "tags"}),
}  # fmt: skip
LEAKS = {"debapps": ("cat_section",)}  # columns that are the label in other words


class Blocks:
    """The rows of a split in memory."""

    def __init__(self, blocks: list[Block]) -> None:
        self._blocks, self.n_rows = blocks, sum(map(len, blocks))

    def blocks(self) -> Iterator[Block]:
        """Yield every block."""
        yield from self._blocks


Splits = dict[str, Blocks]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="where features are kept; default: a temporary folder")
    parser.add_argument("--sets", nargs="*", choices=sorted(SETS), default=list(SETS))
    parser.add_argument("--models", nargs="*", default=None)
    parser.add_argument("--swept", nargs="*", default=[])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--limit", type=int, help="documents of every set, for a trial")
    parser.add_argument("--no-logistic", action="store_true")
    parser.add_argument("--json", action="store_true", help="print the last line only")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {name: measured(name, given, given.work or Path(folder)) for name in given.sets}
    print(json.dumps({"sets": found}))


def measured(name: str, given: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Return the figures of one set."""
    result: dict[str, Any] = {key: {} for key in ("auto", "spread", "swept", "seconds", "restarted")}
    valid: dict[str, float] = {}
    models = asked(name)
    wanted = [model for model in models if given.models is None or model in given.models]
    features = extracted(name, given, work, {m: models[m] for m in (*wanted, *([] if given.no_logistic else [ALL]))})

    def say(*values: Any) -> None:
        if not given.json:
            print(name, *values, flush=True)

    for model in wanted:
        (kind, options), splits = models[model], features[model]
        started = time.process_time()
        first = fitted(kind, options, splits, 0)
        result["seconds"][model] = seconds = round(time.process_time() - started, 1)
        fits = [first, *(fitted(kind, first.config, splits, seed) for seed in range(1, given.seeds))]
        (test, spread), (valid[model], _) = (summary(fits, splits[split]) for split in ("test", "valid"))
        result["auto"][model], result["spread"][model] = test, spread
        result["restarted"][model] = sum(bool(fit.facts.get("restarts")) for fit in fits)
        say(model, "auto", test, "+-", spread, "valid", valid[model], seconds, "s", first.search.get("chosen"))
        if model in given.swept:
            best = best_of_grid(kind, options, splits)
            fits = [fitted(kind, {**options, **best}, splits, seed) for seed in range(given.seeds)]
            result["swept"][model], _ = summary(fits, splits["test"])
            say(model, "swept", result["swept"][model], "valid", summary(fits, splits["valid"])[0], best)
    if not given.no_logistic:
        started = time.process_time()
        result["logistic"] = logistic(features[ALL], ["image", *SETS[name].more])
        result["seconds"]["logistic"] = round(time.process_time() - started, 1)
        say("logistic", result["logistic"], result["seconds"]["logistic"], "s")
    fusions = [model for model in wanted if model.endswith("_all")]
    best_fusion = max(fusions, key=valid.__getitem__, default=None)
    return {**result, "best_fusion": result["auto"].get(best_fusion)}


def asked(name: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return model -> its kind and options: what is read, never how."""
    everything: dict[str, Any] = {"image": ("image", *SETS[name].more)}
    kinds = ("text", "image", "additive", "max", "gated", "bilinear", "bilinear_gated", "pq", "rspq", "tfidf_linear")
    models: dict[str, tuple[str, dict[str, Any]]] = {kind: (kind, {}) for kind in kinds}
    models |= {f"{kind}_all": (kind, everything) for kind in ("additive", "max", "bilinear")}
    models["vectors"] = ("image", everything)
    models["gmu"] = ("gmu", {"text_embedding": "minilm"})
    models["lightgbm"] = ("lightgbm", {"embeddings": everything["image"]})
    return models


def extracted(name: str, given: argparse.Namespace, work: Path, models: dict[str, Any]) -> dict[str, Splits]:
    """Return the splits of every model's columns, extracting what is not there yet."""
    folder = work / name
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(settings(name, given, folder), sort_keys=False))
    command = [sys.executable, "-m", "fuseline.flows.cli", "run", str(config)]
    subprocess.run(command, check=True, stdout=None if not given.json else subprocess.DEVNULL)
    loaded = load_config(config)
    kind = type(next(iter(loaded.models.values())))
    options = {model: kind(kind=k, options=json.loads(json.dumps(o))) for model, (k, o) in models.items()}
    nodes = build(loaded.model_copy(update={"models": options}))
    root = open_root(loaded.root)
    return {node.short: {split: Blocks(list(ShardFeatures(node, root, split).blocks()))
                         for split in ("train", "valid", "test")}
            for node in nodes if isinstance(node, Fit) and node.role == "models"}  # fmt: skip


def settings(name: str, given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Return the configuration that extracts a set; a table of the wanted documents is written beside it."""
    of, data = SETS[name], (given.data / name).resolve()
    documents = pq.read_table(data / "documents.parquet")
    if "tags" in of.columns.values():
        documents = frequent(documents, TAGS)
    if given.limit is not None:  # enough for a codebook of 256 rows
        documents = documents.slice(0, given.limit)
    (folder / "data").mkdir(exist_ok=True)
    pq.write_table(documents, folder / "data" / "documents.parquet")
    archive = next(path.name for path in (data / "images.tar", data / "images.parquet") if path.exists())
    options: dict[str, Any] = {
        "columns": {"id": "id", "split": "split", "image": "image", **of.columns},
        "root": str(data),
        "images": {"archive": archive},
    }
    embed: dict[str, Any] = {"image": {"encoder": "efficientnet_lite2"}, "minilm": {"encoder": "minilm"}}
    if of.tabular:
        columns = [c for c in documents.column_names if c.startswith(("cat_", "num_")) and c not in LEAKS.get(name, ())]
        options["tabular"] = {c: "category" if c.startswith("cat_") else "number" for c in columns}
        embed["table"] = {"encoder": "tabular"}
    return {
        "name": name,
        "root": str((folder / "root").absolute()),
        "source": {"reader": "parquet", "path": str((folder / "data").absolute()), "options": options},
        "clean": {"fields": list(of.clean)},
        "embed": embed,
        "quantize": {kind: {"quantizer": kind, "embedding": "image"} for kind in ("pq", "rspq")},
        "models": {"text": {"kind": "text", "options": {"preset": "fasttext"}}},
    }


def fitted(kind: str, options: Any, splits: Splits, seed: int) -> BaseClassifier:
    """Return a model fitted with plain options, or with the configuration of another fit."""
    of: Any = MODELS[kind]
    model: BaseClassifier = of(of.Config(**options) if isinstance(options, dict) else options)
    return model.fit(splits["train"], splits["valid"], seed=seed)


def p_at_1(model: BaseClassifier, features: Blocks) -> float:
    """Return the share of documents whose first class is one of their labels."""
    return float(scores(count(model, features), multi_label=True)["p_at_1"][0])


def summary(fits: list[BaseClassifier], features: Blocks) -> tuple[float, float]:
    """Return mean and standard deviation of what fits reach, in per cent."""
    values = [100 * p_at_1(fit, features) for fit in fits]
    return round(float(np.mean(values)), 2), round(float(np.std(values, ddof=min(1, len(values) - 1))), 2)


def best_of_grid(kind: str, options: dict[str, Any], splits: Splits) -> dict[str, Any]:
    """Return the options of the grid that are best on valid, with one seed."""
    of: Any = MODELS[kind]
    grid: dict[str, Any] = dict(GRID) | {
        name: values for name, values in MORE.items() if name.split(",")[0] in of.Config.model_fields
    }
    best: tuple[float, dict[str, Any]] = (-1.0, {})
    for values in itertools.product(*grid.values()):
        flat: dict[str, Any] = {"preset": "fasttext", "buckets": 200_000}
        for name, value in zip(grid, values, strict=True):
            flat |= dict(zip(name.split(","), value if "," in name else (value,), strict=True))
        score = p_at_1(fitted(kind, {**options, **flat}, splits, 0), splits["valid"])
        best = max(best, (score, flat), key=lambda one: one[0])
    return best[1]


def logistic(splits: Splits, dense: list[str]) -> float:
    """Return what logistic regression over TF-IDF and standardised vectors reaches on test, in per cent."""
    from scipy import sparse
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    texts = {split: [text or "" for block in features.blocks() for text in block.text.to_pylist()]
             for split, features in splits.items()}  # fmt: skip
    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2)).fit(texts["train"])
    vectors = {split: vectors_of(features, dense) for split, features in splits.items()}
    scaler = StandardScaler().fit(vectors["train"])
    width = np.sqrt(len(dense) / vectors["train"].shape[1])  # so that a document's vectors together have about length 1
    X = {split: sparse.hstack([vectorizer.transform(texts[split]),
                               sparse.csr_matrix(scaler.transform(vectors[split]) * width)]).tocsr()
         for split in splits}  # fmt: skip
    labels = {split: [set(labels or ()) for block in features.blocks() for labels in block.labels.to_pylist()]
              for split, features in splits.items()}  # fmt: skip
    rows = [row for row, own in enumerate(labels["train"]) for _ in own]
    names = [label for own in labels["train"] for label in sorted(own)]
    found = []
    for C in PENALTIES:
        model = LogisticRegression(C=C, max_iter=300).fit(X["train"][rows], names)
        found.append(tuple(share_right(model, X[split], labels[split]) for split in ("valid", "test")))
    return round(100 * max(found)[1], 2)


def vectors_of(features: Blocks, dense: list[str]) -> Any:
    """Return dense inputs side by side, zeros where one is missing."""
    rows = []
    for block in features.blocks():
        columns = [block.column(embedding_name(name), Dense) for name in dense]
        values = [(one.present, np.nan_to_num(np.asarray(one.values, np.float32))) for one in columns]
        rows.append(np.hstack([np.where(present[:, None], X, 0) for present, X in values]))
    return np.concatenate(rows)


def share_right(model: Any, X: Any, labels: list[set[str]]) -> float:
    """Return the share of labelled documents whose first class is one of their labels."""
    said = model.classes_[model.decision_function(X).argmax(axis=1)]
    right = [name in own for name, own in zip(said, labels, strict=True) if own]
    return float(np.mean(right))


if __name__ == "__main__":
    main()
