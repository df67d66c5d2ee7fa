"""The rules that every reader follows, R1 to R13: each test fails when its rule is dropped."""

import gzip
import io
import itertools
import pickle
from pathlib import Path

import numpy as np
import pytest
from fixtures.pieces import dump, put

from fuseline.stores.errors import ConfigError, DataError
from fuseline.tasks.readers import READERS, differences, published


def told(rows, *names):
    return [tuple(row[name] for name in names) for row in rows]


def test_r1_ids_are_strings(tmp_path, load):
    """MM-IMDB ids keep leading zeros; Berkeley image ids hold plus and minus."""
    put(tmp_path / "split.json", dump({"train": ["0012345"], "dev": [], "test": []}))
    put(tmp_path / "dataset/0012345.json", dump({"genres": ["Drama"], "plot": ["x"]}))
    assert told(load("mmimdb", tmp_path), "id", "split") == [("0012345", "train")]
    put(tmp_path / "c/d.csv", "id\n007\n1e5\n+1\n")
    assert told(load("csv", tmp_path / "c"), "id") == [("007",), ("1e5",), ("+1",)]


def test_r2_integers_that_look_like_ids_keep_64_bits(tmp_path, load):
    put(
        tmp_path / "X_train_update.csv",
        ",designation,description,productid,imageid\n0,t,,3804725264,9223372036854775807\n",
    )
    (row,) = load("products", tmp_path, preset="rakuten")
    assert row["image"]["uri"] == "images/image_train/image_9223372036854775807_product_3804725264.jpg"


def test_rakuten_as_tsv_of_sigir_ecom(tmp_path, load):
    """Its files are X_train.tsv and x_test_task1_phase1.tsv; the first was passed over without a word."""
    head = "Integer_id\tTitle\tDescription\tImage_id\tProduct_id\n"
    put(tmp_path / "X_train.tsv", head + "0\tt\td\t1263597046\t3804725264\n1\tu\t\t5\t6\n")
    put(tmp_path / "Y_train.tsv", "Integer_id\tPrdtypecode\n0\t10\n1\t2280\n")
    put(tmp_path / "x_test_task1_phase1.tsv", head + "2\tv\t\t7\t8\n")
    rows = load("products", tmp_path, preset="rakuten")
    assert told(rows, "id", "split", "labels", "title", "description") == [
        ("0", "train", ["10"], "t", "d"), ("1", "train", ["2280"], "u", None), ("2", "test", [], "v", None),
    ]  # fmt: skip
    assert rows[0]["image"]["uri"] == "images/image_train/image_1263597046_product_3804725264.jpg"


def test_r3_first_and_last_separator(tmp_path, load):
    """The quote that opens in train_titles.csv swallows 16 rows in a CSV reader."""
    (tmp_path / "images/train").mkdir(parents=True)
    lines = [
        "apple_pie_0.jpg,Plain title,apple_pie",
        'breakfast_burrito_730.jpg,"never closed, this one,breakfast_burrito',
        'breakfast_burrito_731.txt,"commas, and ""quotes""",breakfast_burrito',
        "tacos_1.jpg,,tacos",
        "tacos_2.jpg",
        "",
    ]
    put(tmp_path / "texts/train_titles.csv", "\n".join(lines))
    assert told(load("food101", tmp_path), "id", "title", "labels", "status") == [
        ("apple_pie_0", "Plain title", ["apple_pie"], "ok"),
        ("breakfast_burrito_730", "never closed, this one", ["breakfast_burrito"], "ok"),
        ("breakfast_burrito_731", 'commas, and "quotes"', ["breakfast_burrito"], "ok"),
        ("tacos_1", None, ["tacos"], "ok"),
        (None, None, [], "bad_row"),
    ]


