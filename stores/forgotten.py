"""Which documents must never come back: keyed hashes of their ids, never the ids themselves."""

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import blake3
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stores.atomic import atomic_file, write_bytes
from stores.manifest import parsed, sealed
from stores.parquet import write_table

FILE = "forgotten.json"
KEY_BYTES = 32
HASH_BYTES = 16


@dataclass(frozen=True)
class Forgotten:
    """The forgotten documents of one output root.

    The key lies beside the hashes: nobody can list the ids, but who holds the file can test a given id.
    """

    key: bytes = field(default_factory=lambda: secrets.token_bytes(KEY_BYTES))
    hashes: frozenset[bytes] = frozenset()

    @classmethod
    def load(cls, root: Path) -> Self:
        """Read the list of an output root; an absent one is empty. Raises DataError for a damaged one."""
        try:
            data = (root / FILE).read_bytes()
        except FileNotFoundError:
            return cls()
        # Without it forgotten documents would come back: better no run than such a run.
        return parsed(data, str(root / FILE), cls._of, cure="put it back from a backup")

    def save(self, root: Path) -> None:
        """Write the list."""
        hashes = sorted(one.hex() for one in self.hashes)
        write_bytes(root / FILE, sealed({"key": self.key.hex(), "ids": hashes}))

    def __len__(self) -> int:
        return len(self.hashes)

    def __contains__(self, document: str) -> bool:
        return self._hash(document) in self.hashes

    def with_ids(self, ids: Iterable[str]) -> Self:
        """Return the list with more ids on it."""
        return replace(self, hashes=self.hashes | {self._hash(one) for one in ids})

    def mask(self, ids: pa.ChunkedArray | pa.Array) -> NDArray[np.bool_]:
        """Tell for each id whether it is on the list, (n,) bool; null is not."""
        if not self.hashes:
            return np.zeros(len(ids), bool)
        return np.fromiter(self._members(ids.to_pylist()), bool, len(ids))

    @classmethod
    def _of(cls, values: dict[str, Any]) -> Self:
        return cls(bytes.fromhex(values["key"]), frozenset(map(bytes.fromhex, values["ids"])))

    def _members(self, ids: Iterable[str | None]) -> Iterator[bool]:
        return (one is not None and self._hash(one) in self.hashes for one in ids)

    def _hash(self, document: str) -> bytes:
        return blake3.blake3(document.encode(errors="surrogatepass"), key=self.key).digest(HASH_BYTES)


def naming(schema: pa.Schema) -> list[str]:
    """Return the columns that name documents: `id`, and lists of structs with a field `id`."""
    return [field.name for field in schema if field.name == "id" or _lists_documents(field.type)]


def documents_of(column: pa.ChunkedArray) -> tuple[pa.Array, NDArray[np.int64]]:
    """Return the ids that a column of `naming` holds, and the row of each, (k,) int64."""
    array = column.combine_chunks()
    if not pa.types.is_nested(array.type):
        return array, np.arange(len(array))
    return pc.struct_field(pc.list_flatten(array), "id"), np.asarray(pc.list_parent_indices(array), np.int64)


def erase_from_file(path: Path, forgotten: Forgotten) -> int:
    """Take the rows that name forgotten documents out of a Parquet file, atomically; return how many went."""
    if not path.exists() or not naming(pq.read_schema(path)):
        return 0
    table = pq.read_table(path, partitioning=None)
    mask = np.zeros(table.num_rows, bool)
    for name in naming(table.schema):
        ids, rows = documents_of(table[name])
        mask[rows[forgotten.mask(ids)]] = True
    if mask.any():
        with atomic_file(path) as partial:
            write_table(partial, table.filter(pa.array(~mask)))
    return int(mask.sum())


def _lists_documents(kind: pa.DataType) -> bool:
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_struct(kind.value_type):
        return False
    return bool(kind.value_type.get_field_index("id") >= 0)
