"""Every layout fed with any bytes: rows in, counted without the reader, are the rows that come out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fixtures.fuzz_archives import CHECKS as ARCHIVES
from fixtures.fuzz_products import CHECKS as PRODUCTS
from fixtures.fuzzing import (
    ITEMS,
    JSON,
    dump,
    filled,
    fuzzed,
    line_numbers,
    lines,
    one,
    put_all,
    quoted_starts,
    rows_of,
    run,
    sources,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuseline.stores.places import open_root
from fuseline.tasks.documents.assignment import SplitConfig
from fuseline.tasks.documents.documents_node import SourceConfig
from fuseline.tasks.documents.ingest import ingest, ingest_quarantine
from fuseline.tasks.documents.ingest import stage as ingest_stage

PETS = sources(
    b'a,r,Rex,"two\nlines, ""quoted""",3,0\n',
    b"b,,,,,9\n",
    b'a,r,"x\r\ny",,1e999,-1\n',
    b'a,r,"open,x,1,2\n',
    b",,,,,\n",
)


def petfinder(folder: Path, data: bytes) -> None:
    """Descriptions hold quoted line breaks: the records are counted, not the lines."""
    head = b"PetID,RescuerID,Name,Description,Age,AdoptionSpeed\n"
    put_all(
        folder,
        {
            "train/train.csv": head + data,
            "test/test.csv": head + data,
            "breed_labels.csv": b"BreedID,Type,BreedName\n" + data,
            "train_sentiment/a.json": data,
            "train_metadata/a-1.json": data,
            "train_images/a-1.jpg": b"x",
            "train_images/a-02.jpg": b"x",
        },
    )
    starts = quoted_starts(head + data)[1:]
    rows = rows_of("petfinder", folder)
    assert line_numbers(rows) == starts * 2
    each = rows_of("petfinder", folder, photos="each")
    assert len(each) == len(rows) + sum(row["id"] == "a" and row["status"] == "ok" for row in rows)


LISTS = sources(
    b"google/q1/x.jpg 1\n", b"flickr/q12345/a b.jpg 0\n", b"q1/x.jpg 9\n", b"../x.jpg 0\n", b" 3\n", b"1 2\n"
)
ARRAY = st.lists(JSON, max_size=3).map(dump)


def webvision(folder: Path, data: tuple[bytes, bytes, bytes]) -> None:
    """1.0: a list for each source, metadata aligned by line; and the lists without labels."""
    listed, metas, array = data
    put_all(
        folder,
        {
            "info/synsets.txt": b"n0 zero\nn1 one\n",
            "info/queries_synsets_map.txt": metas,
            "info/train_filelist_google.txt": listed,
            "info/train_filelist_flickr.txt": listed + b"\ngoogle/q1/x.jpg 1",
            "info/train_meta_list_google.txt": metas,
            "info/train_meta_list_flickr.txt": b"google/q1.json 1\n" * 3,
            "info/val_filelist.txt": listed,
            "info/test_filelist.txt": listed,
            "google/q1.json": array,
        },
    )
    rows = rows_of("webvision", folder)
    assert len(rows) == 4 * filled(listed) + 1
    fine = ("ok", "bad_metadata")
    good = [row for row in rows if row["id"] == "google/q1/x.jpg" and row["status"] in fine]
    assert good
    assert all(row["labels"] == ["n1"] for row in good)
    assert rows_of("webvision", folder, join="id", label="name")[-1]["id"] == rows[-1]["id"]


def webvision2(folder: Path, data: tuple[bytes, bytes, bytes]) -> None:
    """2.0: one list of all, long query numbers, tags that are one string."""
    listed, metas, array = data
    put_all(
        folder,
        {
            "info/synsets.txt": b"n0 zero\nn1 one\n",
            "info/queries_synsets_map.txt": b"12345 0\n" + metas,
            "info/train_filelist_all.txt": listed,
            "info/train_meta_list_all.txt": b"google/q1.json 1\n" + metas,
            "google/q1.json": array,
        },
    )
    assert len(rows_of("webvision", folder)) == filled(listed)


ADS = {"columns": {"id": "ad", "text": "slogan", "labels": "verdict"}, "finer": "kind", "naturalness": "natural"}


def ads_parallelity(folder: Path, data: bytes) -> None:
    """A manifest whose columns the user names, as CSV, TSV and JSON lines."""
    head = b"ad,slogan,verdict,kind,natural\n"
    first = b'{"ad": "1", "slogan": "s", "verdict": "v", "kind": "k", "natural": 1}\n'
    put_all(folder, {"a.csv": head + data, "b.tsv": head.replace(b",", b"\t") + data, "c.jsonl": first + data})
    for name, delimiter in (("a.csv", ","), ("b.tsv", "\t")):
        rows = rows_of("ads_parallelity", folder / name, **ADS)
        assert line_numbers(rows) == quoted_starts(head.replace(b",", delimiter.encode()) + data, delimiter)[1:]
    assert len(rows_of("ads_parallelity", folder / "c.jsonl", **ADS)) == filled(first + data)


