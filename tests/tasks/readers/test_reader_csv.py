"""CSV and TSV: dialects, line breaks in quotes, and rows that do not fit."""

import csv as plain_csv
import io
from pathlib import Path

import pytest

from fuseline.stores.errors import ConfigError, DataError


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def told(rows, *names):
    return [tuple(row[name] for name in names) for row in rows]


def test_rows_with_a_wrong_number_of_fields_stay(tmp_path, load):
    rows = load("csv", write(tmp_path / "d.csv", "id,title,label\n1,a,x\n2,b\n3,c,y,z\n4\n,d,x\n5,,\n"))
    assert told(rows, "id", "status", "title", "labels", "source") == [
        ("1", "ok", "a", ["x"], "d.csv:2"),
        ("2", "bad_row", None, [], "d.csv:3"),
        ("3", "bad_row", None, [], "d.csv:4"),
        (None, "bad_row", None, [], "d.csv:5"),
        (None, "missing_id", None, [], "d.csv:6"),
        ("5", "ok", None, [], "d.csv:7"),
    ]


def test_an_id_behind_other_columns_is_not_guessed(tmp_path, load):
    rows = load("csv", write(tmp_path / "d.csv", "title,id\na,1\nb,c,2\n"))
    assert told(rows, "id", "status") == [("1", "ok"), (None, "bad_row")]


def test_quoted_line_breaks_and_commas_belong_to_the_field(tmp_path, load):
    path = write(tmp_path / "d.csv", 'id,description,label\r\n1,"two\r\nlines, ""quoted""",x\r\n2,plain,NA\r\n')
    assert told(load("csv", path), "id", "description", "labels", "source") == [
        ("1", 'two\nlines, "quoted"', ["x"], "d.csv:2"),
        ("2", "plain", ["NA"], "d.csv:4"),
    ]


def test_a_stray_quote_costs_one_row(tmp_path, load):
    """A reader that trusts the quote swallows the rows up to the next one (16 rows of Food-101)."""
    path = write(
        tmp_path / "d.csv", 'id,title,label\n1,"open,x\n2,b,y\n3,"fine, really",z\n4,"open at the end,x\n5,e,y\n'
    )
    assert told(load("csv", path), "id", "status", "title") == [
        ("1", "bad_row", None),
        ("2", "ok", "b"),
        ("3", "ok", "fine, really"),
        ("4", "bad_row", None),
        ("5", "ok", "e"),
    ]


def test_tabs_by_suffix_and_quotes_as_characters(tmp_path, load):
    path = write(tmp_path / "d.tsv", 'id\ttitle\n1\t"a\n2\tb"c\t\n3\td,e\n')
    assert told(load("csv", path, quoting=False), "id", "status", "title") == [
        ("1", "ok", '"a'),
        ("2", "bad_row", None),
        ("3", "ok", "d,e"),
    ]
    semicolons = write(tmp_path / "s.csv", "id;title\n1;a,b\n")
    assert told(load("csv", semicolons, delimiter=";"), "id", "title") == [("1", "a,b")]


def test_overflow_can_belong_to_the_last_column(tmp_path, load):
    path = write(tmp_path / "styles.csv", "id,label,title\n1,x,Shirt, blue, new\n2,x\n")
    assert told(load("csv", path, overflow="join_last"), "id", "status", "title") == [
        ("1", "ok", "Shirt, blue, new"),
        ("2", "bad_row", None),
    ]


def test_a_file_without_header_has_numbered_or_given_columns(tmp_path, load):
    path = write(tmp_path / "d.csv", "1,hello\n2,bye\n")
    assert told(load("csv", path, header=False, columns={"id": "0", "text": "1"}), "id", "text") == [
        ("1", "hello"),
        ("2", "bye"),
    ]
    assert told(load("csv", path, header=False, names=("id", "text")), "id", "text") == [("1", "hello"), ("2", "bye")]


def test_bytes_that_are_no_text(tmp_path, load):
    path = write(tmp_path / "d.csv", b"id,text\n1,a\xffb\n2,n\0ul\n3,caf\xc3\xa9\n")
    assert told(load("csv", path), "id", "status", "text") == [
        ("1", "bad_encoding", None),
        ("2", "ok", "nul"),
        ("3", "ok", "café"),
    ]
    latin = write(tmp_path / "l.csv", "id,text\n1,café\n".encode("latin-1"))
    assert told(load("csv", latin, encoding="latin-1"), "text") == [("café",)]


def test_a_huge_field_is_one_row(tmp_path, load):
    path = write(
        tmp_path / "d.csv", "id,text\n1,a\n2," + "x" * 5_000_000 + '\n3,b\n4,"' + ("y" * 99 + "\n") * 14_000 + "\n5,c\n"
    )
    rows = load("csv", path, max_line_bytes=1 << 20)
    assert told(rows[:4], "id", "status") == [("1", "ok"), ("2", "too_large"), ("3", "ok"), ("4", "bad_row")]
    assert told(rows[-1:], "id", "status", "text") == [("5", "ok", "c")]


def test_stray_quotes_cannot_make_reading_quadratic(tmp_path, load, monkeypatch):
    """Each line opens a quote that no line closes for good: without a bound every line rereads the rest."""
    monkeypatch.setattr("fuseline.tasks.readers.records.REREAD", 100_000)
    path = write(tmp_path / "d.csv", "id,a,b\n" + 'a",x"y,"z\n' * 20_000)
    assert len(load("csv", path)) == 20_000


def test_headers_that_cannot_be_used(tmp_path, load):
    with pytest.raises(DataError, match=r"got \['title'\]"):
        load("csv", write(tmp_path / "d.csv", "id,title,title\n1,a,b\n"))
    with pytest.raises(ConfigError, match=r"columns\.image"):
        load("csv", write(tmp_path / "d.csv", "id,title\n1,a\n"), columns={"image": "picture"})
    assert load("csv", write(tmp_path / "d.csv", "id,title\n")) == []
    assert load("csv", write(tmp_path / "d.csv", "")) == []


def test_whatever_the_csv_module_writes_is_read_back(tmp_path, load):
    texts = ['"', '""', "a\nb", ",", 'x"y', " spaced ", "\ttab", "'", "é", '",\n"']
    buffer = io.StringIO()
    writer = plain_csv.writer(buffer, lineterminator="\n")
    writer.writerow(["id", "text"])
    writer.writerows([str(index), text] for index, text in enumerate(texts))
    assert told(load("csv", write(tmp_path / "d.csv", buffer.getvalue())), "id", "text") == [
        (str(i), t) for i, t in enumerate(texts)
    ]


@pytest.mark.parametrize("end", [b"", b"\n", b"\n1\ta\n"])
def test_a_line_of_carriage_returns_counts_wherever_a_block_ends(tmp_path, load, end):
    """Found by fuzzing: it was a row inside a file and none at its end."""
    (tmp_path / "d.tsv").write_bytes(b"id\ttext\n\r\r" + end)
    rows = load("csv", tmp_path / "d.tsv", quoting=False)
    assert [row["status"] for row in rows] == ["bad_row"] + ["ok"] * (len(end) > 1)
