"""Sources behind fsspec URLs: secrets stay out of our settings, and a lost connection is never a damaged file."""

import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from fuseline.stores.errors import ConfigError, FuselineError, mismatch
from fuseline.stores.redaction import HIDDEN, redacted

BUFFER = 1 << 20


class UnreachableError(FuselineError):
    """A store that was there answers no more: the run ends, for what it holds must not count as gone."""


def refuse_secret(url: str) -> None:
    """Raise ConfigError for a URL with a user, password or token: those of a store come from the environment."""
    if f"{HIDDEN}@" in redacted(url):
        protocol = url.partition("://")[0].rpartition("::")[2]
        cure = f"set FSSPEC_{protocol.upper()} to a JSON object of the storage's options, or ~/.config/fsspec/conf.json"
        raise ConfigError(mismatch("source.path", "a URL without user, password or token", url, cure))


@contextmanager
def reached(path: str) -> Iterator[None]:
    """Turn what a store raises when it cannot be reached into UnreachableError; an absent file stays what it is."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError):
        raise
    except faults() as error:
        cure = "check the network, the endpoint and the credentials, and run again"
        raise UnreachableError(mismatch(path, "an answer of its store", str(error)[:300], cure)) from error


def faults() -> tuple[type[Exception], ...]:
    """Return what stores raise: botocore's errors, where it is loaded, are no OSErrors."""
    botocore: Any = sys.modules.get("botocore.exceptions")
    return (OSError, botocore.BotoCoreError) if botocore else (OSError,)


class Remote(io.RawIOBase):
    """A stream whose reading fails with UnreachableError."""

    def __init__(self, stream: IO[bytes], path: str) -> None:
        self._stream, self._path = stream, path

    def readable(self) -> bool:
        """Return True, as io.RawIOBase asks."""
        return True

    def seekable(self) -> bool:
        """Say what the store's stream says."""
        return self._stream.seekable()

    def tell(self) -> int:
        """Return the position."""
        return self._stream.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a position."""
        return self._stream.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` and return the number of bytes; 0 at the end."""
        with reached(self._path):
            data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the store's stream too."""
        self._stream.close()
        super().close()


def buffered(stream: IO[bytes], path: str) -> IO[bytes]:
    """Return the stream with faults translated, read in blocks of 1 MiB."""
    return io.BufferedReader(Remote(stream, path), BUFFER)


def stamp(seconds: float, info: dict[str, Any]) -> int:
    """Return a time in nanoseconds that also changes with the store's version mark (ETag).

    Object stores tell whole seconds: two writes within one would look the same.
    """
    mark = str(info.get("ETag") or info.get("etag") or "")
    return int(seconds * 1_000_000) * 1_000 + (zlib.crc32(mark.encode()) % 1_000_000_000 if mark else 0)
