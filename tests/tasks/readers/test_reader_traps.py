"""Traps of the public sets that no rule names, one test each; TRAPS.md beside this file lists all of them."""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fixtures.pieces import dump, put, told, uris

from fuseline.stores.errors import ConfigError
from fuseline.tasks.readers import READERS, differences, published

# Food-101


def test_food101_texts_lie_outside_of_the_splits_and_may_be_pages(tmp_path, load):
    put(tmp_path / "images/train/hot_dog/hot_dog_1.jpg", b"x")
    put(tmp_path / "images/test/hot_dog/hot_dog_2.jpg", b"x")
    put(tmp_path / "texts_txt/hot_dog/hot_dog_1.txt", "plain <b>")
    put(tmp_path / "pages/hot_dog/hot_dog_2.html", "caf\u00e9".encode("latin-1"))
    rows = {row["id"]: row for row in load("food101", tmp_path)}
    assert (rows["hot_dog_1"]["text"], rows["hot_dog_1"]["html"], rows["hot_dog_2"]["text"]) == (
        "plain <b>",
        None,
        None,
    )
    pages = load("food101", tmp_path, text_folder="pages", text_suffix=".html", encoding="latin-1")
    assert {row["id"]: (row["text"], row["html"]) for row in pages} == {
        "hot_dog_1": (None, None), "hot_dog_2": (None, "caf\u00e9"),
    }  # fmt: skip


def test_food101_in_a_wrapper_folder_and_under_another_name(tmp_path, load):
    put(tmp_path / "UPMC_Food101/image/train/tacos/tacos_1.jpg", b"x")
    put(tmp_path / "UPMC_Food101/meta_data/train_titles.csv", "image_path,title,label\ntacos_1.txt,one,tacos\n")
    rows = load("food101", tmp_path)
    assert told(rows, "id", "split", "title") == [("tacos_1", "train", "one")]
    assert uris(rows) == ["UPMC_Food101/image/train/tacos/tacos_1.jpg"]


def test_food101_class_is_all_before_the_last_underscore(tmp_path, load):
    put(tmp_path / "images/beef_carpaccio_12-3.jpg", b"x")
    assert told(load("food101", tmp_path, form="tree"), "labels", "group") == [
        (["beef_carpaccio"], "beef_carpaccio_12")
    ]


def test_food101_split_file_moves_rows_not_images(tmp_path, load):
    """The papers' valid is carved from train: its images stay in images/train."""
    for number in (1, 2, 3):
        put(tmp_path / f"images/train/tacos/tacos_{number}.jpg", b"x")
    put(tmp_path / "split.json", dump({"train": ["tacos_1.jpg"], "val": ["tacos_2.jpg"], "test": []}))
    rows = load("food101", tmp_path, split_file="split.json")
    assert told(rows, "id", "split") == [("tacos_1", "train"), ("tacos_2", "valid"), ("tacos_3", None)]
    assert uris(rows)[1] == "images/train/tacos/tacos_2.jpg"


def test_food101_valid_share_keeps_a_page_together(tmp_path, load):
    for number in range(40):
        put(tmp_path / f"images/train/tacos/tacos_{number}.jpg", b"x")
        put(tmp_path / f"images/train/tacos/tacos_{number}-2.jpg", b"x")
    put(tmp_path / "images/test/tacos/tacos_99.jpg", b"x")
    rows = load("food101", tmp_path, valid=0.3)
    assert {row["split"] for row in rows if row["id"] == "tacos_99"} == {"test"}
    sides: dict[str, set[str]] = {}
    for row in rows:
        sides.setdefault(row["group"], set()).add(row["split"])
    assert {len(side) for side in sides.values()} == {1}
    assert 5 < sum(side == {"valid"} for side in sides.values()) < 20


# MM-IMDB


