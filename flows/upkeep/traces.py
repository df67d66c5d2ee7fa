"""Look through every file of an output root for documents that were forgotten."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr

from fuseline.reports.redact import shown, tells_all
from fuseline.stores.atomic import is_partial
from fuseline.stores.forgotten import Forgotten, documents_of, naming
from fuseline.stores.layouts.files import UNREADABLE
from fuseline.tasks.evaluation.contact_sheet import drawn_documents

HISTORY = ".prefect"  # names of stages and shards, no ids


def find_traces(root: Path, forgotten: Forgotten) -> tuple[int, list[str]]:
    """Return how many files hold ids, and where forgotten ones are left, as sentences.

    Every Parquet file, Zarr group, report and contact sheet is opened, whether or not any record names it.
    """
    checked, places = 0, []
    for path in _files(root):
        name, left = path.relative_to(root).as_posix(), is_partial(path)
        if left:
            places.append(f"{name}: the left-over of a killed write, which may hold anything")
            continue
        try:
            ids = _ids(path)
        except UNREADABLE as error:
            places.append(f"{name}: cannot be read ({type(error).__name__})")
            continue
        checked += ids is not None
        found = int(forgotten.mask(pa.array(ids, pa.string())).sum()) if ids else 0
        if found:
            places.append(f"{name}: {found} forgotten")
        elif path.suffix == ".html" and not tells_all(path.read_text("utf-8")):
            places.append(f"{name}: shows pictures without saying of which documents")
    return checked, places


def _files(root: Path) -> Iterator[Path]:
    """Yield every file, and every Zarr group as one, but Prefect's history."""
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        whole = [name for name in folders if name.endswith(".zarr") or is_partial(here / name)]
        yield from (here / name for name in sorted([*whole, *files]))
        folders[:] = sorted(name for name in folders if name not in whole and (here != root or name != HISTORY))


def _ids(path: Path) -> list[str | None] | None:
    """Return the ids that a file holds; None for one that holds none by its kind."""
    if path.suffix == ".parquet":
        names = naming(pq.read_schema(path))
        table = pq.read_table(path, columns=names, partitioning=None)
        return [document for name in names for document in documents_of(table[name])[0].to_pylist()] if names else None
    if path.suffix == ".zarr":
        ids: list[str | None] = np.asarray(zarr.open_group(str(path), mode="r")["id"][:]).tolist()
        return ids
    if path.suffix == ".html":
        return list(shown(path.read_text("utf-8")))
    if path.suffix == ".png":
        return list(drawn_documents(path.read_bytes()) or [])
    return None
