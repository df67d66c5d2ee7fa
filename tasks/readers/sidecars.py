"""Small files read whole: texts and JSON beside the documents."""

from typing import Any

import orjson

from fuseline.stores.errors import DataError, mismatch
from fuseline.tasks.readers.base import ReaderOptions
from fuseline.tasks.readers.charsets import page_text, without_bom
from fuseline.tasks.readers.places import Openable, Place
from fuseline.tasks.readers.streams import DAMAGE, Bomb, unpacked


def whole_text(
    file: Openable, options: ReaderOptions, *, encoding: str = "utf-8", page: bool = False
) -> tuple[str | None, str]:
    """Return (text, "ok") of a small file, unpacked, decoded with U+FFFD for what is no text, NUL dropped (R10).

    The charset that an HTML `page` names comes before `encoding`, and a byte order mark before both.
    (None, slug) when it cannot be had: missing, too_large (over `max_line_bytes`), bad_file.
    """
    limit = options.max_line_bytes
    try:
        with file.open() as raw:
            data = unpacked(raw, options).read(limit + 1)
    except FileNotFoundError:
        return None, "missing"
    except (Bomb, *DAMAGE, ValueError):
        return None, "bad_file"
    if len(data) > limit:
        return None, "too_large"
    if page:
        return page_text(data, encoding).replace("\0", ""), "ok"
    data, encoding = without_bom(data, encoding)
    return data.decode(encoding, "replace").replace("\0", ""), "ok"


def whole_json(file: Openable, options: ReaderOptions) -> tuple[Any, str]:
    """Return (value, "ok") of a small JSON file; (None, slug) when it cannot be had: also bad_json."""
    text, slug = whole_text(file, options)
    if text is None:
        return None, slug
    try:
        return orjson.loads(text), "ok"
    except orjson.JSONDecodeError:
        return None, "bad_json"


def required_json(file: Place, options: ReaderOptions, kind: type) -> Any:
    """Return the value of a JSON file without which the source cannot be read; DataError when it is no `kind`."""
    value, slug = whole_json(file, options.model_copy(update={"max_line_bytes": 1 << 30}))
    if not isinstance(value, kind):
        got = slug if slug != "ok" else type(value).__name__
        raise DataError(mismatch(file.path, f"JSON: one {kind.__name__}", got, "take this file from the release again"))
    return value
