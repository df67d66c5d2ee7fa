"""Which documents must never come back: keyed hashes of their ids, never the ids themselves."""

import secrets
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Self

import blake3
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fuseline.stores.errors import DataError, mismatch
from fuseline.stores.layouts.parquet import get_table, put_table
from fuseline.stores.manifest import parsed, sealed
from fuseline.stores.published import Published, note_forgotten
from fuseline.stores.root import Root

FILE = "forgotten.json"
COPY = "forgotten.copy.json"
KEY_BYTES = 32
HASH_BYTES = 16


@dataclass(frozen=True)
class Forgotten:
    """The forgotten documents of one output root.

    The key lies beside the hashes: the ids cannot be listed, but anyone who holds the file can test a given id.
    """

    key: bytes = field(default_factory=lambda: secrets.token_bytes(KEY_BYTES))
    hashes: frozenset[bytes] = frozenset()

    @classmethod
    def load(cls, root: Root, *, again: Collection[str] = ()) -> Self:
        """Read the list of an output root; where there never was one it is empty.

        It is kept twice, and one copy is enough.

        Args:
            root: output root.
            again: ids that are about to be put on the list; where it is lost, as many as were on it begin a new one.

        Raises:
            DataError: both copies are lost: without the list forgotten documents would come back, and better no run
                than such a run.
        """
        lists = [copy for name in (FILE, COPY) if (copy := cls._read(root, name)) is not None]
        # Nothing ever leaves the list: after a kill between the two copies the longer one is the last.
        longest = max(lists, key=len, default=cls())
        wanted = _noted(root) if lists else Published.load(root).forgotten
        if len(longest) < wanted:
            if len(set(again)) >= wanted:
                return cls()
            cure = f"{_CURE}, or give the ids of all {wanted:,} again: fuseline forget CONFIG --ids FILE --missing-ok"
            raise DataError(mismatch(root.uri(FILE), f"a list of {wanted} documents", f"{len(longest)} of them", cure))
        if not lists:
            cls._check(root, FILE)
            cls._check(root, COPY)
        return longest

    @classmethod
    def damaged(cls, root: Root) -> list[str]:
        """Return the copies of the list that are missing, damaged or shorter than it is."""
        copies = {name: cls._read(root, name) for name in (FILE, COPY)}
        longest, wanted = (
            max((copy for copy in copies.values() if copy is not None), key=len, default=None),
            _noted(root),
        )
        if not cls.copies(root) and not wanted:
            return []
        return [name for name, copy in copies.items() if copy is None or copy != longest or len(copy) < wanted]

    @staticmethod
    def copies(root: Root) -> set[str]:
        """Return the files of the list that are there."""
        return {name for name in (FILE, COPY) if root.exists(name)}

    @classmethod
    def restore(cls, root: Root) -> list[str]:
        """Write damaged copies again from the other one and return their names; raises DataError when both are lost."""
        damaged, forgotten = cls.damaged(root), cls.load(root)
        if damaged or len(forgotten) > _noted(root):
            forgotten.save(root)
        return damaged

    def save(self, root: Root) -> None:
        """Write the list, twice, and note how long it is."""
        hashes = sorted(digest.hex() for digest in self.hashes)
        for name in (FILE, COPY):
            root.put(name, sealed({"key": self.key.hex(), "ids": hashes}), private=True)
        note_forgotten(root, len(self))

    @classmethod
    def _read(cls, root: Root, name: str) -> Self | None:
        """Return one copy; None when it is absent or damaged."""
        try:
            return cls._check(root, name)
        except DataError:
            return None

    @classmethod
    def _check(cls, root: Root, name: str) -> Self | None:
        try:
            data = root.get(name)
        except FileNotFoundError:
            return None
        return parsed(data, root.uri(name), cls._of, cure=_CURE)

    def __len__(self) -> int:
        return len(self.hashes)

    def __contains__(self, document: str) -> bool:
        return self._hash(document) in self.hashes

    def with_ids(self, ids: Iterable[str]) -> Self:
        """Return the list with more ids on it."""
        return replace(self, hashes=self.hashes | {self._hash(document) for document in ids})

    def mask(self, ids: pa.ChunkedArray | pa.Array) -> NDArray[np.bool_]:
        """Return which ids are on the list, (n,) bool; null is not."""
        if not self.hashes:
            return np.zeros(len(ids), bool)
        return np.fromiter(self._members(ids.to_pylist()), bool, len(ids))

    @classmethod
    def _of(cls, values: dict[str, Any]) -> Self:
        return cls(bytes.fromhex(values["key"]), frozenset(map(bytes.fromhex, values["ids"])))

    def _members(self, ids: Iterable[str | None]) -> Iterator[bool]:
        return (document is not None and self._hash(document) in self.hashes for document in ids)

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


def erase_from_file(root: Root, name: str, forgotten: Forgotten) -> int:
    """Take the rows that name forgotten documents out of a Parquet file, atomically; return how many went."""
    if not root.exists(name):
        return 0
    with root.reading(name) as path:
        columns = naming(pq.read_schema(path))
    if not columns:
        return 0
    table = get_table(root, name)
    mask = np.zeros(table.num_rows, bool)
    for column in columns:
        ids, rows = documents_of(table[column])
        mask[rows[forgotten.mask(ids)]] = True
    if mask.any():
        put_table(root, name, table.filter(pa.array(~mask)))
    return int(mask.sum())


def _lists_documents(kind: pa.DataType) -> bool:
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_struct(kind.value_type):
        return False
    return bool(kind.value_type.get_field_index("id") >= 0)


def _noted(root: Root) -> int:
    """Return how many documents should be on the list; 0 when that is unknown."""
    try:
        return Published.load(root).forgotten
    except DataError:
        return 0


_CURE = "put it back from a backup"