VOTES = st.dictionaries(
    st.sampled_from(["0/a.jpg", "0/b.jpg", "../x", "/x", ""]) | st.text(max_size=4), JSON, max_size=5
)


def pitt_ads(folder: Path, data: tuple[dict[str, Any], ...]) -> None:
    """Each file speaks of other images: the documents are all of them."""
    *answers, listed = data
    names = ("Topics", "Sentiments", "Slogans", "QA_Reason")
    finite = [json.loads(json.dumps(answer), parse_constant=str) for answer in answers]
    put_all(folder, {f"image/{name}.json": dump(some) for name, some in zip(names, finite, strict=True)})
    put_all(folder, {"image/Topics_List.txt": listed, "image/Sentiments_List.txt": listed})
    known = {key for some in finite for key in some}
    for options in ({}, {"target": "Sentiments", "votes": "all"}, {"text": ("QA_Reason", "Slogans"), "ties": "drop"}):
        rows = rows_of("pitt_ads", folder, **options)
        assert len(rows) == len(known)
        assert {row["id"] for row in rows} == {key.replace("\0", "") or None for key in known}


FILMS = st.dictionaries(st.sampled_from(["0000001", "0000002", "0000003", "0000004", "12"]), JSON.map(dump) | sources())
FILM_LISTS = st.dictionaries(
    st.sampled_from(["train", "dev", "test", "other"]),
    st.lists(st.sampled_from(["0000001", "0000002", "0000009", "a"]), max_size=3),
)


def mmimdb(folder: Path, data: tuple[dict[str, bytes], dict[str, list[str]], set[str]]) -> None:
    """A film is known by split.json, by its JSON or by its poster: each is one row."""
    films, splits, posters = data
    films = {**films, "0000099": b'{"title": "has every key", "score": 1}'}
    put_all(folder, {f"dataset/{film}.json": text for film, text in films.items()})
    put_all(folder, {f"dataset/{film}.jpeg": b"x" for film in posters})
    put_all(folder, {"split.json": dump(splits)})
    known = {*films, *posters, *(film for name, some in splits.items() if name != "other" for film in some)}
    rows = rows_of("mmimdb", folder, tabular={"title": "category", "score": "number"}, strip_author=True, plot="all")
    assert sorted(row["id"] for row in rows) == sorted(known)
    assert all(row["status"] == "missing" for row in rows if row["id"] not in films)


def mmimdb_splits(folder: Path, data: bytes) -> None:
    """Any JSON for the split: read, or refused in our words."""
    put_all(folder, {"split.json": data, "dataset/0000001.json": b"{}"})
    rows = run("mmimdb", folder)
    assert rows is None or "0000001" in {row["id"] for row in rows}


FOOD = sources(b"tacos_1.jpg,a title,tacos\n", b'tacos_2.txt,"open, x,tacos\n', b"../x.jpg,t,../y\n", b"a.jpg,,\n")


def food101_titles(folder: Path, data: tuple[bytes, bytes, bytes]) -> None:
    """The Kaggle titles: a line is a row, whatever its quotes, and an image without a row is one more."""
    titles, splits, classes = data
    put_all(folder, {"images/test/tacos/tacos_9.jpg": b"x", "split.json": splits, "class_idx.json": classes})
    put_all(folder, {f"texts/{split}_titles.csv": titles for split in ("train", "test")})
    heads = [line.partition(",")[0].strip().strip('"').lower() for line in lines(titles) if line and not line.isspace()]
    headers = {"image", "name", "img", "path", "file", "filename", "file_name", "image_path"}
    rows = rows_of("food101", folder)
    assert len(rows) == 2 * sum(head not in headers for head in heads) + (
        not any(row["id"] == "tacos_9" and ":" in row["source"] for row in rows)
    )
    split = run("food101", folder, split_file="split.json")
    assert split is None or len(split) == len(rows)


FOOD_NAMES = st.sampled_from(["tacos_9.jpg", "tacos_1.jpg", "hot_dog_2-3.jpg", "", "../x_1.jpg", "x"]) | st.text(
    max_size=4
)
FOOD_TITLES = st.dictionaries(FOOD_NAMES, JSON, max_size=4).map(dump) | JSON.map(dump)
FOOD_LISTS = st.dictionaries(st.sampled_from(["train", "val", "test"]), st.lists(FOOD_NAMES, max_size=3) | JSON).map(
    dump
)


def food101_json(folder: Path, data: tuple[bytes, bytes]) -> None:
    """The papers' JSON: a row for the image, and for each name that no image has."""
    put_all(folder, {"images/test/tacos/tacos_9.jpg": b"x", "text.json": data[0], "split.json": data[1]})
    rows = run("food101", folder)
    if rows is not None:
        titles, splits = map(json.loads, data)
        lists = (names for names in map(splits.get, ("train", "val", "test")) if isinstance(names, list))
        assert len(rows) == len({"tacos_9.jpg", *titles, *(str(name) for names in lists for name in names)})


