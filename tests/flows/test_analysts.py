"""The questions of docs/analysts.md: each is asked of a real root, and its answer counted again without SQL."""

import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest

from fuseline.flows.config import load_config
from fuseline.flows.graph import build
from fuseline.stores.places import open_root
from tests.flows.conftest import Cli, settings, write_config, write_documents

PAGE = Path(__file__).parents[2] / "docs" / "analysts.md"
QUESTIONS = {
    int(number): sql
    for number, sql in re.findall(r"^## (\d+)\. [^\n]+\n\n```sql\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL | re.M)
}
Rows = list[tuple[Any, ...]]
# The page asks with the models of the demo, whose names these are too.


@dataclass(frozen=True)
class Root:
    """What lies under the root, read without DuckDB."""

    config: Path

    @property
    def path(self) -> Path:
        return self.config.parent / "out"

    def latest(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of one file of latest/."""
        return pq.read_table(self.path / "latest" / f"{name}.parquet").to_pylist()

    @cached_property
    def source(self) -> dict[str, dict[str, Any]]:
        """The source's own rows by id."""
        lines = (self.config.parent / "documents.jsonl").read_bytes().splitlines()
        return {row["id"]: row for row in map(orjson.loads, lines)}

    @cached_property
    def splits(self) -> dict[str, str]:
        return {row["id"]: row["split"] for row in self.latest("documents")}

    def said(self, model: str, split: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield what a model said of documents, with their own label and whether that is right."""
        for row in self.latest("predictions"):
            own = self.source[row["id"]]["label"]
            if row["model"] == model and split in (None, self.splits[row["id"]]):
                yield {**row, "own": own, "right": row["label"] == own}


@pytest.fixture(scope="module")
def root(cli: Cli, finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Root:
    """Return a root that was run twice: then with wrong labels, a broken image, and another option of one model."""
    folder = tmp_path_factory.mktemp("analysed") / "data"
    shutil.copytree(finished.parent, folder, symlinks=True)
    (folder / "images" / "broken.png").write_bytes(b"no image")
    rows = [orjson.loads(line) for line in (folder / "documents.jsonl").read_bytes().splitlines()]
    wrong = [{**row, "label": "circle"} if place % 2 else row for place, row in enumerate(rows)]
    odd = {"id": "doc-broken", "text": "round", "label": "circle", "image": "images/broken.png"}
    write_documents(folder, [*wrong, odd])
    values: dict[str, Any] = settings(folder)
    values["models"]["text"]["options"] = {"preset": "fasttext", "dim": 8, "lr": 0.5, "epochs": 1}
    config = write_config(folder, {**values, "report": {"gallery": 3, "vectors": ["image"]}})
    done = cli("run", config)
    assert done.exit_code == 0, done.output
    return Root(config)


def best(root: Root) -> Rows:
    models = {row["model"]: (row["seconds"], row["bytes"]) for row in root.latest("models")}
    value = {(r["model"], r["split"]): r["value"] for r in root.latest("metrics") if r["metric"] == "accuracy"}
    found = [(model, *cost, value[model, "valid"], value[model, "test"]) for model, cost in models.items()]
    return sorted(found, key=lambda row: (-row[3], row[0]))


def trust(root: Root) -> Rows:
    buckets = defaultdict(list)
    for row in root.said("pq", "test"):
        if row["score"] is not None:
            buckets[np.floor(np.float32(row["score"]) * np.float32(10))].append((row["score"], row["right"]))
    return [(b / 10, len(found), *np.mean(found, axis=0)) for b, found in sorted(buckets.items())]


def confused(root: Root) -> Rows:
    counts = Counter((row["own"], row["label"]) for row in root.said("pq", "test") if not row["right"])
    return sorted(((*pair, n) for pair, n in counts.items()), key=lambda row: (-row[2], row[:2]))[:10]


def surely_wrong(root: Root) -> Rows:
    wrong = [row for row in root.said("pq") if not row["right"] and row["label"] is not None]
    order = {document: at for at, document in enumerate(root.source)}
    return [
        (row["id"], root.source[row["id"]].get("title"), [row["own"]], row["label"], round(row["score"], 2),
         "documents.jsonl", order[row["id"]] + 1)
        for row in sorted(wrong, key=lambda row: (-row["score"], row["id"]))[:10]
    ]  # fmt: skip


def side_by_side(root: Root) -> Rows:
    said = {model: {row["id"]: row for row in root.said(model, "test")} for model in ("text", "additive", "pq")}
    return [
        (document, [root.source[document]["label"]], *(rows[document]["label"] for rows in said.values()))
        for document in sorted(said["pq"])[:10]
    ]


def right_and_wrong(root: Root) -> Rows:
    text, codes = ({row["id"]: row["right"] for row in root.said(model, "test")} for model in ("text", "pq"))
    return sorted((*pair, n) for pair, n in Counter((text[i], codes[i]) for i in text).items())


def modalities(root: Root) -> Rows:
    shares = defaultdict(list)
    for row in root.said("additive"):
        for part in row["importance"]:
            shares[row["label"], part["modality"]].append(part["share"])
    return [(*key, np.mean(found), len(found)) for key, found in sorted(shares.items())]


def classes(root: Root) -> Rows:
    counts = Counter((root.source[document]["label"], split) for document, split in root.splits.items())
    labels = sorted({label for label, _ in counts})
    return [(label, *(counts[label, split] for split in ("train", "valid", "test"))) for label in labels]


def failed(root: Root) -> Rows:
    return [("embed/image", "bad_image", 1, "doc-broken", "documents.jsonl:51")]


def missing(root: Root) -> Rows:
    counts: Counter[tuple[str, str]] = Counter()
    for row in root.latest("statistics"):
        if row["measure"] == "missing":
            counts[row["field"], row["split"]] += row["value"]
    return sorted(((*key, n) for key, n in counts.items() if n), key=lambda row: (-row[2], row[:2]))


def short_texts(root: Root) -> Rows:
    right = defaultdict(list)
    for row in root.said("text", "test"):
        texts = (root.source[row["id"]].get(field, "") for field in ("title", "text"))
        right[min(5, len(" ".join(texts).split()))].append(row["right"])
    return [(words, len(found), np.mean(found)) for words, found in sorted(right.items())]


def over_runs(root: Root) -> Rows:
    files = sorted((root.path / "metrics").glob("*.parquet"))
    found = []
    for model in ("additive", "pq", "text"):
        before = None
        for file in files:
            (value,) = [
                row["value"] for row in pq.read_table(file).to_pylist()
                if (row["model"], row["metric"], row["split"]) == (model, "accuracy", "test")
            ]  # fmt: skip
            found.append((model, file.stem, value, None if before is None else value - before))
            before = value
    assert len(found) == 6
    return found


def changed(root: Root) -> Rows:
    now = {row["id"]: row for row in root.said("text")}
    (today,) = {row["model_key"] for row in now.values()}
    versions = [pq.read_table(path) for path in root.path.glob("predictions/text/*/*.parquet")]
    before = {r["id"]: r for table in versions for r in table.to_pylist() if r["model_key"] != today}
    assert len(before) == 50
    moved = [
        (i, before[i]["label"], now[i]["label"], now[i]["score"])
        for i in before
        if before[i]["label"] != now[i]["label"]
    ]
    assert moved
    return sorted(moved, key=lambda row: (-row[3], row[0]))[:10]


def alike(root: Root) -> Rows:
    (node,) = [node for node in build(load_config(root.config)) if node.name == "embed/image"]
    dataset = node.dataset(open_root(root.path))
    tables = [dataset.read(record, ("id", "present", "embedding")) for record in dataset.records().values()]
    vectors = {
        row["id"]: np.array(row["embedding"], np.float64) / np.linalg.norm(np.array(row["embedding"], np.float64))
        for table in tables for row in table.to_pylist() if row["present"]
    }  # fmt: skip
    first = vectors[min(vectors)]
    near = sorted(((-float(first @ other), i) for i, other in vectors.items() if i != min(vectors)))[:5]
    return [(i, [root.source[i]["label"]], -similarity) for similarity, i in near]


def meaning(root: Root) -> Rows:
    tokens = [row for row in root.latest("tokens") if row["model"] == "pq"]
    order = sorted(tokens, key=lambda r: (r["clarity"] is None, -(r["clarity"] or 0), r["token"]))[:5]
    return [
        (row["token"], row["n_documents"], [w["word"] for w in row["words"]], [d["id"] for d in row["documents"]])
        for row in order
    ]


ANSWERS: list[Callable[[Root], Rows]] = [
    best, trust, confused, surely_wrong, side_by_side, right_and_wrong, modalities, classes, failed, missing,
    short_texts, over_runs, changed, alike, meaning,
]  # fmt: skip


def plain(value: Any) -> Any:
    """Return a value with its numbers as floats of four digits, so that sums of another order are equal."""
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value if value is None or isinstance(value, str) else round(float(value), 4)


def test_the_page_asks_as_many_questions_as_are_answered_here() -> None:
    assert list(QUESTIONS) == list(range(1, len(ANSWERS) + 1))


@pytest.mark.parametrize("number", QUESTIONS)
def test_the_answer_is_the_one_that_is_counted_without_sql(root: Root, number: int) -> None:
    with duckdb.connect(str(root.path / "catalog.duckdb"), read_only=True) as catalog:
        got = catalog.execute(QUESTIONS[number]).fetchall()
    expected = ANSWERS[number - 1](root)
    assert expected
    assert plain(got) == plain(expected)


def test_what_the_page_says_of_tables_is_there(root: Root) -> None:
    named = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| `.*?\|", PAGE.read_text("utf-8"), re.M))))
    with duckdb.connect(str(root.path / "catalog.duckdb"), read_only=True) as catalog:
        assert {name for (name,) in catalog.execute("SHOW TABLES").fetchall()} == named
