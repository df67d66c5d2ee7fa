"""Traps of the public sets of products and memes, one test each; TRAPS.md beside this file lists all of them."""

import gzip

from fixtures.pieces import dump, put, told, uris


def test_fashion_names_with_commas_and_usage_na(tmp_path, load):
    head = "id,gender,masterCategory,subCategory,articleType,baseColour,season,year,usage,productDisplayName"
    lines = [
        '15970,Men,Apparel,Topwear,Shirts,Navy Blue,Fall,2011,NA,Turtle Check, Men\'s "Navy", Shirt',
        "1,Men,,,,,,,,",
        '3,Men,,,,,,,,"Navy" Shirt',
        "2,Men",
    ]
    put(tmp_path / "styles.csv", "\n".join([head, *lines]))
    put(tmp_path / "images.csv", "filename,link\n15970.jpg,http://h/1.jpg\n")
    rows = load("products", tmp_path, preset="fashion")
    assert told(rows, "id", "title", "labels", "cat_usage", "num_year", "status") == [
        ("15970", "Turtle Check, Men's \"Navy\", Shirt", ["Shirts"], "NA", 2011.0, "ok"),
        ("1", None, [], None, None, "ok"), ("3", '"Navy" Shirt', [], None, None, "ok"),
        ("2", None, [], None, None, "bad_row"),
    ]  # fmt: skip
    assert uris(rows)[:2] == ["images/15970.jpg", "images/1.jpg"]  # some ids have no image: told where it is opened
    assert load("products", tmp_path, preset="fashion", label="gender")[0]["labels"] == ["Men"]


def test_abo_images_languages_and_keys(tmp_path, load):
    names = [{"language_tag": tag, "value": tag} for tag in ("de_DE", "fr_FR", "en_GB")]
    items = [
        {"item_id": "B1", "domain_name": "d", "item_name": names, "main_image_id": "01+-mllS7JL"},
        {"item_id": "B2", "domain_name": "d", "item_name": names[:2], "main_image_id": None,
         "product_type": [{"value": "CHAIR"}]},
        {"item_id": "B3", "main_image_id": "gone", "item_name": []},
    ]  # fmt: skip
    put(tmp_path / "listings/metadata/listings_a.json.gz", gzip.compress("\n".join(map(dump, items)).encode()))
    table = "image_id,height,width,path\n01+-mllS7JL,106,106,14/14fe8812.jpg\n"
    put(tmp_path / "images/metadata/images.csv.gz", gzip.compress(table.encode()))
    rows = load("products", tmp_path, preset="abo")
    assert told(rows, "id", "title", "labels") == [
        ("B1@d", "en_GB", []),
        ("B2@d", "de_DE", ["CHAIR"]),
        ("B3", None, []),
    ]
    assert uris(rows) == ["images/original/14/14fe8812.jpg", None, None]
    put(tmp_path / "images/small/14/14fe8812.jpg", b"x")
    assert uris(load("products", tmp_path, preset="abo"))[0] == "images/small/14/14fe8812.jpg"
    assert load("products", tmp_path, preset="abo", languages=("fr",))[1]["title"] == "fr_FR"


def test_amazon_of_2023_and_of_2018(tmp_path, load):
    new = {
        "parent_asin": "B1", "asin": "X", "title": "<b>raw", "price": "None", "features": ["f", "g"], "details": "{}",
        "main_category": "Beauty", "categories": ["a", "b"], "store": None, "description": [],
        "images": [{"hi_res": None, "large": "https://h/l.jpg"}],
    }  # fmt: skip
    old = {"asin": "B2", "main_cat": "Old", "category": ["c", "d"], "feature": ["h"], "brand": "Br",
           "imageURLHighRes": ["https://h/o.jpg"], "imageURL": []}  # fmt: skip
    put(tmp_path / "meta_A.jsonl", dump(new) + "\n")
    put(tmp_path / "meta_B.json.gz", gzip.compress((dump(old) + "\n{'asin': 'python literal of 2014'}\n").encode()))
    rows = load("products", tmp_path, preset="amazon")
    assert told(rows, "id", "title", "text", "labels", "cat_store", "status") == [
        ("B1", "<b>raw", "f\ng", ["Beauty"], None, "ok"), ("B2", None, "h", ["Old"], "Br", "ok"),
        (None, None, None, [], None, "bad_json"),
    ]  # fmt: skip
    assert uris(rows) == ["https://h/l.jpg", "https://h/o.jpg", None]
    several = load("products", tmp_path, preset="amazon", label="categories")
    assert [row["labels"] for row in several] == [["a", "b"], ["c", "d"], []]


def test_hateful_memes_dev_sets_overlap_and_early_tests_have_no_label(tmp_path, load):
    """The id loses its zeros, the image does not; seen or unseen can be left out, and a repeat is one id twice."""
    for name, ids, label in (
        ("train", [1], 0),
        ("dev_seen", [2, 3], 1),
        ("dev_unseen", [3], 1),
        ("test_seen", [4], None),
    ):
        lines = [{"id": one, "img": f"img/{one:05d}.png", "text": "t"} for one in ids]
        put(
            tmp_path / f"{name}.jsonl",
            "\n".join(dump(line | ({} if label is None else {"label": label})) for line in lines),
        )
    rows = load("products", tmp_path, preset="hateful_memes")
    assert told(rows, "id", "split", "labels") == [
        ("1", "train", ["0"]), ("2", "valid", ["1"]), ("3", "valid", ["1"]), ("3", "valid", ["1"]), ("4", "test", []),
    ]  # fmt: skip
    assert uris(rows)[0] == "img/00001.png"
    seen, unseen = (load("products", tmp_path, preset="hateful_memes", dev=dev) for dev in ("seen", "unseen"))
    assert [[row["id"] for row in some] for some in (seen, unseen)] == [["1", "2", "3", "4"], ["1", "3", "4"]]
