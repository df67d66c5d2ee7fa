"""Every layout of text fed with any bytes: rows in, counted without the reader, are the rows that come out."""

import io
import json
import tarfile
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fixtures.fuzzing import filled, line_numbers, lines, one, put_all, quoted_starts, rows_of, run, sources
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuseline.tasks.documents.assignment import SplitConfig
from fuseline.tasks.documents.ingest import SourceConfig, ingest, ingest_quarantine
from fuseline.tasks.documents.ingest import stage as ingest_stage

# any JSON that a file can hold, and what the formats have a meaning for
NAMES = st.sampled_from(["genres", "plot", "title", "value", "language_tag", "hi_res", "id", "tags", "score", "a", ""])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def dump(value: object) -> bytes:
    """Return JSON as Python writes it: NaN and Infinity too, which other parsers call damage."""
    return json.dumps(value).encode()


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


RAKUTEN = sources(b'0,"a\nb",,1,2\n', b"1,t,d,3804725264,1263597046\n", b"2\tt\td\t1\t2\t10\n", b"0,10\n", b",,,,\n")


def rakuten(folder: Path, data: bytes) -> None:
    """X and Y tables as CSV, and the TSV of SIGIR eCom."""
    head, tabs = (
        b",designation,description,productid,imageid\n",
        b"Integer_id\tTitle\tDescription\tImage_id\tProduct_id\n",
    )
    put_all(
        folder,
        {
            "X_train_update.csv": head + b"known,t,,1,2\n" + data,  # the code of some row must be told
            "X_test_update.csv": head + data,
            "Y_train_CVw08PX.csv": b",prdtypecode\nknown,10\n" + data,
            "tabs/X_train.tsv": tabs + data,
            "tabs/Y_train.tsv": b"Integer_id\tPrdtypecode\n" + data,
        },
    )
    rows = rows_of("products", folder, preset="rakuten")
    commas, tabbed = len(quoted_starts(head + data)) - 1, len(quoted_starts(tabs + data, "\t")) - 1
    assert len(rows) == 2 * commas + tabbed + 1


FASHION = sources(b"1,Men,Apparel,Topwear,Shirts,Navy,Fall,2011,Casual,Turtle, Check\n", b"2,,,,,,,NA,NA,x\n", b"3,\n")


def fashion(folder: Path, data: bytes) -> None:
    """Unquoted commas in the names: each line is a row."""
    head = b"id,gender,masterCategory,subCategory,articleType,baseColour,season,year,usage,productDisplayName\n"
    put_all(folder, {"styles.csv": head + data})
    rows = rows_of("products", folder, preset="fashion")
    texts = lines(head + data)
    assert line_numbers(rows) == [number for number, line in enumerate(texts, 1) if number > 1 and line]
    wide = [texts[number - 1].count(",") >= 9 and "\ufffd" not in texts[number - 1] for number in line_numbers(rows)]
    assert all((row["status"] != "bad_row") for row, whole in zip(rows, wide, strict=True) if whole)


ITEMS = sources(
    b'{"parent_asin": "a", "title": "<b>", "images": [{"hi_res": 1}, "x"], "features": ["f", {}]}\n',
    b'{"asin": "b", "imageURL": [[]], "category": [["x"]], "price": null}\n',
    b'{"item_id": "B1", "domain_name": "d", "main_image_id": null, "product_type": [{"value": 3}]}\n',
    b'{"item_id": {}, "domain_name": [], "main_image_id": [1.5], "item_name": [{"language_tag": 1, "value": "v"}]}\n',
    b'{"id": 1, "img": "img/00001.png", "text": "t", "label": 0}\n',
)
# fmt: off
KEYS = (
    "parent_asin", "asin", "title", "images", "imageURL", "features", "item_id", "domain_name", "main_image_id",
    "item_name", "bullet_point", "product_type", "brand", "id", "img", "text", "label", "main_category", "store",
)
# fmt: on
OBJECTS = st.lists(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6), max_size=6).map(
    lambda rows: b"\n".join(map(dump, rows))
)


def amazon(folder: Path, data: bytes) -> None:
    """Metadata of 2023 and of 2018."""
    known = b'{"parent_asin": "0", "categories": ["c"]}\n'  # the label must be a key of some row
    put_all(folder, {"raw/meta_categories/meta_A.jsonl": data, "meta_B.json": data, "meta_C.jsonl": known})
    assert len(rows_of("products", folder, preset="amazon")) == 2 * filled(data) + 1
    assert len(rows_of("products", folder, preset="amazon", label="categories")) == 2 * filled(data) + 1