def test_r3_tabs_are_split_before_anything_is_stripped(tmp_path, load):
    fields = ["0", "6985418911", "4e2f", *[""] * 21, "0"]
    put(tmp_path / "y.tsv", "\t".join(fields) + "\n" + "\t".join(fields[2:-1]) + "\n" + '"\t' * 24 + "0\n")
    assert told(load("yfcc", tmp_path / "y.tsv"), "id", "status") == [
        ("6985418911", "ok"),
        (None, "bad_row"),
        ('"', "ok"),
    ]


def test_r4_rows_without_image_and_images_without_row_both_show(tmp_path, load):
    put(tmp_path / "images/train/tacos/tacos_1.jpg", b"x")
    put(tmp_path / "images/train/tacos/tacos_9.jpg", b"x")
    put(tmp_path / "texts/train_titles.csv", "tacos_1.jpg,one,tacos\ntacos_2.jpg,two,tacos\n")
    rows = load("food101", tmp_path)
    assert told(rows, "id", "title") == [("tacos_1", "one"), ("tacos_2", "two"), ("tacos_9", None)]
    counts = {"train": len(rows), "labels": 1}
    assert ("train", 67_988, 3) in differences(counts, published("food101", READERS["food101"].options()))
    assert differences({"train": 2}, {"train": 2}) == []


def test_r5_a_suffix_decides_nothing_about_the_bytes(tmp_path, load):
    """What is under a .jpg name may be PNG or HTML: the reader passes it on as it lies, whatever it is."""
    put(tmp_path / "a/x.jpg", b"\x89PNG not a jpeg")
    put(tmp_path / "b/y.PNG", b"<html>")
    rows = load("imagefolder", tmp_path, images="copy")
    assert [row["image"]["bytes"] for row in rows] == [b"\x89PNG not a jpeg", b"<html>"]
    assert [row["status"] for row in rows] == ["ok", "ok"]


def test_r6_missing_is_null_not_an_empty_text(tmp_path, load):
    put(tmp_path / "d.csv", "id,title,text,image,label\n1,,,,\n")
    (row,) = load("csv", tmp_path / "d.csv")
    assert row == {
        "id": "1", "source": "d.csv:2", "status": "ok", "split": None, "group": None, "labels": [], "title": None,
        "description": None, "text": None, "html": None, "image": None,
    }  # fmt: skip


def test_r6_an_absent_sentiment_is_missing_not_zero(tmp_path, load):
    put(tmp_path / "train/train.csv", "PetID,Description,AdoptionSpeed,Breed1\nabc,,0,0\nabd,x,4,307\n")
    put(tmp_path / "train_sentiment/abd.json", dump({"documentSentiment": {"score": 0, "magnitude": 0.5}}))
    rows = load("petfinder", tmp_path)
    assert told(rows, "id", "description", "num_sentiment_score", "cat_Breed1") == [
        ("abc", None, None, None),
        ("abd", "x", 0.0, "307"),
    ]


def test_r6_what_vision_did_not_say_of_a_photo_is_missing(tmp_path, load):
    put(tmp_path / "train/train.csv", "PetID\na\nb\nc\nd\n")
    for photo in ("a-1", "a-2", "b-1", "c-3"):
        put(tmp_path / f"train_images/{photo}.jpg", b"x")
    put(tmp_path / "train_images/d-\u00b2.jpg", b"x")  # a digit to Python, but no number
    whole = {
        "labelAnnotations": [{"description": "dog", "score": 0.5}, {"description": "cat", "score": 0.9}],
        "imagePropertiesAnnotation": {
            "dominantColors": {
                "colors": [
                    {"color": {"red": 10, "blue": 3}, "score": 0.2, "pixelFraction": 0.1},
                    {"color": {"green": 255}, "score": 0.7, "pixelFraction": 0.25},
                ]
            }
        },
        "cropHintsAnnotation": {"cropHints": [{"confidence": 0.8}]},
        "textAnnotations": [{"description": "for free"}],
    }
    put(tmp_path / "train_metadata/a-1.json", dump(whole))
    put(tmp_path / "train_metadata/a-2.json", dump({"labelAnnotations": "no list", "cropHintsAnnotation": {}}))
    put(tmp_path / "train_metadata/c-3.json", "{")
    rows = load("petfinder", tmp_path)
    assert {name.removeprefix("num_photo_"): value for name, value in rows[0].items() if "_photo_" in name} == {
        "cat_photo_label": "cat", "label_score": 0.9, "labels": 2.0, "red": 0.0, "green": 255.0, "blue": 0.0,
        "color_score": 0.7, "color_pixels": 0.25, "crop_confidence": 0.8, "crop_importance": None, "faces": 0.0,
        "texts": 1.0,
    }  # fmt: skip
    for row in rows[1:]:  # no file, a damaged file, no photo
        assert {value for name, value in row.items() if "_photo_" in name} == {None}
    each = load("petfinder", tmp_path, photos="each")
    assert told(each, "id", "cat_photo_label", "num_photo_labels") == [
        ("a-1", "cat", 2.0), ("a-2", None, 0.0), ("b-1", None, None), ("c-3", None, None), ("d", None, None),
    ]  # fmt: skip
    (tmp_path / "train_metadata").rename(tmp_path / "elsewhere")
    assert not any("_photo_" in name for name in load("petfinder", tmp_path)[0])


