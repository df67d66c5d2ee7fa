"""WebVision: metadata of the right image or none, and never in silence."""

import json
from pathlib import Path

import pytest

from fuseline.stores.errors import DataError
from fuseline.tasks.documents.assignment import Assignment, SplitConfig
from fuseline.tasks.readers import READERS
from fuseline.tasks.readers.webvision import WebvisionOptions

N = 6


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Write two queries of three images each, with titles that name their image."""
    (tmp_path / "info").mkdir()
    (tmp_path / "info" / "synsets.txt").write_text("n00000001 cat\nn00000002 dog\n")
    (tmp_path / "google").mkdir()
    lists, metas = [], []
    for query in (1, 2):
        rows = [{"id": f"i{query}{n}", "title": f"title i{query}{n}"} for n in range(3)]
        (tmp_path / "google" / f"q000{query}.json").write_text(json.dumps(rows))
        lists += [f"google/q000{query}/i{query}{n}.jpg {query - 1}" for n in range(3)]
        metas += [f"google/q000{query}.json {n + 1}" for n in range(3)]
    write(tmp_path, "train_filelist_google", lists)
    write(tmp_path, "train_meta_list_google", metas)
    return tmp_path


def write(root: Path, name: str, lines: list[str]) -> None:
    (root / "info" / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))


def lines_of(root: Path, name: str) -> list[str]:
    return (root / "info" / f"{name}.txt").read_text().splitlines()


def check(rows, *, bad: set[str] = frozenset()) -> None:
    """Assert that every image has its own title, and those of `bad` none and a mark."""
    assert len(rows) == N
    for row in rows:
        stem = Path(row["id"]).stem
        expected = (None, "bad_metadata") if stem in bad else (f"title {stem}", "ok")
        assert (row["title"], row["status"]) == expected
        assert row["labels"] == [f"n0000000{stem[1]}"]
        assert row["image"]["uri"] == row["id"]


def test_every_image_has_its_own_title(root: Path, load) -> None:
    check(load("webvision", root))


@pytest.mark.parametrize("lost", range(N))
def test_a_list_that_lost_a_line_gives_no_image_the_text_of_another(root: Path, load, lost: int) -> None:
    metas = lines_of(root, "train_meta_list_google")
    del metas[lost]
    write(root, "train_meta_list_google", metas)
    check(load("webvision", root))


def test_without_ids_what_cannot_be_told_is_marked(root: Path, load) -> None:
    for query in (1, 2):
        rows = [{"title": f"title i{query}{n}"} for n in range(3)]
        (root / "google" / f"q000{query}.json").write_text(json.dumps(rows))
    check(load("webvision", root))
    metas = lines_of(root, "train_meta_list_google")
    write(root, "train_meta_list_google", [*metas[:2], *metas[3:]])
    rows = {Path(row["id"]).stem: row for row in load("webvision", root)}
    assert [rows[stem]["status"] for stem in ("i10", "i11", "i12", "i22")] == [
        "ok",
        "ok",
        "bad_metadata",
        "bad_metadata",
    ]


@pytest.mark.parametrize("harm", ["missing", "damaged", "other"])
def test_an_array_that_cannot_be_had_marks_the_rows_of_its_query(root: Path, load, harm: str) -> None:
    path = root / "google" / "q0001.json"
    if harm == "missing":
        path.unlink()
    else:
        path.write_text("[{" if harm == "damaged" else '{"id": "i10", "title": "of the whole query"}')
    check(load("webvision", root), bad={"i10", "i11", "i12"})


def test_a_row_that_is_not_there_is_marked(root: Path, load) -> None:
    rows = [{"id": "i10", "title": "title i10"}, {"id": "i12", "title": "title i12"}]
    (root / "google" / "q0001.json").write_text(json.dumps(rows))
    check(load("webvision", root), bad={"i11"})


def test_rows_are_believed_on_request_where_ids_are_other_names(root: Path, load) -> None:
    for query in (1, 2):
        rows = [{"id": f"other{n}", "title": f"title i{query}{n}"} for n in range(3)]
        (root / "google" / f"q000{query}.json").write_text(json.dumps(rows))
    check(load("webvision", root), bad={f"i{query}{n}" for query in (1, 2) for n in range(3)})
    check(load("webvision", root, join="row_only"))


@pytest.mark.parametrize("folder", ["metadata", "metadata/", "/metadata/"])
def test_a_metadata_root_works_with_and_without_a_slash(root: Path, load, folder: str) -> None:
    (root / "metadata").mkdir()
    (root / "google").rename(root / "metadata" / "google")
    check(load("webvision", root, metadata_root=folder))


def test_official_lists_can_be_left_out(root: Path, load) -> None:
    write(root, "val_filelist", ["v.jpg 0"])
    write(root, "test_filelist", ["t.jpg"])
    assert [row["split"] for row in load("webvision", root)][N:] == ["valid", "test"]
    assert {row["split"] for row in load("webvision", root, official=False)} == {"train"}


@pytest.mark.parametrize("official", [True, False])
def test_the_splits_of_paper_m_hold_training_rows_alone(root: Path, official: bool) -> None:
    """4 % of each class of the noisy rows, halved; the clean rows are left out, or lie in splits of their own."""
    noisy = [f"google/q0001/n{n}.jpg {n % 2}" for n in range(200)]
    write(root, "train_filelist_google", noisy)
    (root / "info" / "train_meta_list_google.txt").unlink()
    write(root, "val_filelist", [f"v{n}.jpg {n % 2}" for n in range(40)])
    write(root, "test_filelist", [f"t{n}.jpg" for n in range(30)])
    tables = list(READERS["webvision"].read(str(root), WebvisionOptions(official=official)))
    config = SplitConfig(method="stratified", valid=0.02, test=0.02, cut_train=True)
    assignment = Assignment(config).learn(iter(tables))
    rows = [row for table in tables for row in assignment.apply(table).to_pylist()]
    found = {(split, label): 0 for split in ("train", "valid", "test") for label in ("n00000001", "n00000002")}
    for row in rows:
        if not row["split"].startswith("given_"):
            assert row["id"].startswith("google/")
            found[row["split"], *row["labels"]] += 1
    assert found == {key: 96 if key[0] == "train" else 2 for key in found}
    apart = [row["split"] for row in rows if not row["id"].startswith("google/")]
    assert apart == (["given_valid"] * 40 + ["given_test"] * 30 if official else [])


def test_without_a_list_of_metadata_nothing_is_missed(root: Path, load) -> None:
    (root / "info" / "train_meta_list_google.txt").unlink()
    assert {(row["title"], row["status"]) for row in load("webvision", root)} == {(None, "ok")}


def test_a_hole_in_a_file_list_is_a_row_and_in_the_labels_a_refusal(root: Path, load) -> None:
    """A line of NUL bytes, as a crash leaves them, takes the place of a line: it is listed, and moves nothing."""
    lines = lines_of(root, "train_filelist_google")
    write(root, "train_filelist_google", [lines[0], "\0\0\0", *lines[2:]])
    rows = load("webvision", root)
    assert [(row["id"], row["status"]) for row in rows][1] == (None, "bad_row")
    assert [row["title"] for row in rows if row["id"]] == [f"title {Path(row['id']).stem}" for row in rows if row["id"]]
    synsets = lines_of(root, "synsets")
    write(root, "synsets", [synsets[0], "\0\0", *synsets[2:]])
    with pytest.raises(
        DataError, match=r"synsets\.txt: expected 'a label per line', got 'a line of NUL bytes behind 1"
    ):
        load("webvision", root)