def abo(folder: Path, data: bytes) -> None:
    """Listings and the table of their images."""
    table = b"image_id,height,width,path\n010-mllS7JL,106,106,14/14fe8812.jpg\n" + data
    known = b'{"item_id": "0", "main_image_id": "010-mllS7JL"}\n'  # the table must have an image of some row
    listings = {f"listings/metadata/listings_{name}.json": text for name, text in (("0", data), ("1", known))}
    put_all(folder, {**listings, "images/metadata/images.csv": table})
    assert len(rows_of("products", folder, preset="abo", languages=("de", ""))) == filled(data) + 1


def hateful_memes(folder: Path, data: bytes) -> None:
    """One file per split, some without labels."""
    first = b'{"id": 1, "img": "img/00001.png", "text": "t", "label": 0}\n'
    put_all(folder, {f"{name}.jsonl": first + data for name in ("train", "dev_seen", "dev_unseen", "test_seen")})
    for dev, files in (("both", 4), ("seen", 3)):
        rows = rows_of("products", folder, preset="hateful_memes", dev=dev)
        assert len(rows) == files * filled(first + data)
        assert {row["split"] for row in rows if row["status"] == "ok"} == {"train", "valid", "test"}


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


TABLES = sources(
    b"a.jpg,t,x\n", b'"b\n.jpg",t,x\n', b"../c.jpg,t,x\n", b'{"file_name": "a.jpg", "text": ["t"]}\n', b",,\n"
)


def imagefolder(folder: Path, data: bytes) -> None:
    """Metadata beside the images: CSV in one set, JSON lines in the other."""
    head, first = b"file_name,text,label\n", b'{"file_name": "a.jpg", "text": "t", "label": 1}\n'
    put_all(folder / "c", {"train/metadata.csv": head + data, "valid/metadata.csv": head + data, "train/a.jpg": b"x"})
    rows = rows_of("imagefolder", folder / "c")
    assert len(rows) == 2 * (len(quoted_starts(head + data)) - 1)
    put_all(folder / "j", {"train/metadata.jsonl": first + data, "train/a.jpg": b"x"})
    assert len(rows_of("imagefolder", folder / "j")) == filled(first + data)


VALUES = (
    st.none() | st.sampled_from(["000000001", "000000002", "success", "failed_to_download", ""]) | st.text(max_size=5)
)
FAILED = st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=7)
# fmt: off
PLACES = (
    "a.jpg", "a.txt", "a.cls", "a.json", "b.jpg", "b.x.jpg", "B.JPG", "d/a.txt", "d/a.json", "../a.txt", "/a.txt",
    "__m__", ".hidden", "nodot", "000000001.jpg", "000000002.json", "000000002.txt", "é.txt", "a.title", "n\nl.txt",
)
# fmt: on
MEMBERS = st.lists(
    st.tuples(
        st.sampled_from(PLACES),
        JSON.map(dump) | st.binary(max_size=30),
        st.sampled_from([tarfile.REGTYPE, tarfile.REGTYPE, tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE]),
    ),
    max_size=9,
)