def test_r7_vocabularies_follow_the_release_not_the_alphabet(tmp_path):
    put(tmp_path / "images/train/baklava/baklava_1.jpg", b"x")
    put(tmp_path / "class_idx.json", dump({"baklava": 100, "frozen_yogurt": 0, "apple_pie": 7}))
    entry = READERS["food101"]
    assert entry.vocabulary(str(tmp_path), entry.options()) == ("frozen_yogurt", "apple_pie", "baklava")
    put(tmp_path / "w/info/synsets.txt", "n2 b\nn1 a, z\n")
    entry = READERS["webvision"]
    assert entry.vocabulary(str(tmp_path / "w"), entry.options()) == ("n2", "n1")
    assert entry.vocabulary(str(tmp_path / "w"), entry.options(label="name")) == ("b", "a")


def test_r7_file_labels_count_from_0_and_metadata_rows_from_1(tmp_path, load):
    put(tmp_path / "info/synsets.txt", "n0 zero\nn1 one\n")
    put(
        tmp_path / "info/train_filelist_google.txt",
        "google/q1/a b.jpg 1\ngoogle/q1/c.jpg 0\ngoogle/q1/d.jpg 2\nno label\n",
    )
    put(tmp_path / "info/train_meta_list_google.txt", "google/q1.json 2\ngoogle/q1.json 1\ngoogle/q1.json 9\n")
    put(
        tmp_path / "google/q1.json",
        dump([{"title": "first", "tags": "one string"}, {"title": "second", "tags": ["a", "b"]}]),
    )
    assert told(load("webvision", tmp_path), "id", "labels", "title", "text", "status") == [
        ("google/q1/a b.jpg", ["n1"], "second", "a b", "ok"),
        ("google/q1/c.jpg", ["n0"], "first", "one string", "ok"),
        ("google/q1/d.jpg", [], None, None, "bad_row"),
        ("no label", [], None, None, "bad_row"),
    ]


@pytest.mark.parametrize("base", [0, 1])
def test_r7_the_query_map_counts_from_0_or_1_as_the_file_lists_say(tmp_path, load, base):
    """1.0 counts synsets from 1, 2.0 from 0; a line without a label takes its query's."""
    put(tmp_path / "info/synsets.txt", "n0 zero\nn1 one\nn2 two\n")
    put(tmp_path / "info/queries_synsets_map.txt", f"12345 {1 + base}\n7 {0 + base}\n8 {2 + base}\nnonsense\n8\n")
    lines = "flickr/q12345/a.jpg 1\ngoogle/q0007/b.jpg 0\ngoogle/q0008/c.jpg\ngoogle/q0099/d.jpg\nno label\n"
    put(tmp_path / "info/train_filelist_all.txt", lines)
    labels = [["n1"], ["n0"], ["n2"], [], []]
    assert [row["labels"] for row in load("webvision", tmp_path)] == labels
    assert [row["status"] for row in load("webvision", tmp_path)] == ["ok", "ok", "ok", "bad_row", "bad_row"]
    assert [row["labels"] for row in load("webvision", tmp_path, query_labels=False)] == [*labels[:2], [], [], []]


