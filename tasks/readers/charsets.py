"""Bytes into text: byte order marks, and the charset that an HTML page names itself."""

import codecs
import re
from collections.abc import Iterator
from functools import lru_cache

HEAD = 1024  # bytes of a page in which the HTML standard looks for the tag
BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
# The tag was read as ASCII: no page is in a charset in which these bytes mean anything else.
PROBE = rb'<meta charset="x"> \u0041 +AGE- ~{'
# Pages in the first are written in the second, and the Encoding Standard reads them so.
MEANT = {"ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874", "gb2312": "gb18030",
         "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949"}  # fmt: skip


def without_bom(data: bytes, encoding: str) -> tuple[bytes, str]:
    """Return the bytes behind a byte order mark, and their encoding: that of the mark, else `encoding`."""
    return next(((data[len(bom) :], name) for bom, name in BOMS if data.startswith(bom)), (data, encoding))


def page_text(data: bytes, encoding: str, errors: str = "replace") -> str:
    """Decode an HTML page: by its byte order mark, else by the first of its meta tags with a known charset.

    Without either, and with charsets that are unknown or not for pages alone, it is in `encoding` (R10).
    UnicodeDecodeError with `errors` "strict".
    """
    body, charset = without_bom(data, "")
    return body.decode(charset or next(_declared(data[:HEAD]), encoding), errors)


def _declared(head: bytes) -> Iterator[str]:
    """Yield the known charsets that meta tags name."""
    if b"charset" not in head.lower():
        return
    from selectolax.lexbor import LexborHTMLParser

    for tag in LexborHTMLParser(head.decode("latin-1")).css("meta"):
        name = tag.attributes.get("charset")
        if (tag.attributes.get("http-equiv") or "").lower() == "content-type":
            match = re.search(r"""charset\s*=\s*["']?([^\s;"']+)""", tag.attributes.get("content") or "", re.IGNORECASE)
            name = match.group(1) if match else name
        known = _codec((name or "").strip().lower().removeprefix("x-"))
        if known is not None:
            yield known


@lru_cache(1024)
def _codec(name: str) -> str | None:
    """Return the codec of a page's charset; None when there is none, or it is not for pages."""
    try:
        if PROBE.decode(name, "replace") != PROBE.decode("ascii"):
            return None
        canonical = codecs.lookup(name).name
    except (LookupError, ValueError):
        return None
    return MEANT.get(canonical, canonical)
