"""One line says what is wrong with a source or an option, and what to do."""

import re
import shutil

import pytest
from fixtures.layouts import LAYOUTS
from fixtures.pieces import put

from fuseline.stores.errors import ConfigError, DataError
from fuseline.stores.places import open_root
from fuseline.tasks.documents.assignment import SplitConfig
from fuseline.tasks.documents.documents_node import SourceConfig
from fuseline.tasks.documents.ingest import ingest, scan
from fuseline.tasks.documents.ingest import stage as ingest_stage
from fuseline.tasks.readers import READERS, looks_for

NEEDED = {"products": {"preset": "fashion"}}
SAID = {"food101": r"images/ or texts/", "webvision": r"info/synsets\.txt"}  # these refuse the folder themselves


def refusal(reader, path, root, **options):
    """Return what a plan and an ingest say; they must say the same, in one line."""
    said, root = [], open_root(root)
    for call in (lambda node: scan(node, root), lambda node: ingest(node, root, done=lambda report: None)):
        with pytest.raises((ConfigError, DataError)) as error:
            source = SourceConfig(reader=reader, path=str(path), options={**NEEDED.get(reader, {}), **options})
            call(ingest_stage("x", source, shard_size=16, split=SplitConfig()))
        said.append(str(error.value))
    assert said[0] == said[1]
    assert "\n" not in said[0]
    return said[0]


@pytest.mark.parametrize("reader", sorted(READERS))
def test_a_folder_without_its_files_is_told_what_they_are_called(reader, tmp_path):
    (tmp_path / "set").mkdir()
    empty = refusal(reader, tmp_path / "set", tmp_path / "root")
    put(tmp_path / "set/notes.xyz", "x")
    other = refusal(reader, tmp_path / "set", tmp_path / "root")
    if reader in SAID:
        assert SAID[reader].replace("\\", "") in empty
        return
    wanted = looks_for(reader, READERS[reader].options(**NEEDED.get(reader, {})))
    assert wanted
    assert f"got 0; the source holds no file; reader {reader} looks for {wanted}; " in empty
    assert f"got 0; the source holds notes.xyz; reader {reader} looks for {wanted}; " in other


def test_every_preset_says_what_it_looks_for():
    for layout in LAYOUTS.values():
        assert looks_for(layout.reader, READERS[layout.reader].options(**layout.options))


@pytest.mark.parametrize(
    ("reader", "name", "data", "first"),
    [
        ("csv", "d.csv", "id,text\nbroken\nbroken\n", "2 set aside: bad_row at d.csv:2"),
        ("jsonl", "d.jsonl", "{\n", "1 set aside: bad_json at d.jsonl:1"),
        ("parquet", "d.parquet", "no parquet", "1 set aside: bad_file at d.parquet"),
        ("webdataset", "a.tar", "no archive" * 100, "1 set aside: bad_file at a.tar"),
        ("yfcc", "yfcc100m_dataset", "broken\n", "1 set aside: bad_row at yfcc100m_dataset:1"),
        ("petfinder", "train.csv", "PetID,Name\nbroken\n", "1 set aside: bad_row at train.csv:2"),
    ],
)
def test_no_document_names_the_first_row_set_aside(reader, name, data, first, tmp_path):
    put(tmp_path / "set" / name, data)
    said = refusal(reader, tmp_path / "set", tmp_path / "root")
    assert f"expected 'at least one document', got 0; first of {first}" in said


@pytest.mark.parametrize("reader", sorted(name for name in READERS if "encoding" in READERS[name].options.model_fields))
@pytest.mark.parametrize(
    ("name", "nearest"), [("utf9", "utf8"), ("latin-11", "latin-1"), ("base64", "utf-8"), ("", "utf")]
)
def test_a_misspelt_encoding_names_the_nearest(reader, name, nearest):
    with pytest.raises(ValueError, match=f"encoding: expected the name of a text encoding, got '{name}'.*{nearest}"):
        SourceConfig(reader=reader, path="x", options={**NEEDED.get(reader, {}), "encoding": name})


def test_encodings_have_many_names():
    for name in ("utf-8", "UTF8", "utf-8-sig", "latin-1", "cp1252", "utf-16-le", "shift_jis"):
        assert READERS["csv"].options(encoding=name).encoding == name


@pytest.mark.parametrize("option", ["ids", "image_list"])
def test_a_companion_that_is_not_there_names_the_nearest(option, tmp_path):
    put(tmp_path / "set/train", "__label__a x\n")
    put(tmp_path / "set/lists/train.list", "1\n")
    said = refusal("flickrtag", tmp_path / "set", tmp_path / "root", **{option: "list/{name}.list"})
    assert f"source.options.{option}: expected 'a file or folder in {tmp_path}/set', got 'list/train.list'" in said
    assert "did you mean 'lists/train.list'" in said


