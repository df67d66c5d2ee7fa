"""Which documents must never come back: keyed hashes of their ids, never the ids themselves."""

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import blake3
import numpy as np
import pyarrow as pa
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


def erase_from_file(path: Path, forgotten: Forgotten) -> int:
    """Take forgotten documents out of a Parquet file with a column `id`, atomically; return how many rows went."""
    if not path.exists() or "id" not in pq.read_schema(path).names:
        return 0
    table = pq.read_table(path, partitioning=None)
    mask = forgotten.mask(table["id"])
    if mask.any():
        with atomic_file(path) as partial:
            write_table(partial, table.filter(pa.array(~mask)))
    return int(mask.sum())