def test_r7_a_query_map_that_contradicts_the_file_lists_is_not_used(tmp_path, load, caplog):
    put(tmp_path / "info/synsets.txt", "n0 zero\nn1 one\nn2 two\nn3 three\n")
    put(tmp_path / "info/queries_synsets_map.txt", "1 3\n2 1\n")
    lines = "google/q2/b.jpg 1\n" * 9 + "google/q1/a.jpg 0\ngoogle/q1/c.jpg\n"  # nine of ten are not enough
    put(tmp_path / "info/train_filelist_google.txt", lines)
    rows = load("webvision", tmp_path)
    assert told(rows, "labels", "status") == [(["n1"], "ok")] * 9 + [(["n0"], "ok"), ([], "bad_row")]
    assert "does not agree" in caplog.text


def test_r8_several_labels_and_unknown_ones(tmp_path, load):
    put(tmp_path / "dataset/0000001.json", dump({"genres": ["Film-Noir", "News", "Drama"], "plot": ["a", "longer"]}))
    assert told(load("mmimdb", tmp_path), "labels", "text") == [(["Film-Noir", "Drama"], "longer")]
    assert told(load("mmimdb", tmp_path, genres="all", plot="all"), "labels", "text") == [
        (["Film-Noir", "News", "Drama"], "a\nlonger")
    ]


def test_r8_unknown_labels_have_three_ways(tmp_path, load):
    put(
        tmp_path / "d.jsonl",
        dump({"id": "1", "label": ["a", "b", "a"]}) + "\n" + dump({"id": "2", "label": "b"}) + "\n",
    )
    known = {"vocabulary": ("b", "c")}
    rows = load("jsonl", tmp_path / "d.jsonl", **known)
    assert told(rows, "labels", "status") == [(["b"], "ok"), (["b"], "ok")]
    rows = load("jsonl", tmp_path / "d.jsonl", unknown_label="drop_row", **known)
    assert told(rows, "id", "labels", "status") == [(None, [], "unknown_label"), ("2", ["b"], "ok")]
    with pytest.raises(DataError, match="labels of the vocabulary"):
        load("jsonl", tmp_path / "d.jsonl", unknown_label="error", **known)


def test_r9_percent_and_plus_are_the_formats_and_entities_the_cleaners(tmp_path, load):
    fields = [""] * 25
    fields[1], fields[8], fields[9] = "7", "caf%C3%A9+au+lait%21", "%3Cb%3E1+%26amp%3B+2%0A%3C%2Fb%3E"
    fields[10] = "canon,canon+powershot,a%2Cb,%FF,canon,"
    put(tmp_path / "y.tsv", "\t".join(fields) + "\n")
    (row,) = load("yfcc", tmp_path / "y.tsv")
    assert (row["title"], row["description"]) == ("café au lait!", "<b>1 &amp; 2\n</b>")
    assert row["labels"] == ["canon", "canon powershot", "a,b", "\ufffd"]


