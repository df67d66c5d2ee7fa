"""The choice of examples, and their thumbnails."""

import io

import pyarrow as pa
import pytest
from PIL import Image

from fuseline.stores.errors import AlignmentError
from fuseline.stores.report_schemas import GALLERY
from fuseline.stores.schemas import CLEAN, DOCUMENTS, PREDICTIONS
from fuseline.tasks.evaluation.gallery import SIDE, gallery


@pytest.fixture
def folder(tmp_path):
    """Return a folder of 40 pictures, the last of them cut short."""
    for number in range(40):
        Image.new("RGB", (300, 150), (6 * number, 0, 0)).save(tmp_path / f"{number}.png")
    data = (tmp_path / "39.png").read_bytes()
    (tmp_path / "39.png").write_bytes(data[:60])
    return tmp_path


def shard(numbers, *, split="test"):
    """Return predictions, documents and cleaned text; every third prediction is wrong, more surely the later it is."""
    names = [f"d{number}" for number in numbers]
    known = [
        {
            "id": name,
            "source": "x",
            "status": "ok",
            "split": split,
            "labels": ["ant"],
            "image": {"uri": f"{number}.png"},
        }
        for name, number in zip(names, numbers, strict=True)
    ]
    guessed = [
        {
            "id": name,
            "model": "m",
            "label": "bee" if number % 3 == 0 else "ant",
            "score": number / 40,
            "top_k": [{"label": "ant", "score": 0.25}],
            "predicted": [],
            "importance": [],
            "element_shares": [],
            "status": "ok",
            "model_key": "k",
            "dataset_keys": [],
        }
        for name, number in zip(names, numbers, strict=True)
    ]
    cleaned = [{"id": name, "status": "ok", "text": "word " * 100, "words": 100} for name in names]
    return (
        pa.Table.from_pylist(guessed, schema=PREDICTIONS),
        pa.Table.from_pylist(known, schema=DOCUMENTS),
        pa.Table.from_pylist(cleaned, schema=CLEAN),
    )


def choose(shards, folder, *, count=4, seed=0):
    return gallery(*zip(*shards, strict=True), source=str(folder), count=count, seed=seed)


def ids(table, kind):
    return [row["id"] for row in table.to_pylist() if row["kind"] == kind]


def test_right_wrong_and_the_most_confident_errors(folder):
    table = choose([shard(range(20)), shard(range(20, 40))], folder)
    assert table.schema == GALLERY
    assert ids(table, "confident_error") == ["d39", "d36", "d33", "d30"]
    assert len(ids(table, "right")) == len(ids(table, "wrong")) == 4
    assert all(int(name[1:]) % 3 for name in ids(table, "right"))
    assert not any(int(name[1:]) % 3 for name in ids(table, "wrong"))
    assert not set(ids(table, "wrong")) & set(ids(table, "confident_error"))
    assert max(len(text) for text in table["text"].to_pylist()) == 300


def test_the_choice_depends_on_the_seed_and_not_on_the_shards(folder):
    whole = choose([shard(range(40))], folder)
    assert choose([shard(range(40))], folder).equals(whole)
    assert choose([shard(range(7)), shard(range(7, 40))], folder).equals(whole)
    assert ids(choose([shard(range(40))], folder, seed=1), "right") != ids(whole, "right")


def test_thumbnails_are_small_and_a_broken_picture_has_none(folder):
    rows = choose([shard(range(40))], folder).to_pylist()
    for row in rows:
        if row["id"] == "d39":
            assert row["thumbnail"] is None
        else:
            with Image.open(io.BytesIO(row["thumbnail"])) as image:
                assert (image.format, image.size) == ("WEBP", (SIDE, SIDE // 2))
    assert "d39" in {row["id"] for row in rows}


def test_only_the_asked_split_and_documents_with_a_prediction(folder):
    train = shard(range(20), split="train")
    test = shard(range(20, 22))
    silent = test[0].set_column(2, PREDICTIONS.field("label"), pa.array(["ant", None]))
    assert choose([train, (silent, *test[1:])], folder)["id"].to_pylist() == ["d20"]


def test_other_documents_are_refused(folder):
    guessed, known, _ = shard(range(4))
    with pytest.raises(AlignmentError, match="ids of cleaned"):
        choose([(guessed, known, shard(range(1, 5))[2])], folder)