def test_mmimdb_films_are_found_wherever_they_were_moved(tmp_path, load):
    """Users keep JSON and posters in two folders; a film of the split without JSON stays, as missing."""
    put(
        tmp_path / "mmimdb/split.json", dump({"train": ["0000003", "0000001"], "dev": ["0000002"], "test": ["0000009"]})
    )
    for film in ("0000001", "0000002", "0000003", "0000007"):
        put(
            tmp_path / f"labels/{film}.json",
            dump({"genres": ["Drama"], "plot": ["p"], "plot outline": "o", "year": 1999}),
        )
        put(tmp_path / f"images/{film}.jpeg", b"x")
    rows = load("mmimdb", tmp_path, tabular={"year": "number", "plot outline": "category"})
    assert told(rows, "id", "split", "status", "num_year") == [
        ("0000003", "train", "ok", 1999.0), ("0000001", "train", "ok", 1999.0), ("0000002", "valid", "ok", 1999.0),
        ("0000009", None, "missing", None), ("0000007", None, "ok", 1999.0),
    ]  # fmt: skip
    assert told(rows, "description", "cat_plot_outline")[0] == ("o", "o")
    assert uris(rows)[:1] == ["images/0000003.jpeg"]


def test_mmimdb_plots_are_chosen_and_an_author_is_cut_on_demand(tmp_path, load):
    plots = ["first", "the longest of them", "third::A. Writer"]
    put(tmp_path / "0000001.json", dump({"genres": ["Reality-TV", "Sci-Fi"], "plot": plots}))
    put(tmp_path / "0000002.json", dump({"genres": "Drama", "plot": []}))
    assert told(load("mmimdb", tmp_path), "labels", "text") == [(["Sci-Fi"], plots[1]), ([], None)]
    assert load("mmimdb", tmp_path, plot="first")[0]["text"] == "first"
    assert load("mmimdb", tmp_path, plot="all")[0]["text"].endswith("third::A. Writer")
    assert load("mmimdb", tmp_path, plot="all", strip_author=True)[0]["text"].endswith("\nthird")
    assert load("mmimdb", tmp_path, genres="all")[0]["labels"] == ["Reality-TV", "Sci-Fi"]


# FlickrTag


def test_fasttext_labels_stand_anywhere_and_blank_lines_are_documents(tmp_path, load):
    put(tmp_path / "train.txt", "one __label__a two __label__b __label__a\n\nno label\n__label__ x\n#t y __label__b\n")
    rows = load("fasttext", tmp_path / "train.txt")
    assert told(rows, "labels", "text") == [
        (["a", "b"], "one two"), ([], None), ([], "no label"), ([], "x"), (["b"], "#t y"),
    ]  # fmt: skip
    dropped = load("fasttext", tmp_path / "train.txt", drop_unlabelled=True)
    assert told(dropped, "id", "status") == [
        ("train.txt:1", "ok"), (None, "no_label"), (None, "no_label"), (None, "no_label"), ("train.txt:5", "ok"),
    ]  # fmt: skip
    rare = load("fasttext", tmp_path / "train.txt", min_label_count=2)
    assert [row["labels"] for row in rare] == [["b"], [], [], [], ["b"]]
    assert load("fasttext", tmp_path / "train.txt", prefix="#")[4]["labels"] == ["t"]


def test_flickrtag_images_join_by_id_by_line_or_by_a_list(tmp_path, load):
    put(tmp_path / "train", "__label__a b\n__label__c d\n")
    put(tmp_path / "train.ids", "6985418911\n")
    put(tmp_path / "list.txt", "x/1.jpg\n../2.jpg\n")
    by_id = load("flickrtag", tmp_path, ids="{name}.ids", image="images/{id}.jpg")
    assert told(by_id, "id", "status") == [("6985418911", "ok"), (None, "missing_id")]
    assert uris(by_id) == ["images/6985418911.jpg", None]
    assert uris(load("flickrtag", tmp_path, image="images/{line}.jpg")) == ["images/1.jpg", "images/2.jpg"]
    listed = load("flickrtag", tmp_path, image_list="list.txt")
    assert (uris(listed), [row["status"] for row in listed]) == (["x/1.jpg", None], ["ok", "bad_path"])