def test_an_aligned_file_of_yfcc_that_is_not_there(tmp_path):
    put(tmp_path / "set/yfcc100m_dataset", "\t" * 24 + "\n")
    put(tmp_path / "set/yfcc100m_hash", "1\ta\n")
    said = refusal("yfcc", tmp_path / "set", tmp_path / "root", hashes="yfcc100m_hsah")
    assert "source.options.hashes: expected" in said
    assert "did you mean 'yfcc100m_hash'" in said


def made(name, path, rows=20):
    LAYOUTS[name].make(path / "set", rows)
    return LAYOUTS[name].reader, path / "set", path / "root"


@pytest.mark.parametrize(
    ("options", "cure"),
    [
        ({"text_folder": "text"}, r"there are texts as texts_txt/\*\*/\*\.txt: set both to them"),
        ({"text_suffix": ".html"}, r"there are texts as texts_txt/\*\*/\*\.txt: set both to them"),
    ],
)
def test_a_folder_that_holds_no_text_is_an_error(tmp_path, options, cure):
    said = refusal(*made("food101", tmp_path), **options)
    assert re.search(
        r"source\.options\.text_folder and text_suffix: expected 'texts of the images', got 'none as", said
    )
    assert re.search(cure, said)


def test_texts_in_another_folder_are_not_passed_over(tmp_path, load):
    reader, path, root = made("food101", tmp_path)
    (path / "texts_txt").rename(path / "texts")
    assert "there are texts as texts/**/*.txt" in refusal(reader, path, root, form="tree")
    assert len(load(reader, path, form="tree", text_folder="texts")) == 20
    shutil.rmtree(path / "texts")
    assert len(load(reader, path)) == 20  # images alone are a data set too


@pytest.mark.parametrize(
    ("file", "data", "said"),
    [
        ("splits.json", '{"train": ["apple_pie0_0.jpg"]}', "did you mean 'splits.json'"),
        ("split.json", '{"train": ["apple_pie0_0.png"]}', "source.options.split_file: expected 'names of the images'"),
    ],
)
def test_a_split_file_that_is_not_there_or_matches_nothing(tmp_path, file, data, said):
    reader, path, root = made("food101", tmp_path)
    put(path / file, data)
    assert said in refusal(reader, path, root, split_file="split.json")


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        (
            "mmimdb",
            {"tabular": {"yeer": "number"}},
            "options.tabular: expected 'a key of the rows', got 'yeer'; did",
        ),
        ("amazon", {"label": "categry"}, "options.label: expected 'a key of the rows', got 'categry'; did you mean"),
        ("fashion", {"label": "colour"}, "columns.labels in styles.csv: expected ["),
        ("jsonl", {"tabular": {"yeer": "number"}}, "tabular.yeer in documents.jsonl: expected ["),
        ("csv", {"columns": {"labels": "lable"}}, "columns.labels in documents.csv: expected ["),
    ],
)
def test_a_label_or_column_that_no_row_has(tmp_path, name, options, said):
    reader, path, root = made(name, tmp_path)
    assert said in refusal(reader, path, root, **{**LAYOUTS[name].options, **options})


def test_a_label_where_there_is_none_to_choose():
    with pytest.raises(ValueError, match="label: expected 'no label with preset rakuten', got 'colour'; leave it out"):
        READERS["products"].options(preset="rakuten", label="colour")


def test_a_table_of_labels_or_images_that_matches_nothing(tmp_path):
    reader, path, root = made("rakuten", tmp_path)
    labels = next(path.glob("Y_*"))
    labels.write_text("".join(f"9{line}\n" for line in labels.read_text().splitlines()))
    said = refusal(reader, path, root, preset="rakuten")
    assert "Y table of Rakuten: expected 'codes of the rows of X_train'" in said
    reader, path, root = made("abo", tmp_path / "abo")
    (table,) = path.rglob("images.csv*")
    put(table.with_name("images.csv"), "image_id,height,width,path\nother,1,1,a/b.jpg\n")
    if table.name != "images.csv":
        table.unlink()
    assert "expected 'the images of the listings', got 'none of" in refusal(reader, path, root, preset="abo")


def test_a_list_of_words_that_is_not_there(tmp_path):
    put(tmp_path / "multimodal_imdb.hdf5", "no file of this kind")
    pytest.importorskip("h5py")
    said = refusal("mmimdb", tmp_path / "multimodal_imdb.hdf5", tmp_path / "root", words=str(tmp_path / "words.txt"))
    assert f"source.options.words: expected 'a file', got '{tmp_path}/words.txt'" in said
