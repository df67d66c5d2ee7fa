"""Which documents a report shows, and the report without some of them.

Whatever shows documents (their picture, text or id) is an <article>, <tr> or <figure> with the attribute
data-shows='["id", ...]', as `tojson` writes it. It goes as a whole when one of them is forgotten.
"""

import re
from collections.abc import Callable

import orjson

_SHOWING = re.compile(r"<(article|tr|figure)\b[^>]*?\bdata-shows='([^']*)'[^>]*>.*?</\1>", re.DOTALL)
_PICTURE = "data:image/"


def shown(page: str) -> list[str]:
    """Return the ids of the documents that a report shows."""
    return [document for match in _SHOWING.finditer(page) for document in _ids(match)]


def redacted(page: str, hidden: Callable[[list[str]], bool]) -> str:
    """Return a report without what shows documents for which `hidden` holds of any of their ids."""
    return _SHOWING.sub(lambda match: "" if hidden(_ids(match)) else match[0], page)


def tells_all(page: str) -> bool:
    """Return whether every picture of a report lies in something that says which documents it shows."""
    return _PICTURE not in _SHOWING.sub("", page)


def _ids(match: re.Match[str]) -> list[str]:
    return [str(document) for document in orjson.loads(match[2])]