def test_a_shard_of_flickrtag_is_stable_and_its_lines_keep_their_ids_and_images(tmp_path, load):
    """K-04: "the first shard" is a shard with a number, no sample: another line changes nobody's shard."""
    put(tmp_path / "train", "".join(f"__label__a w{i}\n" for i in range(7)))
    put(tmp_path / "train.ids", "".join(f"photo{i}\n" for i in range(7)))
    options = {"ids": "{name}.ids", "image": "images/{id}.jpg"}
    whole = load("flickrtag", tmp_path, **options)
    parts = [load("flickrtag", tmp_path, **options, shard=shard, shards=3, batch_rows=2) for shard in range(3)]
    assert [[row["id"] for row in part] for part in parts] == [
        ["photo0", "photo3", "photo6"], ["photo1", "photo4"], ["photo2", "photo5"],
    ]  # fmt: skip
    assert sorted((row for part in parts for row in part), key=lambda row: row["id"]) == whole
    put(tmp_path / "train", "".join(f"__label__a w{i}\n" for i in range(9)))
    longer = load("flickrtag", tmp_path, **options, shard=1, shards=3)
    assert [row["id"] for row in longer[:2]] == ["photo1", "photo4"]
    with pytest.raises(ValueError, match="expected '0 to 9', got 10"):
        READERS["flickrtag"].options(shard=10)


def test_images_of_other_shards_of_flickrtag_are_no_strays(tmp_path):
    put(tmp_path / "train", "__label__a b\n__label__c d\n")
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        put(tmp_path / name, "x")
    reader = READERS["flickrtag"]

    def strays(**options):
        settings = reader.options(image="{line}.jpg", **options)
        return [one.place for one in reader.findings(str(tmp_path), settings, lambda uris: np.isin(uris, "1.jpg"))]

    assert strays() == ["2.jpg", "3.jpg"]
    assert strays(shard=0) == []


def test_flickrtag_counts_that_sources_disagree_on_warn_and_do_not_stop():
    """The paper counts 543,424 test lines, fastText's own test 647,224: a difference is told, nothing is asserted."""
    known = published("flickrtag", READERS["flickrtag"].options())
    found = {**known, "test": 647_224}
    assert differences(found, known) == [("test", 543_424, 647_224)]


# PetFinder


def test_petfinder_line_breaks_tables_and_zeros(tmp_path, load):
    head = (
        "Type,Name,Age,Breed1,Breed2,Color1,Color2,MaturitySize,Health,Fee,State,RescuerID,Description,PetID,PhotoAmt"
    )
    put(
        tmp_path / "train/train.csv",
        f"{head},AdoptionSpeed\n"
        '1,No Name,0,307,0,2,0,0,0,0,41326,r,"first line\n\n""second"", line",86e089-a3,1.0,0\n'
        "2,,255,1,307,1,2,3,1,10,5,r,,e3b589e13,0,4\n",
    )
    put(tmp_path / "test/test.csv", f"{head}\n1,T,3,0,0,0,0,0,0,0,41326,s,d,000000001,2\n")
    put(tmp_path / "test/sample_submission.csv", "PetID,AdoptionSpeed\n000000001,0\n")
    put(tmp_path / "PetFinder-BreedLabels.csv", "BreedID,Type,BreedName\n307,1,Mixed Breed\n")
    put(tmp_path / "PetFinder-ColorLabels.csv", "ColorID,ColorName\n2,Brown\n")
    put(tmp_path / "PetFinder-StateLabels.csv", "StateID,StateName\n41326,Selangor\n")
    put(tmp_path / "train_images/86e089-a3-10.jpg", b"x")
    put(tmp_path / "train_images/86e089-a3-2.jpg", b"x")
    put(tmp_path / "train_sentiment/86e089-a3.json", '{"documentSentiment": {"score": 0.5}, "x": "\u4e2d\u6587"}')
    test, first, second = sorted(load("petfinder", tmp_path), key=lambda row: row["split"] + row["id"])
    assert (test["id"], test["labels"]) == ("000000001", [])
    assert (first["description"], first["title"]) == ('first line\n\n"second", line', "No Name")
    assert (first["image"]["uri"], first["labels"]) == ("train_images/86e089-a3-2.jpg", ["0"])
    assert [first[name] for name in ("cat_Breed1", "cat_Breed2", "cat_Color1", "cat_Color2", "cat_State")] == [
        "Mixed Breed", None, "Brown", None, "Selangor",
    ]  # fmt: skip
    assert [first[name] for name in ("cat_MaturitySize", "cat_Health", "num_Fee", "num_Age", "num_PhotoAmt")] == [
        None, None, 0.0, 0.0, 1.0,
    ]  # fmt: skip
    assert (first["num_sentiment_score"], first["num_sentiment_magnitude"]) == (0.5, None)
    assert (second["title"], second["description"], second["cat_Breed1"], second["image"]) == (None, None, "1", None)


