"""The protocol of a store, and the stores there are."""

from importlib import import_module
from typing import Protocol

import pyarrow as pa

from fuseline.stores.manifest import FileRecord
from fuseline.stores.root import Root


class Store(Protocol):
    """Whole shards in, chosen columns out; one writer per shard, no partial writes.

    A shard is addressed by its name, which contains its content digest: a new version never overwrites the old one.
    """

    def write(self, name: str, table: pa.Table) -> dict[str, FileRecord]:
        """Write a shard whole and durably; return its files by path relative to the store."""

    def read(self, name: str, files: dict[str, FileRecord], columns: tuple[str, ...] | None) -> pa.Table:
        """Return the named columns in the given order, or all; raises DamagedError when bytes fail their digest."""

    def has(self, files: dict[str, FileRecord]) -> bool:
        """Return whether every file is there with its size (no digest is computed)."""

    def damaged(self, files: dict[str, FileRecord]) -> list[str]:
        """Re-read every file and return those that are missing or differ from their digest."""

    def delete(self, name: str) -> None:
        """Remove a shard's bytes; an absent shard is fine."""

    def names(self) -> list[str]:
        """Return the names of all shards that lie in the store, recorded or not."""

    def files(self, name: str) -> dict[str, FileRecord]:
        """Return a shard's files as they lie there now, digested; none when it is absent."""

    def written(self, name: str) -> int:
        """Return when a shard was written: larger is later."""

    def file(self, name: str) -> str:
        """Return the name of a shard's file or folder, relative to the store."""


# Layout -> module and class: each is imported for the datasets that have it, Zarr above all.
LAYOUTS = {"parquet": ("parquet", "ParquetStore"), "zarr": ("zarr", "ZarrStore")}


def open_store(layout: str, folder: Root) -> Store:
    """Open the store of one dataset.

    Args:
        layout: a key of LAYOUTS.
        folder: where the dataset lies.
    """
    module, name = LAYOUTS[layout]
    store: Store = getattr(import_module(f"fuseline.stores.layouts.{module}"), name)(folder)
    return store
