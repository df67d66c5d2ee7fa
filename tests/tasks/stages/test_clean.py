"""Raw fields to text: order of the steps, statuses, and pages that hang a cleaner."""

import threading
import time
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuseline.stores.schemas import CLEAN, DOCUMENTS
from fuseline.tasks.stages import clean as module
from fuseline.tasks.stages.clean import CleanConfig, clean, cleaner_version


def documents(*rows: dict[str, Any]) -> pa.Table:
    base = {"source": "s", "status": "ok", "labels": []}
    return pa.Table.from_pylist([{"id": f"d{n}", **base, **row} for n, row in enumerate(rows)], schema=DOCUMENTS)


def one(config: CleanConfig | None = None, **row: Any) -> dict[str, Any]:
    table = clean(documents(row), config or CleanConfig())
    assert table.schema == CLEAN
    result: dict[str, Any] = table.to_pylist()[0]
    return result


def test_fields_join_in_the_configured_order() -> None:
    row = {"title": "A  title", "description": "last", "text": " mid\n", "html": "<p>Page <b>one</b></p>"}
    assert one(**row)["text"] == "A title Page **one** mid last"
    config = CleanConfig(fields=("text", "title"))
    assert one(config, **row) == {
        "id": "d0", "status": "ok", "title": "A title", "description": "last", "text": "mid A title", "words": 3,
    }  # fmt: skip


def test_steps_run_in_order() -> None:
    config = CleanConfig(unquote_url=True)
    # %26lt%3Bb%26gt%3B is "&lt;b&gt;" URL-quoted: unquoted first, then an entity, then a tag that goes.
    assert one(config, text="fresh+bread%20%26lt%3Bb%26gt%3Bnow")["text"] == "fresh bread now"
    assert one(text="1+1%20")["text"] == "1+1%20"
    assert one(CleanConfig(strip_tags=False), text="&lt;b&gt; x")["text"] == "<b> x"
    assert one(CleanConfig(unescape=False), text="&lt;b&gt; x")["text"] == "&lt;b&gt; x"


def test_a_comparison_is_no_tag() -> None:
    assert one(text="a < b and c > d, 3<4")["text"] == "a < b and c > d, 3<4"


@pytest.mark.parametrize("cleaner", ["html2text", "selectolax"])
def test_both_cleaners_read_words_and_drop_scripts(cleaner: Any) -> None:
    page = "<html><head><style>p{}</style></head><body><h1>Apple &amp; pear</h1><script>var x</script>pie</body></html>"
    row = one(CleanConfig(cleaner=cleaner), html=page)
    assert row["status"] == "ok"
    assert row["text"].lstrip("# ") == "Apple & pear pie"


def test_long_lines_are_not_wrapped() -> None:
    words = " ".join(["word-word"] * 60)
    assert one(html=f"<p>{words}</p>")["text"] == words


def test_links_may_be_left_out() -> None:
    page = '<a href="https://example.org/x">shop</a>'
    assert one(html=page)["text"] == "[shop](https://example.org/x)"
    assert one(CleanConfig(links=False), html=page)["text"] == "shop"


def test_missing_and_empty() -> None:
    assert one()["status"] == "missing"
    row = one(text="", html="<p></p>")
    assert (row["status"], row["text"], row["words"]) == ("missing", "", 0)
    assert clean(documents(), CleanConfig()).num_rows == 0
    bare = documents({"text": "x"}).select(["id", "text"])
    assert clean(bare, CleanConfig())["text"].to_pylist() == ["x"]


def test_too_large_keeps_the_rest() -> None:
    config = CleanConfig(max_bytes=10)
    row = one(config, title="short", text="é" * 6)
    assert (row["status"], row["text"]) == ("too_large", "short")
    assert one(config, text="é" * 5)["status"] == "ok"


def test_a_hanging_page_times_out_and_the_title_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(_page: str, **_: Any) -> str:
        time.sleep(60)
        return ""

    monkeypatch.setattr(module, "html_to_text", hang)
    row = one(CleanConfig(timeout=0.2), title="kept", html="<p>x")
    assert (row["status"], row["text"]) == ("timeout", "kept")


@pytest.mark.parametrize("error", [RecursionError, AssertionError, KeyError])
def test_a_cleaner_that_raises_is_bad_html(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def fail(_page: str, **_: Any) -> str:
        raise error("x")

    monkeypatch.setattr(module, "html_to_text", fail)
    assert one(html="<p>x")["status"] == "bad_html"


@pytest.mark.parametrize("cleaner", ["html2text", "selectolax"])
def test_deep_nesting_is_bounded(cleaner: Any) -> None:
    start = time.monotonic()
    row = one(CleanConfig(cleaner=cleaner, timeout=1.0), title="t", html="<div>" * 100_000 + "x")
    assert row["status"] in ("ok", "timeout", "bad_html")
    assert row["text"].startswith("t")
    assert time.monotonic() - start < 20


def test_other_threads_are_bounded_too() -> None:
    slow = "<blockquote>" * 3_000_000
    config, result = CleanConfig(timeout=0.5, max_bytes=50_000_000), []
    thread = threading.Thread(target=lambda: result.append(one(config, title="t", html=slow)))
    thread.start()
    thread.join(60)
    assert [row["status"] for row in result] == ["timeout"]


def test_surrogates_and_control_characters_go() -> None:
    row = one(html="<p>a&#xD800;b\x00c&#7;\ufeffd</p>", text="e\x00\x1ff\u200bg")
    assert row["status"] == "ok"
    row["text"].encode("utf-8")
    assert "\x00" not in row["text"]
    assert row["text"].endswith("e fg")


def test_scripts_of_the_world_survive() -> None:
    text = "日本語 العربية हिन्दी ไทย ქართული አማርኛ 한국어 עברית Ελληνικά Русский தமிழ் မြန်မာ می‌خواهم 👩‍🍳"
    assert one(text=text)["text"] == text


def test_the_version_of_the_cleaner_is_named() -> None:
    assert cleaner_version(CleanConfig()).startswith("html2text 20")
    assert cleaner_version(CleanConfig(cleaner="selectolax")).startswith("selectolax ")


@given(st.text(max_size=200), st.sampled_from(["html2text", "selectolax"]))
def test_any_text_yields_one_clean_row(text: str, cleaner: Any) -> None:
    row = one(CleanConfig(cleaner=cleaner), text=text, html=text)
    assert row["status"] in ("ok", "missing", "bad_html")
    assert row["text"] == " ".join(row["text"].split())
    assert row["words"] == len(row["text"].split())