# WebVision


def test_webvision_metadata_may_lie_elsewhere_and_be_joined_by_id(tmp_path, load):
    put(tmp_path / "info/synsets.txt", "n0 zero\nn1 one\n")
    put(tmp_path / "info/train_filelist_google.txt", "google/q0001/b7.jpg 1\ngoogle/q0001/a3.jpg 0\n")
    put(tmp_path / "info/train_meta_list_google.txt", "google/q0001.json 1\ngoogle/q0001.json 2\n")
    put(tmp_path / "metadata/google/q0001.json", dump([{"id": "a3", "title": "of a3"}, {"id": "b7", "title": "of b7"}]))
    assert [row["title"] for row in load("webvision", tmp_path)] == [None, None]
    by_row = load("webvision", tmp_path, metadata_root="metadata/")
    assert [row["title"] for row in by_row] == ["of b7", "of a3"]  # rows that are not the image's own are not believed
    believed = load("webvision", tmp_path, metadata_root="metadata/", join="row_only")
    assert [row["title"] for row in believed] == ["of a3", "of b7"]
    by_id = load("webvision", tmp_path, metadata_root="metadata/", join="id")
    assert [row["title"] for row in by_id] == ["of b7", "of a3"]


def test_webvision_names_of_valid_and_test_get_their_folder(tmp_path, load):
    put(tmp_path / "info/synsets.txt", "n0 zero\n")
    put(tmp_path / "info/val_filelist.txt", "val1.jpg 0\nval2.jpg\n")
    put(tmp_path / "info/test_filelist.txt", "test1.jpg\n")
    (tmp_path / "test_images_resized").mkdir()
    rows = load("webvision", tmp_path)
    assert told(rows, "id", "split", "labels", "status") == [
        ("val_images_256/val1.jpg", "valid", ["n0"], "ok"),
        ("val_images_256/val2.jpg", None, [], "bad_row"),
        ("test_images_resized/test1.jpg", "test", [], "ok"),
    ]


def test_webvision_sources_are_chosen_and_the_list_of_all_stands_in(tmp_path, load):
    """With lists per source the list of all would read each image twice."""
    put(tmp_path / "info/synsets.txt", "n0 zero\n")
    put(tmp_path / "info/train_filelist_google.txt", "google/q1/a.jpg 0\n")
    put(tmp_path / "info/train_filelist_flickr.txt", "flickr/q1/b.jpg 0\n")
    put(tmp_path / "info/train_filelist_all.txt", "google/q1/a.jpg 0\nflickr/q1/b.jpg 0\n")
    assert [row["id"] for row in load("webvision", tmp_path)] == ["google/q1/a.jpg", "flickr/q1/b.jpg"]
    assert [row["id"] for row in load("webvision", tmp_path, sources=("flickr",))] == ["flickr/q1/b.jpg"]
    for source in ("google", "flickr"):
        (tmp_path / f"info/train_filelist_{source}.txt").unlink()
    assert len(load("webvision", tmp_path)) == 2


