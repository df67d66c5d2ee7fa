"""Look through every file of an output root for documents that were forgotten."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr

from fuseline.reports.redact import shown, tells_all
from fuseline.stores.forgotten import Forgotten, documents_of, naming
from fuseline.stores.layouts.files import UNREADABLE
from fuseline.stores.root import Root
from fuseline.tasks.evaluation.contact_sheet import drawn_documents

HISTORY = ".prefect"  # names of stages and shards, no ids


def find_traces(root: Root, forgotten: Forgotten) -> tuple[int, list[str]]:
    """Return how many files hold ids, and where forgotten ones are left, as sentences.

    Every Parquet file, Zarr group, report and contact sheet is opened, whether or not any record names it.
    """
    checked, places = 0, []
    places += [f"{name}: the left-over of a killed write, which may hold anything" for name in root.leftovers()]
    for name in _files(root):
        try:
            ids = _ids(root, name)
        except UNREADABLE as error:
            places.append(f"{name}: cannot be read ({type(error).__name__})")
            continue
        checked += ids is not None
        count = int(forgotten.mask(pa.array(ids, pa.string())).sum()) if ids else 0
        if count:
            places.append(f"{name}: {count} forgotten")
        elif name.endswith(".html") and not tells_all(root.get(name).decode()):
            places.append(f"{name}: shows pictures without saying of which documents")
    return checked, places


def _files(root: Root) -> list[str]:
    """Return every file, and every Zarr group as one, but Prefect's history."""
    names = (name for name in root.list() if not name.startswith(f"{HISTORY}/"))
    return list(dict.fromkeys(_GROUP.sub(r"\1", name) for name in names))


def _ids(root: Root, name: str) -> list[str | None] | None:
    """Return the ids that a file holds; None for one that holds none by its kind."""
    if name.endswith(".parquet"):
        with root.reading(name) as path:
            names = naming(pq.read_schema(path))
            table = pq.read_table(path, columns=names, partitioning=None)
        return [document for name in names for document in documents_of(table[name])[0].to_pylist()] if names else None
    if name.endswith(".zarr"):
        with root.reading(name) as path:
            ids: list[str | None] = np.asarray(zarr.open_group(str(path), mode="r")["id"][:]).tolist()
        return ids
    if name.endswith(".html"):
        return list(shown(root.get(name).decode()))
    if name.endswith(".png"):
        return list(drawn_documents(root.get(name)) or [])
    return None


_GROUP = re.compile(r"(\.zarr)/.*")