def test_r10_encodings_per_file(tmp_path, load):
    """Topics_List.txt is UTF-16LE and the other lists Latin-1."""
    put(
        tmp_path / "image/Topics.json",
        dump({"0/1.jpg": ["1", "1", "2"], "0/2.jpg": ["1", "2"], "0/3.jpg": ["39", "free text", "39"]}),
    )
    put(
        tmp_path / "image/Topics_List.txt",
        '1\t"Café"\t(ABBREVIATION: "café")\r\n2\t"B"\t(ABBREVIATION: "b")\r\n'.encode("utf-16-le"),
    )
    put(tmp_path / "image/Sentiments.json", dump({"0/1.jpg": [["1"], ["1", "2"]]}))
    put(
        tmp_path / "image/Sentiments_List.txt",
        '1. "Blasé" (ABBREVIATION: "blasé")\n2. "X" (ABBREVIATION: "x")\n'.encode("latin-1"),
    )
    assert told(load("pitt_ads", tmp_path), "id", "labels", "cat_tie") == [
        ("0/1.jpg", ["café"], "no"), ("0/2.jpg", ["b", "café"], "yes"), ("0/3.jpg", ["unclear"], "no"),
    ]  # fmt: skip
    assert told(load("pitt_ads", tmp_path, target="Sentiments"), "labels")[0] == (["blasé"],)
    assert told(load("pitt_ads", tmp_path, ties="drop"), "labels")[1] == ([],)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_r10_a_byte_order_mark_and_nul_bytes_are_no_text(tmp_path, load, encoding):
    lines = '{"id": "a\\u0000b", "text": "caf\u00e9\\u0000", "label": "x\\u0000"}\n'
    options = {"encoding": "utf-16-le"} if encoding == "utf-16-le" else {}
    put(tmp_path / "d.jsonl", lines.encode(encoding))
    assert told(load("jsonl", tmp_path / "d.jsonl", **options), "id", "text", "labels") == [("ab", "caf\u00e9", ["x"])]
    put(tmp_path / "d.csv", "id,text\na\0b,caf\u00e9\0\n".encode(encoding))
    assert told(load("csv", tmp_path / "d.csv", **options), "id", "text") == [("ab", "caf\u00e9")]


def test_r10_nul_bytes_are_dropped_and_in_fasttext_part_words(tmp_path, load):
    put(tmp_path / "t.txt", b"__label__a\0b one\0two\n")
    assert told(load("fasttext", tmp_path / "t.txt"), "labels", "text") == [(["a"], "b one two")]
    put(tmp_path / "f/images/train/x/x_1.jpg", b"")
    put(tmp_path / "f/texts/train_titles.csv", b"x_1.jpg,ti\0tle,x\0\n")
    assert told(load("food101", tmp_path / "f"), "title", "labels") == [("title", ["x"])]


def test_r10_bytes_that_are_no_utf_8_are_marked_or_replaced(tmp_path, load):
    put(tmp_path / "d.csv", b"id,text\n1,caf\xe9\n2,fine\n")
    assert told(load("csv", tmp_path / "d.csv"), "id", "status") == [("1", "bad_encoding"), ("2", "ok")]
    replaced = load("csv", tmp_path / "d.csv", encoding_errors="replace")
    assert told(replaced, "text", "status") == [("caf\ufffd", "ok"), ("fine", "ok")]
    assert told(load("csv", tmp_path / "d.csv", encoding="latin-1"), "text") == [("caf\u00e9",), ("fine",)]


@pytest.mark.parametrize(
    "uri", ["../x.jpg", "a/../../x.jpg", "/etc/passwd", "C:\\x.jpg", "..\\x.jpg", "file:///etc/passwd", "s3://b/x.jpg",
            "gopher://x", "a\tb://x", "memory://x"],
)  # fmt: skip
def test_r11_no_manifest_refers_outside_of_its_root(tmp_path, load, uri):
    put(
        tmp_path / "d.jsonl", dump({"id": "1", "image": uri}) + "\n" + dump({"id": "2", "image": "./a b%2F.jpg"}) + "\n"
    )
    first, second = load("jsonl", tmp_path / "d.jsonl")
    assert (first["status"], first["image"]) == ("bad_path", None)
    assert (second["status"], second["image"]["uri"]) == ("ok", "a b%2F.jpg")
    put(tmp_path / "e.jsonl", dump({"id": "1", "image": "https://h/x.jpg"}) + "\n")
    assert load("jsonl", tmp_path / "e.jsonl")[0]["image"]["uri"] == "https://h/x.jpg"