# Ads


def test_pitt_ads_pictures_beside_or_below_the_annotations(tmp_path, load):
    put(tmp_path / "image/Topics.json", dump({"0/1.jpg": ["1"], "0/2.jpg": ["1"]}))
    put(tmp_path / "image/Slogans.json", dump({"3/3.png": ["a slogan", ""]}))
    put(tmp_path / "image/0/1.jpg", b"x")
    put(tmp_path / "0/2.jpg", b"x")
    rows = load("pitt_ads", tmp_path)
    assert told(rows, "id", "labels", "text") == [
        ("0/1.jpg", ["1"], None), ("0/2.jpg", ["1"], None), ("3/3.png", [], "a slogan"),
    ]  # fmt: skip
    assert uris(rows)[:2] == ["image/0/1.jpg", "0/2.jpg"]


def test_pitt_ads_votes_texts_and_targets(tmp_path, load):
    put(tmp_path / "Topics.json", dump({"0/1.jpg": ["2", "2", "7", " "]}))
    put(tmp_path / "Strategies.json", dump({"0/1.jpg": [["1", "1"], ["3"], ["3", "1"]]}))
    put(tmp_path / "QA_Reason.json", dump({"0/1.jpg": ["because"]}))
    put(tmp_path / "Slogans.json", dump({"0/1.jpg": ["buy"]}))
    assert load("pitt_ads", tmp_path)[0]["labels"] == ["2"]
    assert load("pitt_ads", tmp_path, votes="all")[0]["labels"] == ["2", "7"]
    assert told(load("pitt_ads", tmp_path, target="Strategies"), "labels", "cat_tie") == [(["1", "3"], "yes")]
    assert load("pitt_ads", tmp_path, text=("QA_Reason", "Slogans"))[0]["text"] == "because\nbuy"


def test_ads_parallelity_columns_are_the_users(tmp_path, load):
    """Nothing of the release is known: names, coding and finer columns are options."""
    put(tmp_path / "ads.jsonl", dump({"ad": 7, "words": "w", "par": 0, "nat": 2.5, "f": "eq", "pic": "i.jpg"}) + "\n")
    columns = {"id": "ad", "text": "words", "labels": "par", "image": "pic"}
    options = {"columns": columns, "finer": "f", "naturalness": "nat", "label_names": ("non-parallel", "parallel")}
    rows = load("ads_parallelity", tmp_path, **options)
    assert told(rows, "id", "text", "labels", "cat_finer", "num_naturalness") == [
        ("7", "w", ["non-parallel"], "eq", 2.5)
    ]
    put(tmp_path / "ads.csv", "ad,words,par\n")
    with pytest.raises(ConfigError, match="one kind of manifest"):
        load("ads_parallelity", tmp_path, **options)


# Interchange formats


def test_img2dataset_a_caption_may_be_empty(tmp_path, load):
    table = {
        "key": ["000010005", "000010006"],
        "caption": ["", "c"],
        "status": ["failed_to_resize", "failed_to_download"],
    }
    pq.write_table(pa.table(table), tmp_path / "00001.parquet")
    put(tmp_path / "00001_stats.json", "{}")
    assert told(load("img2dataset", tmp_path), "id", "text", "status") == [
        ("000010005", None, "failed_to_resize"), ("000010006", "c", "failed_to_download"),
    ]  # fmt: skip


