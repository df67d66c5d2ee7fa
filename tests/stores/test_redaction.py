"""Secrets in URLs, options and logs: hidden, and nothing else is."""

import logging

import pytest

from fuseline.stores.errors import DataError
from fuseline.stores.redaction import redact_logs, redacted, redacted_values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://h/a.csv?X-Amz-Signature=abc&X-Amz-Date=1", "https://h/a.csv?***"),
        ("https://h/a.csv?sig=abc: not found", "https://h/a.csv?***: not found"),
        ("read 'https://h/a.csv?sig=abc', then", "read 'https://h/a.csv?***', then"),
        ("https://TOKEN@h/a.csv", "https://***@h/a.csv"),
        ("s3://user:pass@bucket/x", "s3://***@bucket/x"),
        ("https://user:pa/ss@h/x", "https://***@h/x"),
        ("https://user:p:a@h/x and https://T@i/y", "https://***@h/x and https://***@i/y"),
        ("zip://a.csv::https://T@h/z.zip?t=1", "zip://a.csv::https://***@h/z.zip?***"),
        ('{"key": "AKIA", "secret": "s3cr3t", "token":"t"}', '{"key": "AKIA", "secret": "***", "token":"***"}'),
        ("aws_secret_access_key=abc/def", "aws_secret_access_key=***"),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
    ],
)
def test_secrets_are_hidden(text: str, expected: str) -> None:
    assert redacted(text) == expected
    assert redacted(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "https://h:443/a@b.jpg", "https://h/a@b.jpg", "s3://bucket/key", "a.csv:12", "what? a question",
        "expected 'x', got 'y'; see the token table", "/data/a@b/c?d", "http://127.0.0.1:4200/api",
    ],
)  # fmt: skip
def test_nothing_else_is_hidden(text: str) -> None:
    assert redacted(text) == text


def test_values_are_redacted_wherever_they_lie() -> None:
    values = {"a": ["https://T@h", {"b": "https://h?x=1"}], "n": 1, "t": ("x", None)}
    assert redacted_values(values) == {"a": ["https://***@h", {"b": "https://h?***"}], "n": 1, "t": ["x", None]}


def test_logs_and_their_tracebacks_are_redacted(caplog: pytest.LogCaptureFixture) -> None:
    before = logging.getLogRecordFactory()
    try:
        redact_logs()
        factory = logging.getLogRecordFactory()
        redact_logs()
        assert logging.getLogRecordFactory() is factory
        try:
            open("https://h/a?sig=SECRET").close()  # noqa: PTH123
        except OSError:
            logging.getLogger("x").exception("cannot read %s", "https://SECRET@h/a")
        assert "cannot read https://***@h/a" in caplog.text
        assert "SECRET" not in caplog.text
    finally:
        logging.setLogRecordFactory(before)


def test_errors_that_say_all_are_logged_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """A failed run of a worker showed them twice on its page, 70 lines around the one that counts."""
    before = logging.getLogRecordFactory()
    try:
        redact_logs(DataError)
        for error in (DataError("source.path: expected this, got that"), KeyError("odd")):
            try:
                raise error
            except (DataError, KeyError):
                logging.getLogger("x").exception("failed: %s", error)
        assert caplog.text.count("Traceback") == 1
        assert "KeyError: 'odd'" in caplog.text
        assert "failed: source.path: expected this, got that" in caplog.text
    finally:
        logging.setLogRecordFactory(before)
