"""Single documents as models saw them: which are chosen, in which order, and what is shown of them."""

import io

import pyarrow as pa
import pytest
from PIL import Image

from fuseline.stores.report_schemas import INSTANCES
from fuseline.stores.schemas import CLEAN, DOCUMENTS, PREDICTIONS
from fuseline.tasks.engine.nodes import Context
from fuseline.tasks.evaluation.instances import SIDE, InstancesConfig, ShownConfig, choose, show

N = 12


def shard(first: int, n: int) -> list[pa.Table]:
    """Return documents, cleaned texts and the predictions of two models; the second says nothing of odd ones."""
    numbers = range(first, first + n)
    documents = [
        {"id": f"d{k}", "source": "x", "status": "ok", "split": "test" if k % 4 else "train", "labels": ["ant"],
         "title": None if k == 1 else f"title {k}", "image": {"uri": f"{k}.png"}}
        for k in numbers
    ]  # fmt: skip
    guesses = [
        [{"id": f"d{k}", "model": model, "label": None if model == "b" and k % 2 else "bee", "score": 0.5, "top_k": [],
          "predicted": [], "importance": [{"modality": "text", "share": 1.0}], "element_shares": [], "status": "ok",
          "model_key": "k", "dataset_keys": []} for k in numbers]
        for model in ("a", "b")
    ]  # fmt: skip
    cleaned = [{"id": f"d{k}", "status": "ok", "text": "word " * 100, "words": 100} for k in numbers]
    known = pa.Table.from_pylist(documents, schema=DOCUMENTS)
    known = known.append_column("num_age", pa.array([None if k == 2 else k / 3 for k in numbers], pa.float64()))
    return [known.append_column("cat_kind", pa.array(["<b>"] * n)), pa.Table.from_pylist(cleaned, schema=CLEAN),
            *(pa.Table.from_pylist(rows, schema=PREDICTIONS) for rows in guesses)]  # fmt: skip


def shards():
    yield shard(0, 7)
    yield shard(7, 5)


def config(count: int = 0, ids: tuple[str, ...] = ()) -> ShownConfig:
    return ShownConfig(instances=InstancesConfig(count=count, ids=ids), models=("a", "b"), split="test", seed=1)


@pytest.fixture
def context(tmp_path):
    for k in range(N - 1):  # the last has no picture
        Image.new("RGB", (320, 160), (20 * k, 0, 0)).save(tmp_path / f"{k}.png")
    return Context(str(tmp_path), {}, {})


def test_named_ones_come_first_then_drawn_ones_of_the_split() -> None:
    named = choose(shards, config(ids=("d9", "d0", "nobody")))
    assert named == [(1, 2), (0, 0)]
    both = choose(shards, config(count=3, ids=("d9", "d0")))
    assert both[:2] == named
    assert len(both) == len(set(both)) == 5
    assert all(row % 4 or shard for shard, row in both[2:])
    assert choose(shards, config(count=3))[:1] == choose(shards, config(count=1))
    everything = choose(shards, config(count=100))
    assert len(everything) == 9  # 0, 4 and 8 are of train


def test_what_is_shown_is_all_that_is_known(context) -> None:
    table = show(shards, config(ids=("d1", "d2", "d11")), context)["instances"]
    assert table.schema.equals(INSTANCES)
    one, two, last = table.to_pylist()
    assert (one["place"], one["id"], one["title"], one["labels"]) == (1, "d1", None, ["ant"])
    assert one["fields"] == [{"name": "age", "value": "0.333333"}, {"name": "kind", "value": "<b>"}]
    assert two["fields"] == [{"name": "kind", "value": "<b>"}]
    assert [(a["model"], a["label"]) for a in one["answers"]] == [("a", "bee"), ("b", None)]
    assert [(a["model"], a["label"]) for a in two["answers"]] == [("a", "bee"), ("b", "bee")]
    assert one["answers"][0]["importance"] == [{"modality": "text", "share": 1.0}]
    assert len(one["text"]) == 300
    with Image.open(io.BytesIO(one["picture"])) as picture:
        assert picture.size == (SIDE, SIDE // 2)
    assert last["picture"] is None