def test_imagefolder_columns_of_file_names(tmp_path, load):
    """file_name, or any *_file_name; of a list the first image counts; CSV has no types, so labels are texts."""
    put(tmp_path / "a/metadata.csv", "left_file_name,label,text\n1.jpg,1,t\n")
    assert told(load("imagefolder", tmp_path / "a"), "id", "labels") == [("1.jpg", ["1"])]
    put(tmp_path / "b/metadata.jsonl", json.dumps({"file_names": ["2.jpg", "3.jpg"], "label": 1, "id": "x"}) + "\n")
    rows = load("imagefolder", tmp_path / "b")
    assert (told(rows, "id", "labels"), uris(rows)) == ([("x", ["1"])], ["2.jpg"])


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({"file_names": ["1.jpg", "2.jpg"]}, "{0}/1.jpg\n{0}/2.jpg"),
        ({"pair_file_names": ["s/1.jpg", "s/2.jpg"]}, "{0}/s/1.jpg\n{0}/s/2.jpg"),
        ({"file_names": [None, "2.jpg"]}, "{0}/2.jpg"),
        ({"left_file_name": "1.jpg", "right_file_name": "2.jpg"}, "{0}/1.jpg"),
        ({"file_name": "1\n2.jpg"}, "{0}/1\n2.jpg"),
    ],
)
@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_imagefolder_rows_of_several_files_keep_their_folder(tmp_path, load, row, named, suffix):
    """Rows of two folders that list files of the same names are two documents."""
    for folder in ("a/x", "b/x"):
        put(tmp_path / folder / "metadata.jsonl", json.dumps(row) + "\n")
        if suffix == "parquet":
            (tmp_path / folder / "metadata.jsonl").unlink()
            pq.write_table(pa.Table.from_pylist([row]), tmp_path / folder / "metadata.parquet")
    rows = load("imagefolder", tmp_path)
    assert [row["id"] for row in rows] == [named.format("a/x"), named.format("b/x")]
    assert [row["status"] for row in rows] == ["ok", "ok"]


def test_manifest_lines_end_as_they_like(tmp_path, load):
    """CRLF, a byte order mark, blank last lines, a base64 image and labels joined by a mark."""
    put(tmp_path / "d.tsv", b"\xef\xbb\xbfid\tlabel\timage\r\n1\ta|b\tdata:image/png;base64,eA==\r\n2\t\t\r\n\r\n")
    rows = load("csv", tmp_path / "d.tsv", label_separator="|")
    assert told(rows, "id", "labels") == [("1", ["a", "b"]), ("2", [])]
    assert [row["image"] and row["image"]["bytes"] for row in rows] == [b"x", None]
    put(tmp_path / "d.jsonl", b'\xef\xbb\xbf{"id": 1, "text": ["a", "b"], "label": null}\r\n\r\n')
    assert told(load("jsonl", tmp_path / "d.jsonl"), "id", "text", "labels") == [("1", "a\nb", [])]


NAMED = {  # the forms that other projects cut from these sets
    "mmbt": {"id": "tacos/tacos_1", "label": "tacos", "text": "t", "img": "images/train/tacos/tacos_1.jpg"},
    "mmf": {"id": 1, "img": "img/00001.png", "label": 0, "text": "t"},
}


@pytest.mark.parametrize("form", NAMED)
def test_forms_of_other_projects_need_no_mapping(tmp_path: Path, load, form):
    put(tmp_path / "train.jsonl", dump(NAMED[form]) + "\n")
    put(tmp_path / "dev.jsonl", dump({**NAMED[form], "id": "2"}) + "\n")
    rows = load("jsonl", tmp_path)
    assert sorted(told(rows, "split", "text")) == [("train", "t"), ("valid", "t")]
    assert uris(rows) == [NAMED[form]["img"]] * 2


def test_the_list_of_traps_names_tests_that_are_there():
    """TRAPS.md is of use as long as each name in it is that of a test, without its test_."""
    told = re.sub(r"`[^`]*`", "", Path(__file__).with_name("TRAPS.md").read_text("utf-8"))
    named = set(re.findall(r"\b[a-z0-9]+(?:_[a-z0-9]+){2,}\b(?!\.)", told))
    tests = Path(__file__).parents[2].rglob("test_*.py")
    there = {name for file in tests for name in re.findall(r"^def test_(\w+)", file.read_text("utf-8"), re.MULTILINE)}
    assert len(named) > 80
    assert named <= there, sorted(named - there)
    assert "..." not in told
