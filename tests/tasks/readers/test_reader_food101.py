"""Food-101 as the papers pass it on: titles in text.json, splits in split.json, class numbers in class_idx.json."""

import json
from pathlib import Path

import pytest

from fuseline.stores.errors import ConfigError, DataError
from fuseline.tasks.readers import READERS


def put(path: Path, data: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())


def make(root: Path, **files: object) -> Path:
    """Write three images, and the files of the layout, of which `files` replaces some."""
    for name in ("train/hot_dog/hot_dog_1.jpg", "train/hot_dog/hot_dog_2-3.jpg", "test/ramen/ramen_7.jpg"):
        put(root / "images" / name, b"x")
    told = {
        "text": {"ramen_7.jpg": 'Soup, "hot"', "hot_dog_1.jpg": "One", "hot_dog_2-3.jpg": "", "ramen_8.jpg": "Gone"},
        "split": {"train": ["hot_dog_1.jpg"], "val": ["hot_dog_2-3.jpg"], "test": ["ramen_7.jpg", "ramen_8.jpg"]},
        "class_idx": {"ramen": 0, "hot_dog": 1},
    } | files
    for name, value in told.items():
        if value is not None:
            put(root / f"{name}.json", value)
    return root


FIELDS = ("id", "split", "labels", "group", "title", "status")


def told(rows, *fields):
    return [tuple(row[field] for field in fields or FIELDS) for row in rows]


@pytest.mark.parametrize("wrapper", ["", "food101/"])
def test_titles_splits_and_classes_come_from_json(tmp_path, load, wrapper):
    make(tmp_path / wrapper)
    rows = load("food101", tmp_path)
    assert told(rows) == [
        ("ramen_7", "test", ["ramen"], "ramen_7", 'Soup, "hot"', "ok"),
        ("hot_dog_1", "train", ["hot_dog"], "hot_dog_1", "One", "ok"),
        ("hot_dog_2-3", "valid", ["hot_dog"], "hot_dog_2", None, "ok"),
        ("ramen_8", "test", ["ramen"], "ramen_8", "Gone", "ok"),
    ]  # fmt: skip
    assert [row["image"]["uri"].removeprefix(wrapper) for row in rows] == [
        "images/test/ramen/ramen_7.jpg", "images/train/hot_dog/hot_dog_1.jpg",
        "images/train/hot_dog/hot_dog_2-3.jpg", "images/test/ramen/ramen_8.jpg",
    ]  # fmt: skip
    assert rows[3]["source"] == f"{wrapper}text.json:4"
    entry = READERS["food101"]
    assert entry.vocabulary(str(tmp_path), entry.options()) == ("ramen", "hot_dog")
    listed = {file.uri.removeprefix(wrapper) for file in entry.files(str(tmp_path), entry.options())}
    assert {"text.json", "split.json", "class_idx.json"} <= listed


def test_without_split_json_the_folders_tell_the_split(tmp_path, load):
    assert told(load("food101", make(tmp_path, split=None)), "id", "split") == [
        ("ramen_7", "test"), ("hot_dog_1", "train"), ("hot_dog_2-3", "train"), ("ramen_8", None),
    ]  # fmt: skip


def test_names_that_only_one_of_the_files_has_are_rows(tmp_path, load):
    """An image without a title, and a name of split.json with neither."""
    rows = load("food101", make(tmp_path, text={"ramen_7.jpg": "Soup"}, split={"val": ["ramen_7.jpg", "ramen_9.jpg"]}))
    assert told(rows, "id", "split", "title", "source") == [
        ("ramen_7", "valid", "Soup", "images/test/ramen/ramen_7.jpg"),
        ("hot_dog_1", None, None, "images/train/hot_dog/hot_dog_1.jpg"),
        ("hot_dog_2-3", None, None, "images/train/hot_dog/hot_dog_2-3.jpg"),
        ("ramen_9", "valid", None, "split.json:2"),
    ]  # fmt: skip
    assert rows[3]["image"]["uri"] == "images/train/ramen/ramen_9.jpg"


def test_odd_names_and_titles_are_marked(tmp_path, load):
    odd = {"ramen_7.jpg": {"a": 1}, "../../etc/passwd": "x", "hot_dog_1.jpg": ["a", "b"], "": "y", "hot_dog_2-3.jpg": 5}
    rows = load("food101", make(tmp_path, text=odd, split=None))
    assert told(rows, "source", "id", "title", "status") == [
        ("images/test/ramen/ramen_7.jpg", "ramen_7", None, "bad_value"),
        ("images/train/hot_dog/hot_dog_1.jpg", "hot_dog_1", "a\nb", "ok"),
        ("images/train/hot_dog/hot_dog_2-3.jpg", "hot_dog_2-3", "5", "ok"),
        ("text.json:2", None, None, "bad_row"), ("text.json:4", None, None, "bad_row"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"text": ["a"]}, r"text\.json: expected 'JSON: one dict', got 'list'"),
        ({"text": b"{"}, r"text\.json: expected 'JSON: one dict', got 'bad_json'"),
        ({"text": {"ramen_7.png": "x"}}, r"text\.json: expected 'names of the images', got 'hot_dog_1.*ramen_7\.png"),
        ({"split": {"train": ["x"]}}, r"split\.json: expected 'names of the images', got 'hot_dog_1\.jpg'; it "),
        ({"split": []}, r"split\.json: expected 'JSON: one dict', got 'list'"),
    ],
)  # fmt: skip
def test_files_that_say_nothing_are_refused_in_a_line(tmp_path, load, files, said):
    with pytest.raises((DataError, ConfigError), match=said) as refused:
        load("food101", make(tmp_path, **files))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("other", ["texts/train_titles.csv", "texts_txt/ramen/ramen_7.txt"])
def test_two_sources_of_texts_need_a_word(tmp_path, load, other):
    put(make(tmp_path) / other, b"ramen_7.jpg,of the table,ramen\n")
    with pytest.raises(ConfigError, match=r"source\.options\.form: expected 'one source of texts', got \['text\.json'"):
        load("food101", tmp_path)
    assert len(load("food101", tmp_path, form="json")) == 4
    form = "titles" if other.endswith(".csv") else "tree"
    assert "ramen_7" in {row["id"] for row in load("food101", tmp_path, form=form)}


def test_a_form_that_is_not_there_is_refused(tmp_path, load):
    with pytest.raises(ConfigError, match=r"source\.options\.form: expected 'a text\.json', got 'json'"):
        load("food101", make(tmp_path, text=None), form="json")
