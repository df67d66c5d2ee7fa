"""Layouts of products and memes fed with any bytes: rows in, counted without the reader, are the rows that come out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fixtures.fuzzing import (
    ITEMS,
    JSON,
    dump,
    filled,
    fuzzed,
    line_numbers,
    lines,
    put_all,
    quoted_starts,
    rows_of,
    sources,
)
from hypothesis import strategies as st

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


CHECKS: dict[Callable[[Path, Any], None], st.SearchStrategy[Any]] = {
    rakuten: RAKUTEN,
    fashion: FASHION,
    amazon: ITEMS | OBJECTS,
    abo: ITEMS | OBJECTS,
    hateful_memes: ITEMS | OBJECTS,
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_rows_in_are_rows_out(check):
    fuzzed(check, CHECKS[check], 50)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_ten_thousand_sources_are_accounted_for(check):
    fuzzed(check, CHECKS[check], 10_000)
