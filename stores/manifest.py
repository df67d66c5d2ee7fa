"""A dataset is its manifest: what made it, and one record per shard, written last."""

import fnmatch
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import orjson

from fuseline.plain import JsonObject
from fuseline.stores.digests import bytes_digest, combine, key_digest
from fuseline.stores.errors import DamagedError, DataError, mismatch

FORMAT = 1
SEAL = "seal"
REPAIR = "run `fuseline repair`"

Parsed = TypeVar("Parsed")
Kind = Literal["documents", "shards", "checkpoint", "tables"]


@dataclass(frozen=True)
class Manifest:
    """What a dataset was made from; its `key` names the folder it lies in.

    `config` holds only values that change bytes; `upstream` maps dataset names to their keys. `role` and `kind` tell
    readers of the disk what the dataset is; they are not part of the key.
    """

    stage: str  # "clean", "embed/image", ...
    version: int
    config: JsonObject
    upstream: dict[str, str]
    layout: str  # name of the store that holds the shards
    role: str = ""  # what it holds: "documents", "predictions", "models"
    kind: Kind = "shards"

    @property
    def key(self) -> str:
        """The dataset key."""
        return key_digest({name: value for name, value in asdict(self).items() if name not in ("role", "kind")})

    def to_bytes(self) -> bytes:
        """Return the manifest as indented JSON."""
        return sealed(asdict(self))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Parse what `to_bytes` wrote; raises DataError when it is damaged or of another format version."""
        return parsed(data, "manifest", lambda values: cls(**{**_unsaid(values["stage"]), **values}))


@dataclass(frozen=True)
class FileRecord:
    """One file of a shard: bytes and "blake3:<hex>"."""

    size: int
    digest: str


@dataclass(frozen=True)
class ShardRecord:
    """One shard that is complete: the record is written after its bytes, atomically.

    `columns` holds a content digest per column and `ids` that of the ids, so that a consumer depends only on the
    columns it reads. `inputs` maps each upstream to the digest it had when this shard was made. `beside` holds files
    about this shard that are not part of its content, such as a list of its ids.
    """

    index: int
    name: str  # stem of the shard's file or folder
    n_rows: int
    ids: str
    columns: dict[str, str]
    inputs: dict[str, str]
    files: dict[str, FileRecord]
    tallies: dict[str, dict[str, int]] = field(default_factory=dict)  # column -> value, or kind of digest -> rows
    beside: dict[str, FileRecord] = field(default_factory=dict)  # path relative to the dataset
    table: str = ""  # its name, in a dataset whose shards are tables of their own

    def digest(self, columns: tuple[str, ...] = ()) -> str:
        """Return the digest of the ids and the named columns, or of all columns."""
        names = self.select(columns) or tuple(sorted(self.columns))
        return combine([self.ids, *(f"{name}={self.columns.get(name, '')}" for name in sorted(names))])

    def select(self, columns: tuple[str, ...]) -> tuple[str, ...]:
        """Return column names with patterns such as "num_*" replaced by the columns of this shard that they match."""
        return expanded(columns, self.columns)

    def to_bytes(self) -> bytes:
        """Return the record as JSON."""
        return sealed(asdict(self))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Parse what `to_bytes` wrote; raises DataError when it is damaged or of another format version."""
        return parsed(data, "shard record", cls._of)

    @classmethod
    def _of(cls, values: dict[str, Any]) -> Self:
        beside = file_records(values.get("beside", {}))
        return cls(**{**values, "files": file_records(values["files"]), "beside": beside})


def expanded(names: Iterable[str], columns: Iterable[str]) -> tuple[str, ...]:
    """Return names with each pattern such as "num_*" replaced by those of `columns` that it matches, sorted."""
    known = sorted(columns)
    matched = (fnmatch.filter(known, name) if "*" in name else [name] for name in names)
    return tuple(name for matches in matched for name in matches)


def sealed(values: JsonObject) -> bytes:
    """Return plain values as JSON with the format version and a seal, by which a changed byte is found."""
    body = {"format": FORMAT, **values}
    return orjson.dumps({**body, SEAL: _seal(body)}, option=_JSON)


def parsed(data: bytes, what: str, make: Callable[[dict[str, Any]], Parsed], *, cure: str = REPAIR) -> Parsed:
    """Return what `make` builds of what `sealed` wrote; raises DataError for anything else, DamagedError for damage."""
    try:
        values: dict[str, Any] = dict(orjson.loads(data))
        seal = values.pop(SEAL, None)
        intact = seal == _seal(values)
        version = values.pop("format", None)
        if version == FORMAT and intact:
            return make(values)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise DamagedError(f"{what}: its file is damaged ({error}); {cure}") from error
    if version == FORMAT:
        raise DamagedError(f"{what}: its file is damaged (its seal does not fit); {cure}")
    raise DataError(mismatch(f"{what} format", FORMAT, version, "it was written by another Fuseline version"))


def file_records(values: dict[str, dict[str, Any]]) -> dict[str, FileRecord]:
    """Return the files of a parsed record."""
    return {name: FileRecord(**file) for name, file in values.items()}


def _unsaid(stage: str) -> dict[str, Any]:
    """Return role and kind of a dataset whose manifest is of a version that wrote neither: its folder told them."""
    role = Path(stage).parts[0]
    kinds: dict[str, Kind] = {"documents": "documents"}
    kinds |= dict.fromkeys(("models", "codebooks", "encoders", "sweep"), "checkpoint")
    return {"role": role, "kind": kinds.get(role, "shards")}


def _seal(body: JsonObject) -> str:
    return bytes_digest(orjson.dumps(body, option=_JSON))


_JSON = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY
