"""Raw documents -> plain text to classify: the clean stage."""

import html as entities
import re
from functools import partial
from importlib import metadata
from typing import Literal, NamedTuple
from urllib.parse import unquote_plus

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from fuseline.models.columns import Text
from fuseline.models.config import FrozenConfig
from fuseline.models.progress import noted
from fuseline.stores.schemas import CLEAN
from fuseline.tasks import deadline
from fuseline.tasks.engine.nodes import Context, Feature, Ingest, Read, ShardStage

Field_ = Literal["title", "description", "text", "html"]
_PLAIN: tuple[Field_, ...] = ("title", "description", "text")
_SEVERITY = ("ok", "missing", "too_large", "bad_html", "timeout")
# Nesting makes lexbor quadratic, and C code never looks at the alarm: pages with more tags than this go to a child
# process. At the limit the worst page takes about a third of a second.
_TAGS_UNGUARDED = 10_000
# A bare "<" in running text ("a < b") is no tag.
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>|<![^<>]*>")
# White space that str.split() knows is left to it. U+200C and U+200D shape Persian, Indic scripts and emoji: kept.
# Surrogates come from character references like &#xD800; and can't be written as UTF-8.
_CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u200b\u2060\ufeff\ufffe\uffff\ud800-\udfff]")


class CleanConfig(FrozenConfig):
    """How raw fields become `text`, in the order of DATASETS.md R9."""

    cleaner: Literal["html2text", "selectolax"] = Field(
        "html2text", description="What makes text of HTML; selectolax is the faster one"
    )
    fields: tuple[Field_, ...] = Field(
        ("title", "html", "text", "description"),
        min_length=1,
        description="Fields that are joined to `text`, in this order",
    )
    unquote_url: bool = Field(False, description="Turn %20 and + into spaces in title, description and text")
    unescape: bool = Field(True, description="Turn &amp; into & in title, description and text")
    strip_tags: bool = Field(
        True, description="Remove tags from title, description and text; html always goes through the cleaner"
    )
    links: bool = Field(True, description="html2text: keep link targets as [words](target), its own default")
    max_bytes: int = Field(
        5_000_000, ge=1, description="Bytes of UTF-8 that a field may have; a longer one is `too_large`"
    )
    timeout: float = Field(10.0, gt=0, description="Seconds that one document may take; a slower one is `timeout`")


class _Cleaned(NamedTuple):
    """One cleaned field: the text is None when there is none."""

    text: str | None
    status: str


def clean(documents: pa.Table, config: CleanConfig) -> pa.Table:
    """Return one row per document in the CLEAN schema, in the documents' order.

    A document without any text has status `missing` and text "". A field that fails (`bad_html`, `timeout`,
    `too_large`) is left out, its reason is the row's status, and the other fields are kept.
    """
    wanted = sorted({*_PLAIN, *config.fields})
    columns = {name: _texts(documents, name, config.max_bytes) for name in wanted}
    rows = [
        _clean_document({name: column[row] for name, column in columns.items()}, config)
        for row in noted(range(documents.num_rows), documents.num_rows)
    ]
    ids = pa.array(documents["id"].to_pylist(), pa.string())
    arrays = [pa.array([row[field.name] for row in rows], field.type) for field in list(CLEAN)[1:]]
    return pa.Table.from_arrays([ids, *arrays], schema=CLEAN)


def cleaner_version(config: CleanConfig) -> str:
    """Return name and version of the library that turns HTML into text: it belongs to the dataset key."""
    return f"{config.cleaner} {metadata.version(config.cleaner)}"


def html_to_text(page: str, *, cleaner: str, links: bool) -> str:
    """Return the words of an HTML page, with the cleaner's own line breaks; may take forever."""
    if cleaner == "selectolax":
        return _selectolax(page)
    import html2text

    converter = html2text.HTML2Text(bodywidth=0)
    converter.ignore_links = not links
    return str(converter.handle(page))


def _selectolax(page: str) -> str:
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(page)
    for node in tree.css("script, style, noscript, template"):
        node.decompose()
    return tree.text(separator=" ")


def _texts(documents: pa.Table, name: str, max_bytes: int) -> list[_Cleaned]:
    """Return one raw field as (text or None, status); absent columns are all missing."""
    if name not in documents.column_names:
        return [_Cleaned(None, "missing")] * documents.num_rows
    column = documents[name].combine_chunks()
    large = pc.fill_null(pc.greater(pc.binary_length(column), max_bytes), False)
    kept = pc.if_else(large, pa.scalar(None, column.type), column).to_pylist()
    reasons = ("too_large" if flag else "missing" for flag in large.to_pylist())
    return [_Cleaned(text, "ok" if text is not None else reason) for text, reason in zip(kept, reasons, strict=True)]


def _clean_document(raw: dict[str, _Cleaned], config: CleanConfig) -> dict[str, str | int | None]:
    done = {name: _clean_field(name, field, config) for name, field in raw.items()}
    parts = [done[name] for name in config.fields]
    text = " ".join(part.text for part in parts if part.text)
    failed = [part.status for part in done.values() if part.status not in ("ok", "missing")]
    status = max(failed, key=_SEVERITY.index) if failed else "ok" if text else "missing"
    return {
        "status": status,
        "title": done["title"].text,
        "description": done["description"].text,
        "text": text,
        "words": len(text.split()),
    }


def _clean_field(name: str, field: _Cleaned, config: CleanConfig) -> _Cleaned:
    if field.text is None:
        return field
    if name == "html":
        return _clean_page(field.text, config)
    return _Cleaned(_plain(field.text, config), "ok")


def _clean_page(page: str, config: CleanConfig) -> _Cleaned:
    function = partial(html_to_text, cleaner=config.cleaner, links=config.links)
    in_c = config.cleaner == "selectolax"
    try:
        if in_c and page.count("<") <= _TAGS_UNGUARDED:
            text = function(page)
        else:
            text = deadline.call(function, page, seconds=config.timeout, isolate=in_c)
    except deadline.DeadlineExceededError:
        return _Cleaned(None, "timeout")
    except Exception:  # a parser met with hostile input may raise anything; the row stays, with its reason
        return _Cleaned(None, "bad_html")
    return _Cleaned(_squeeze(text), "ok")


def _plain(text: str, config: CleanConfig) -> str:
    if config.unquote_url:
        text = unquote_plus(text)
    if config.unescape:
        text = entities.unescape(text)
    if config.strip_tags:
        text = _TAG.sub(" ", text)
    return _squeeze(text)


def _squeeze(text: str) -> str:
    """Collapse white space; drop control and invisible characters."""
    return " ".join(_CONTROL.sub("", text).split())


def clean_documents(tables: list[pa.Table], config: CleanConfig, context: Context) -> pa.Table:
    """Clean one shard of documents."""
    return clean(tables[0], config)


def stage(spec: CleanConfig, documents: Ingest) -> ShardStage:
    """Return the node of the cleaned text of documents."""
    return ShardStage(
        role="clean", short="text", flow="clean", version=1, config=spec, weights=cleaner_version(spec),
        reads=(Read(documents, ("title", "description", "text", "html")),), transform=clean_documents,
        feature=Feature(Text, "text", "text"),
    )  # fmt: skip
