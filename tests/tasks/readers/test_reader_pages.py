"""Bytes of HTML pages: the charset that a page names itself, and pages under .htm."""

import codecs
import io
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fuseline.tasks.readers import READERS
from fuseline.tasks.readers.charsets import page_text

WORD = "Приве́т".replace("\u0301", "")
HTTP = '<meta http-equiv="Content-Type" content="text/html; charset={}">'


def page(charset: str, *, form: str = "<meta charset={}>", word: str = WORD, encoding: str | None = None) -> bytes:
    return f"<html><head>{form.format(charset)}</head><p>{word}".encode(encoding or charset)


@pytest.mark.parametrize(
    "data",
    [
        page("windows-1251"),
        page("windows-1251", form="<META CharSet = 'Windows-1251' />"),
        page("koi8-r", form=HTTP),
        page("koi8-r", form="<meta content='text/html;CHARSET=\"KOI8-R\"' http-equiv=content-type>"),
        page("x-mac-cyrillic", encoding="mac-cyrillic"),
        page("utf-8"),
        codecs.BOM_UTF8 + page("windows-1251", encoding="utf-8"),
        codecs.BOM_UTF16_LE + page("windows-1251", encoding="utf-16-le"),
        codecs.BOM_UTF16_BE + page("utf-8", encoding="utf-16-be"),
        page("windows-1251", form="<!-- <meta charset=koi8-r> --><script charset=koi8-r></script><meta charset={}>"),
        page("windows-1251", form="<meta charset=nonsense><meta name=x content='charset=koi8-r'><meta charset={}>"),
    ],
)
def test_a_page_is_decoded_by_the_charset_that_it_names(data):
    """A byte order mark counts first, then the first meta tag whose charset is known."""
    assert page_text(data, "latin-1").endswith(WORD)


@pytest.mark.parametrize(
    "charset",
    ["nonsense", "", "utf-16", "utf-32-be", "utf-7", "cp037", "unicode_escape", "raw_unicode_escape", "idna",
     "punycode", "rot13", "hex", "undefined", "a\0b", "../x", "é", "x" * 500],
)  # fmt: skip
def test_a_charset_that_is_unknown_or_none_of_pages_falls_back(charset):
    """To the encoding of the options: the tag could not have been read in such a charset."""
    data = page(charset, form="<meta charset='{}'>", encoding="koi8-r" if charset != "é" else "utf-8")
    assert page_text(data, "koi8-r" if charset != "é" else "utf-8").endswith(WORD)


def test_charsets_mean_what_browsers_take_them_for():
    assert page_text(b"<meta charset=iso-8859-1>\x93\x80\x94", "utf-8").endswith("“€”")
    assert page_text(b"<meta charset=us-ascii>\x92", "utf-8").endswith("’")
    assert page_text(page("gb2312", word="€镕", encoding="gb18030"), "utf-8").endswith("€镕")
    assert page_text(b"<meta charset=utf-8>\xff\0x", "latin-1").endswith("\ufffd\0x")  # no NUL is dropped here


def test_the_tag_counts_where_the_standard_looks_for_it():
    """Within the first 1,024 bytes, whatever stands before it, and never further."""
    assert page_text(b"<p>" * 300 + page("windows-1251"), "koi8-r").endswith(WORD)
    assert page_text(b" " * 1024 + page("windows-1251", encoding="koi8-r"), "koi8-r").endswith(WORD)


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.mark.parametrize("suffix", [".html", ".htm"])
def test_food101_pages_under_both_suffixes(tmp_path, load, suffix):
    for number in (1, 2, 3):
        put(tmp_path / f"images/train/tacos/tacos_{number}.jpg", b"x")
    put(tmp_path / "pages/tacos/tacos_1.html", page("windows-1251"))
    put(tmp_path / "pages/tacos/tacos_2.htm", page("nonsense", encoding="koi8-r"))
    put(tmp_path / "pages/tacos/tacos_9.htm", b"x")
    options = {"text_folder": "pages", "text_suffix": suffix, "encoding": "koi8-r"}
    rows = load("food101", tmp_path, **options)
    assert [row["html"] and row["html"][-len(WORD) :] for row in rows] == [WORD, WORD, None]
    entry = READERS["food101"]
    found = entry.findings(str(tmp_path), entry.options(**options), lambda names: [True] * len(names))
    assert [(one.slug, one.place) for one in found] == [("no_image", "pages/tacos/tacos_9.htm")]


def test_plain_texts_are_not_read_as_pages(tmp_path, load):
    put(tmp_path / "images/train/tacos/tacos_1.jpg", b"x")
    put(tmp_path / "texts_txt/tacos/tacos_1.txt", page("windows-1251", encoding="utf-8"))
    assert load("food101", tmp_path)[0]["text"].endswith(WORD)


@pytest.mark.parametrize("field", ["html", "htm"])
def test_webdataset_pages(tmp_path, load, field):
    members = {
        "a": page("windows-1251"),
        "b": page("nonsense", encoding="utf-8"),
        "c": page("utf-8", encoding="koi8-r"),
    }
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(f"{name}.{field}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    rows = load("webdataset", tmp_path)
    assert [row["status"] for row in rows] == ["ok", "ok", "bad_encoding"]
    assert [row["html"][-len(WORD) :] for row in rows[:2]] == [WORD, WORD]
    assert "\ufffd" in load("webdataset", tmp_path, encoding_errors="replace")[2]["html"]


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_pages_in_a_column_of_bytes(tmp_path, load, kind):
    pages = [page("windows-1251"), None, page("utf-8", encoding="koi8-r"), page("x", encoding="utf-8")]
    table = pa.table({"id": ["1", "2", "3", "4"], "html": pa.array(pages, kind)})
    pq.write_table(table, tmp_path / "a.parquet")
    rows = load("parquet", tmp_path)
    assert [row["status"] for row in rows] == ["ok", "ok", "bad_encoding", "ok"]
    assert [row["html"] and row["html"][-len(WORD) :] for row in rows] == [WORD, None, None, WORD]
    assert "\ufffd" in load("parquet", tmp_path, encoding_errors="replace")[2]["html"]
