"""Lines of NUL bytes alone, as a writer that crashed leaves them: each is listed with its place, none is dropped."""

import codecs

import pytest

HOLE = b"\0\0\0"
SETS = {  # file -> its content with two holes; the source of each, and why it is set aside
    "jsonl": ({"d.jsonl": b'{"id": 1}\n%b\n{"id": 2}\n%b'}, ("d.jsonl:2", "d.jsonl:4"), "bad_json"),
    "csv": ({"d.csv": b"id,text\n1,a\n%b\n2,b\n%b"}, ("d.csv:3", "d.csv:5"), "bad_row"),
    "yfcc": ({"yfcc100m_dataset": b"1\t1" + b"\t" * 23 + b"\n%b\n2\t2" + b"\t" * 23 + b"\n%b"},
             ("yfcc100m_dataset:2", "yfcc100m_dataset:4"), "bad_row"),
    "food101": ({"texts/train_titles.csv": b"x_1.jpg,a,x\n%b\nx_2.jpg,b,x\n%b"},
                ("texts/train_titles.csv:2", "texts/train_titles.csv:4"), "bad_row"),
}  # fmt: skip


@pytest.mark.parametrize("hole", [HOLE, b"\0\0\r", bytes(5000)])
@pytest.mark.parametrize(
    ("name", "options"), [*((name, {}) for name in SETS), ("csv", {"quoting": False}), ("csv", {"encoding": "latin-1"})]
)
def test_lines_of_nul_bytes_are_listed(tmp_path, load, name, options, hole):
    files, places, slug = SETS[name]
    for file, content in files.items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(content.replace(b"%b", hole))
    rows = load(name, tmp_path, **options)
    assert [(row["source"], row["id"]) for row in rows if row["status"] == slug] == [(place, None) for place in places]
    assert sum(row["status"] == "ok" for row in rows) == 2


def test_a_hole_before_the_header_and_inside_of_a_field(tmp_path, load):
    """Before the names it is a row of its own; in a quoted field its bytes are dropped like any NUL (R10)."""
    (tmp_path / "d.csv").write_bytes(b'%b\nid,text\n1,"a\n%b\nb"\n2,c\n'.replace(b"%b", HOLE))
    rows = load("csv", tmp_path)
    assert [(row["source"], row["text"], row["status"]) for row in rows] == [
        ("d.csv:1", None, "bad_row"), ("d.csv:3", "a\n\nb", "ok"), ("d.csv:6", "c", "ok"),
    ]  # fmt: skip


def test_a_hole_without_end_is_one_bounded_line(tmp_path, load):
    (tmp_path / "d.jsonl").write_bytes(b'{"id": 1}\n' + bytes(5 << 20))
    rows = load("jsonl", tmp_path, max_line_bytes=1 << 16)
    assert [(row["source"], row["status"]) for row in rows] == [("d.jsonl:1", "ok"), ("d.jsonl:2", "too_large")]


def test_a_hole_in_fasttext_is_marked_and_keeps_its_place(tmp_path, load):
    """Other files may be aligned by line; a blank line is a document, and NUL parts words."""
    (tmp_path / "train").write_bytes(b"__label__a x\0y\n%b\n\n__label__b y\n%b".replace(b"%b", HOLE))
    rows = load("fasttext", tmp_path)
    assert [(row["id"], row["text"], row["status"]) for row in rows] == [
        ("train:1", "x y", "ok"), ("train:2", None, "bad_row"), ("train:3", None, "ok"), ("train:4", "y", "ok"),
        ("train:5", None, "bad_row"),
    ]  # fmt: skip
    (tmp_path / "ids").write_bytes(b"1\n%b\n3\n4\n5\n".replace(b"%b", HOLE))
    rows = load("flickrtag", tmp_path, ids="ids")
    assert [(row["id"], row["status"]) for row in rows] == [
        ("1", "ok"), (None, "bad_row"), ("3", "ok"), ("4", "ok"), ("5", "bad_row"),
    ]  # fmt: skip


def test_an_odd_byte_of_utf_16_makes_no_hole(tmp_path, load):
    (tmp_path / "d.jsonl").write_bytes(codecs.BOM_UTF16_LE + '{"id": 1}\n'.encode("utf-16-le") + b"\n")
    assert [row["status"] for row in load("jsonl", tmp_path)] == ["ok", "bad_json"]