TAGS = sources(b"__label__a b __label__c\n", b"__label__\n", b"12\n", b"../x\n", b"/x.jpg\n")


def flickrtag(folder: Path, data: tuple[bytes, bytes]) -> None:
    """Label files with ids and images aligned by line, whatever those hold."""
    tags, ids = data
    put_all(folder, {"train": tags, "valid": tags, "train.ids": ids, "images.txt": ids})
    rows = rows_of("flickrtag", folder, ids="{name}.ids", image_list="images.txt")
    assert len(rows) == 2 * len(lines(tags))
    known = [line.strip("\0").strip() or None for line in lines(ids)]
    padded = [*known, *[None] * len(lines(tags))][: len(lines(tags))]
    mine = [row["id"] for row in rows if row["source"].startswith("train:")]
    assert mine == [one if one is None or len(one) <= 4096 else None for one in padded]
    assert len(rows_of("flickrtag", folder, image="images/{line}.jpg")) == len(rows)


TEXTS: dict[Callable[[Path, Any], None], st.SearchStrategy[Any]] = {
    petfinder: PETS,
    webvision: st.tuples(LISTS, LISTS | sources(b"google/q1.json 1\n", b"1 1\n"), ARRAY | sources()),
    webvision2: st.tuples(LISTS, LISTS | sources(b"google/q1.json 1\n", b"1 1\n"), ARRAY | sources()),
    ads_parallelity: sources(b'1,"s\nt",v,k,2\n', b"1\ts\tv\tk\t1e99\n", b'{"ad": 1.50, "natural": "x", "kind": {}}\n'),
    pitt_ads: st.tuples(VOTES, VOTES, VOTES, VOTES, sources(b'1 "a" (ABBREVIATION: "b")\n')),
    mmimdb: st.tuples(FILMS, FILM_LISTS, st.sets(st.sampled_from(["0000001", "0000007"]))),
    mmimdb_splits: JSON.map(dump)
    | st.dictionaries(st.sampled_from(["train", "dev", "test"]), JSON).map(dump)
    | sources(b'{"train": ["0000001"]}'),
    food101_titles: st.tuples(FOOD, JSON.map(dump) | FILM_LISTS.map(dump), JSON.map(dump)),
    food101_json: st.tuples(FOOD_TITLES, FOOD_LISTS | JSON.map(dump)),
    flickrtag: st.tuples(TAGS, TAGS),
}


CHECKS = {**TEXTS, **ARCHIVES, **PRODUCTS}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_rows_in_are_rows_out(check):
    fuzzed(check, CHECKS[check], 50)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_ten_thousand_sources_are_accounted_for(check):
    fuzzed(check, CHECKS[check], 10_000)


INGESTED: dict[
    str, tuple[str, bytes, dict[str, Any], st.SearchStrategy[bytes]]
] = {  # reader -> how a file of it is fed
    "jsonl": ("d.jsonl", b'{"id": "1", "text": "t", "label": "x"}\n', {}, sources(b'{"id": "1"}\n', b'{"id": "2"}\n')),
    "csv": ("d.csv", b"id,text,label\n1,t,x\n", {}, sources(b"1,a,b\n", b'2,"a\nb",c\n', b"3,\n")),
    "fasttext": ("train.txt", b"__label__x t\n", {"drop_unlabelled": True}, TAGS),
    "petfinder": ("train/train.csv", b"PetID,Description,AdoptionSpeed\na,t,1\n", {}, PETS),
    "webvision": ("info/val_filelist.txt", b"google/q1/x.jpg 1\n", {}, LISTS),
    "products": ("meta_a.jsonl", b'{"parent_asin": "1"}\n', {"preset": "amazon"}, ITEMS),
}


def ingested(reader: str, cases: int) -> None:
    """Feed a reader through ingest: its rows are the documents and the rows in the quarantine, each with a reason."""
    name, first, options, strategy = INGESTED[reader]

    def check(folder: Path, data: bytes) -> None:
        put_all(folder / "in", {"info/synsets.txt": b"n0 zero\nn1 one\n", name: first + data})
        whole = reader in ("petfinder", "webvision", "products")
        path = folder / "in" if whole else folder / "in" / name
        source = SourceConfig(reader=reader, path=str(path), options=options)
        node = ingest_stage("x", source, shard_size=4, split=SplitConfig())
        root = open_root(folder / "root")
        ingest(node, root, done=lambda report: None)
        dataset, listed = node.dataset(root), ingest_quarantine(node, root)
        documents = sum(record.n_rows for record in dataset.records().values())
        assert documents + len(listed) == len(rows_of(reader, path, **options))
        assert listed["reason"].null_count == 0

    @settings(max_examples=cases, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(strategy)
    def fuzz(data: bytes) -> None:
        one(check, data)

    fuzz()


@pytest.mark.parametrize("reader", INGESTED)
def test_rows_in_are_documents_and_quarantine(reader):
    ingested(reader, 10)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("reader", INGESTED)
def test_a_thousand_sources_through_ingest(reader):
    ingested(reader, 1000)
