"""Every error that Fuseline raises on purpose.

FuselineError
├── ConfigError (ValueError)      a setting is wrong: field, expected, got, cure          -> exit code 2
├── DataError (ValueError)        a whole source, file or dataset cannot be used           -> exit code 1
│   ├── DamagedError              bytes on disk differ from their digest
│   └── AlignmentError            two datasets disagree about the documents of a shard
├── MismatchError (ValueError)    features and model come from different encoders or codebooks
├── StorageError (OSError)        the output root cannot be written (full, read-only)
└── LockedError (RuntimeError)    another run holds the output root

One bad row is never an exception: it is a status slug on its row.
"""

from fuseline.stores.redaction import redacted


class FuselineError(Exception):
    """Base of the tree: the command line prints its message without a traceback; secrets in it are hidden."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(redacted(argument) if isinstance(argument, str) else argument for argument in arguments))


class ConfigError(FuselineError, ValueError):
    """A setting is wrong; the message says field, expected, got and cure."""


class DataError(FuselineError, ValueError):
    """A source, file or dataset cannot be used as a whole."""


class DamagedError(DataError):
    """Bytes on disk differ from the digest that their record holds."""


class AlignmentError(DataError):
    """Two datasets disagree about which documents a shard holds."""


class MismatchError(FuselineError, ValueError):
    """Features and model were made with different encoders or codebooks."""


class StorageError(FuselineError, OSError):
    """The output root cannot be written."""


class LockedError(FuselineError, RuntimeError):
    """Another run holds the output root."""


def mismatch(what: str, expected: object, got: object, cure: str) -> str:
    """Word a refusal the house's way: what, expected, got, cure."""
    return redacted(f"{what}: expected {expected!r}, got {got!r}; {cure}")
