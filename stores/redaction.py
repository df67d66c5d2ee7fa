"""Secrets stay out of what is written: the one place where a URL becomes text."""

import logging
import re
from typing import Any

HIDDEN = "***"
# https://user:pa/ss@host, https://TOKEN@host; a port is no password: https://host:443/a@b.
_USER = re.compile(r"(://)(?:[^\s/@'\"<>]+@|[^\s/:@'\"<>]+:(?!:|\d+(?:[/?#\s]|$))[^\s@'\"<>]*@)")
# A signature or token lies in the query: none of its values is anybody's business.
_QUERY = re.compile(r"(://[^\s?'\"<>]*)\?[^\s'\"<>]*[^\s'\"<>:.,;)]")
# "key": "..." of storage options, Authorization headers.
_OPTION = re.compile(
    r"(?i)\b((?:aws_)?(?:secret|session|access)_?(?:access_)?(?:key|token)(?:_id)?|secret|token|password|sas_token|"
    r"account_key|authorization)(['\"]?\s*[:=]\s*['\"]?)(?:bearer\s+|basic\s+)?[^\s'\",}&]+"
)


def redacted(text: str) -> str:
    """Return text with the user, password and query of every URL hidden, and the values of storage options."""
    if "://" in text:
        text = _QUERY.sub(rf"\1?{HIDDEN}", _USER.sub(rf"\1{HIDDEN}@", text))
    return _OPTION.sub(rf"\1\2{HIDDEN}", text) if "=" in text or ":" in text else text


def redacted_values(values: Any) -> Any:
    """Return plain values with every text in them redacted."""
    if isinstance(values, str):
        return redacted(values) if "://" in values else values
    if isinstance(values, dict):
        return {key: redacted_values(value) for key, value in values.items()}
    return [redacted_values(value) for value in values] if isinstance(values, list | tuple) else values


def redact_logs(*brief: type[BaseException]) -> None:
    """Have every log record of this process redacted, tracebacks too; calling it again changes nothing.

    Args:
        brief: errors that say in a line what is wrong: they are logged without a traceback.
    """
    make = logging.getLogRecordFactory()
    if getattr(make, "redacts", False):
        return
    formatter = logging.Formatter()

    def record(*arguments: Any, **named: Any) -> logging.LogRecord:
        entry = make(*arguments, **named)
        message = entry.getMessage() if entry.args or "://" in str(entry.msg) else None
        if message is not None and (hidden := redacted(message)) != message:
            entry.msg, entry.args = hidden, None
        if entry.exc_info and isinstance(entry.exc_info[1], brief):
            entry.exc_info = None
        if entry.exc_info and entry.exc_info[0] is not None:
            entry.exc_text = redacted(formatter.formatException(entry.exc_info))
        return entry

    record.redacts = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(record)