def test_r11_references_stay_inside(tmp_path, load):
    put(tmp_path / "info/synsets.txt", "n0 zero\n")
    put(tmp_path / "info/train_filelist_google.txt", "../../etc/passwd 0\n/etc/passwd 0\nfine.jpg 0\n")
    put(tmp_path / "info/train_meta_list_google.txt", "../../etc/passwd 1\n/etc/passwd 1\n")
    assert told(load("webvision", tmp_path), "status") == [("bad_path",), ("bad_path",), ("bad_metadata",)]


def test_r12_pickles_are_never_opened(tmp_path, load):
    """metadata.npy of MM-IMDB holds a pickle; opening it would run what it says."""

    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "trapped",))

    buffer = io.BytesIO()
    np.save(buffer, np.array({"ix_to_word": Trap()}, dtype=object), allow_pickle=True)
    put(tmp_path / "metadata.npy", buffer.getvalue())
    put(tmp_path / "split.pkl", pickle.dumps(Trap()))
    put(tmp_path / "0000001.json", dump({"genres": ["Drama"], "plot": ["x"]}))
    for name in (
        *("a.jsonl", "a.csv", "a.json", "a.parquet", "a.tar", "a.zip", "a.hdf5", "train.txt", "info/synsets.txt"),
        *("split.json", "dataset/0000002.json", "train/train.csv", "train_sentiment/a.json", "train_metadata/a-1.json"),
        *("texts/train_titles.csv", "class_idx.json", "styles.csv", "X_train_update.csv", "image/Topics.json"),
        *("info/train_filelist_all.txt", "google/q1.json", "metadata.csv", "yfcc100m_dataset"),
    ):
        put(tmp_path / "renamed" / name, pickle.dumps(Trap()))
    for reader, folder in itertools.product(sorted(READERS), (tmp_path, tmp_path / "renamed")):
        try:
            load(reader, folder, **({"preset": "rakuten"} if reader == "products" else {}))
        except ConfigError:
            continue
        except ValueError as error:
            assert "expected" in str(error)  # noqa: PT017 - a source of another kind is refused in our words
    assert not (tmp_path / "trapped").exists()


def test_r13_groups_of_one_page_one_rescuer_one_item(tmp_path, load):
    for name in ("cheese_plate_717.jpg", "cheese_plate_717-2.jpg", "cheese_plate_71.jpg"):
        put(tmp_path / f"f/images/train/cheese_plate/{name}", b"x")
    rows = load("food101", tmp_path / "f")
    assert {row["id"]: row["group"] for row in rows} == {
        "cheese_plate_717": "cheese_plate_717",
        "cheese_plate_717-2": "cheese_plate_717",
        "cheese_plate_71": "cheese_plate_71",
    }  # fmt: skip
    assert {row["labels"][0] for row in rows} == {"cheese_plate"}
    put(tmp_path / "p/train/train.csv", "PetID,RescuerID\na,r1\nb,r1\n")
    for number in (3, 10):
        put(tmp_path / f"p/train_images/a-{number}.jpg", b"x")
    assert told(load("petfinder", tmp_path / "p"), "id", "group") == [("a", "r1"), ("b", "r1")]
    each = load("petfinder", tmp_path / "p", photos="each", group="PetID")
    assert told(each, "id", "group") == [("a-3", "a"), ("a-10", "a"), ("b", "b")]
    listing = {"item_id": "B1", "item_name": [{"language_tag": "de_DE", "value": "Stuhl"}]}
    lines = "\n".join(dump({**listing, "domain_name": domain}) for domain in ("amazon.com", "amazon.de"))
    put(tmp_path / "a/listings/metadata/listings_0.json.gz", gzip.compress(lines.encode()))
    assert told(load("products", tmp_path / "a", preset="abo"), "id", "group", "title") == [
        ("B1@amazon.com", "B1", "Stuhl"), ("B1@amazon.de", "B1", "Stuhl"),
    ]  # fmt: skip


@pytest.mark.parametrize("reader", sorted(READERS))
def test_an_unknown_option_is_refused(reader):
    with pytest.raises(ValueError, match="extra"):
        READERS[reader].options(**({"preset": "abo"} if reader == "products" else {}), nonsense=1)
