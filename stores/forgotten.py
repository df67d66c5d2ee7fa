"""Which documents must never come back: keyed hashes of their ids, never the ids themselves."""

import secrets
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import blake3
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fuseline.stores.atomic import atomic_file, write_bytes
from fuseline.stores.errors import DataError, mismatch
from fuseline.stores.layouts.parquet import write_table
from fuseline.stores.manifest import parsed, sealed
from fuseline.stores.published import Published, note_forgotten

FILE = "forgotten.json"
COPY = "forgotten.copy.json"
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
    def load(cls, root: Path, *, again: Collection[str] = ()) -> Self:
        """Read the list of an output root; where there never was one it is empty.

        It is kept twice, and one copy is enough.

        Args:
            root: output root.
            again: ids that are about to be put on the list; where it is lost, as many as were on it begin a new one.

        Raises:
            DataError: both copies are lost: without the list forgotten documents would come back, and better no run
                than such a run.
        """
        lists = [one for name in (FILE, COPY) if (one := cls._read(root / name)) is not None]
        # Nothing ever leaves the list: after a kill between the two copies the longer one is the last.
        found = max(lists, key=len, default=cls())
        wanted = _noted(root) if lists else Published.load(root).forgotten
        if len(found) < wanted:
            if len(set(again)) >= wanted:
                return cls()
            cure = f"{_CURE}, or give the ids of all {wanted:,} again: fuseline forget CONFIG --ids FILE --missing-ok"
            raise DataError(mismatch(str(root / FILE), f"a list of {wanted} documents", f"{len(found)} of them", cure))
        if not lists:
            cls._check(root / FILE)
            cls._check(root / COPY)
        return found

    @classmethod
    def damaged(cls, root: Path) -> list[str]:
        """Return the copies of the list that are missing, damaged or shorter than it is."""
        copies = {name: cls._read(root / name) for name in (FILE, COPY)}
        found, wanted = max((one for one in copies.values() if one is not None), key=len, default=None), _noted(root)
        if not cls.copies(root) and not wanted:
            return []
        return [name for name, one in copies.items() if one is None or one != found or len(one) < wanted]

    @staticmethod
    def copies(root: Path) -> set[str]:
        """Return the files of the list that are there."""
        return {name for name in (FILE, COPY) if (root / name).exists()}

    @classmethod
    def restore(cls, root: Path) -> list[str]:
        """Write damaged copies again from the other one and return their names; raises DataError when both are lost."""
        damaged, found = cls.damaged(root), cls.load(root)
        if damaged or len(found) > _noted(root):
            found.save(root)
        return damaged

    def save(self, root: Path) -> None:
        """Write the list, twice, and note how long it is."""
        hashes = sorted(one.hex() for one in self.hashes)
        for name in (FILE, COPY):
            write_bytes(root / name, sealed({"key": self.key.hex(), "ids": hashes}), private=True)
        note_forgotten(root, len(self))

    @classmethod
    def _read(cls, path: Path) -> Self | None:
        """Return one copy; None when it is absent or damaged."""
        try:
            return cls._check(path)
        except DataError:
            return None

    @classmethod
    def _check(cls, path: Path) -> Self | None:
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return parsed(data, str(path), cls._of, cure=_CURE)

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


def _noted(root: Path) -> int:
    """Return how many documents should be on the list; none when nobody can say."""
    try:
        return Published.load(root).forgotten
    except DataError:
        return 0


_CURE = "put it back from a backup"