def tarred(members: list[tuple[str, bytes, bytes]]) -> bytes:
    """Return a tar of members, in their order."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data, kind in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(data) if kind == tarfile.REGTYPE else 0, "/etc/passwd"
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def is_bad(name: str, kind: bytes) -> bool:
    """Return whether a member leads out of the archive."""
    return kind == tarfile.SYMTYPE or (kind != tarfile.DIRTYPE and (name.startswith("/") or ".." in name.split("/")))


def img2dataset(folder: Path, data: tuple[list[tuple[Any, ...]], list[tuple[str, bytes, bytes]], int]) -> None:
    """The table lists failures too: each of its rows is a document, and each member that cannot be used a row more."""
    table, members, keep = data
    columns = zip(*table, strict=True) if table else ([], [], [])
    kinds = [pa.array(values, pa.string()) for values in columns]
    pq.write_table(pa.table(kinds, names=["key", "status", "caption"]), folder / "00000.parquet")
    put_all(folder, {"00000.tar": tarred(members)})
    rows = rows_of("img2dataset", folder)
    bad = sum(is_bad(name, kind) for name, _, kind in members)
    assert len(rows) == len(table) + bad
    assert sum(row["status"] == "bad_member" for row in rows) == bad
    whole = (folder / "00000.parquet").read_bytes()
    put_all(folder, {"00000.parquet": whole[: keep * len(whole) // 100] + whole[-8:]})
    cut = run("img2dataset", folder)
    assert cut, "a table that was cut is at least one row that says so"


def webdataset(folder: Path, data: tuple[list[tuple[str, bytes, bytes]], int]) -> None:
    """A document is a run of members with one key; a link or a climbing name is a row, and parts no run."""
    members, keep = data
    put_all(folder, {"train-000000.tar": tarred(members)})
    bad = sum(is_bad(name, kind) for name, _, kind in members)
    names = [name for name, _, kind in members if kind != tarfile.DIRTYPE and not is_bad(name, kind)]
    parts = [(name.rpartition("/")[0], *name.rpartition("/")[2].partition(".")) for name in names]
    keys = [f"{folder}/{stem}".removeprefix("/") for folder, stem, dot, _ in parts if dot and stem]
    rows = rows_of("webdataset", folder)
    assert len(rows) == len(list(groupby(keys))) + bad
    assert [row["id"] for row in rows if row["status"] != "bad_member"] == [key for key, _ in groupby(keys)]
    for options in ({"encoding_errors": "replace"}, {"tabular": {"score": "number"}}):
        assert len(run("webdataset", folder, **options) or rows) == len(rows)
    whole = tarred(members)
    put_all(folder, {"train-000000.tar": whole[: keep * len(whole) // 100]})
    cut = rows_of("webdataset", folder)
    assert len(cut) <= len(rows) + 1
    ends = [row for row in cut if row["status"] == "bad_file"]
    assert len(ends) <= 1
    assert [row["id"] for row in cut[: len(cut) - 1 - len(ends)]] == [
        row["id"] for row in rows[: max(len(cut) - 1 - len(ends), 0)]
    ]


KEEP = st.integers(0, 99)
CHECKS: dict[Callable[[Path, Any], None], st.SearchStrategy[Any]] = {
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
    rakuten: RAKUTEN,
    fashion: FASHION,
    amazon: ITEMS | OBJECTS,
    abo: ITEMS | OBJECTS,
    hateful_memes: ITEMS | OBJECTS,
    flickrtag: st.tuples(TAGS, TAGS),
    imagefolder: TABLES,
    img2dataset: st.tuples(FAILED, MEMBERS, KEEP),
    webdataset: st.tuples(MEMBERS, KEEP),
}


def fuzzed(check: Callable[[Path, Any], None], cases: int) -> None:
    """Run a check on so many sources."""

    @settings(max_examples=cases, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(CHECKS[check])
    def fuzz(data: Any) -> None:
        one(check, data)

    fuzz()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_rows_in_are_rows_out(check):
    fuzzed(check, 50)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_ten_thousand_sources_are_accounted_for(check):
    fuzzed(check, 10_000)


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
        ingest(node, folder / "root", done=lambda report: None)
        dataset, listed = node.dataset(folder / "root"), ingest_quarantine(node, folder / "root")
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


TYPED = [
    pa.array([1, 2, None]),
    pa.array([["a"], [], None]),
    pa.array([{"x": 1}, None, {}]),
    pa.array([b"\xff", b"", None]),
    pa.array([1.5, float("nan"), None]),
    pa.array([1, 2, None], pa.timestamp("ns")),
    pa.array(["a", "b", None]).dictionary_encode(),
    pa.array([[{"bytes": b"x", "path": "p"}], [], None]),
    pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int64())),
    pa.nulls(3),
]


@pytest.mark.parametrize("column", ["key", "status", "caption", "jpg", "image"])
@pytest.mark.parametrize("reader", ["img2dataset", "parquet"])
def test_a_column_of_any_type_loses_no_row(tmp_path, reader, column):
    """A status that was a list ended the run, and a column jpg that held numbers made one row of all."""
    for number, values in enumerate(TYPED):
        columns = {"key": ["1", "2", "3"], "status": ["success"] * 3, "caption": ["x"] * 3, column: values}
        pq.write_table(pa.table(columns), tmp_path / "00000.parquet")
        assert len(rows_of(reader, tmp_path)) == 3, number
