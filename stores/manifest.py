"""A dataset is its manifest: what made it, and one record per shard, written last."""

import fnmatch
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Self, TypeVar

import orjson

from stores.digests import combine, key_digest
from stores.errors import DataError, mismatch

FORMAT = 1

Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class Manifest:
    """What a dataset was made from; its `key` names the folder it lies in.

    `config` holds only values that change bytes; `upstream` maps dataset names to their keys.
    """

    stage: str  # "clean", "embed/image", ...
    version: int
    config: dict[str, Any]
    upstream: dict[str, str]
    layout: str  # name of the store that holds the shards

    @property
    def key(self) -> str:
        """The dataset key."""
        return key_digest(asdict(self))

    def to_bytes(self) -> bytes:
        """Return the manifest as indented JSON."""
        return orjson.dumps({"format": FORMAT, **asdict(self)}, option=_JSON)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Parse what `to_bytes` wrote; raises DataError on another format version."""
        return parsed(data, "manifest", lambda values: cls(**values))


@dataclass(frozen=True)
class FileRecord:
    """One file of a shard: bytes and "blake3:<hex>"."""

    size: int
    digest: str


@dataclass(frozen=True)
class ShardRecord:
    """One shard that is complete: the record is written after its bytes, atomically.

    `columns` holds a content digest per column and `ids` that of the ids, so that a consumer depends only on the
    columns it reads. `inputs` maps each upstream to the digest it had when this shard was made.
    """

    index: int
    name: str  # stem of the shard's file or folder
    n_rows: int
    ids: str
    columns: dict[str, str]
    inputs: dict[str, str]
    files: dict[str, FileRecord]
    tallies: dict[str, dict[str, int]] = field(default_factory=dict)  # column -> value -> rows (status, split)

    def digest(self, columns: tuple[str, ...] = ()) -> str:
        """Return the digest of the ids and the named columns, or of all columns."""
        names = self.select(columns) or tuple(sorted(self.columns))
        return combine([self.ids, *(f"{name}={self.columns.get(name, '')}" for name in sorted(names))])

    def select(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """Return column names with patterns such as "num_*" replaced by the columns of this shard that they match."""
        return expanded(columns, self.columns)

    def to_bytes(self) -> bytes:
        """Return the record as JSON."""
        return orjson.dumps({"format": FORMAT, **asdict(self)}, option=_JSON)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Parse what `to_bytes` wrote; raises DataError on another format version."""
        return parsed(data, "shard record", lambda values: cls(**{**values, "files": file_records(values["files"])}))


@dataclass(frozen=True)
class ShardRef:
    """One shard of one dataset: all that travels between tasks."""

    stage: str
    key: str
    record: ShardRecord


def expanded(names: Iterable[str], columns: Iterable[str]) -> tuple[str, ...]:
    """Return names with each pattern such as "num_*" replaced by those of `columns` that it matches, sorted."""
    known = sorted(columns)
    found = (fnmatch.filter(known, name) if "*" in name else [name] for name in names)
    return tuple(name for matches in found for name in matches)


def parsed(data: bytes, what: str, make: Callable[[dict[str, Any]], Parsed]) -> Parsed:
    """Return what `make` builds of a JSON object of this format version; raises DataError for anything else."""
    try:
        values: dict[str, Any] = dict(orjson.loads(data))
        version = values.pop("format", None)
        if version == FORMAT:
            return make(values)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise DataError(f"{what}: its file is damaged ({error}); run `fuseline repair`") from error
    raise DataError(mismatch(f"{what} format", FORMAT, version, "it was written by another Fuseline version"))


def file_records(values: dict[str, dict[str, Any]]) -> dict[str, FileRecord]:
    """Return the files of a parsed record."""
    return {name: FileRecord(**file) for name, file in values.items()}


_JSON = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2
