"""multimodal_imdb.hdf5: posters that were stored with their means subtracted, genres and word numbers."""

import json
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fuseline.stores.errors import ConfigError, DataError, mismatch
from fuseline.tasks.readers.base import Split, chosen, documents, image_array
from fuseline.tasks.readers.places import place

MEANS = (103.939, 116.779, 123.68)  # blue, green, red: what the release subtracted before it cut to integers
USED = ("imdb_ids", "genres", "sequences", "images")
ROWS = 64  # of posters at once: 64 x 3 x 256 x 160 int32 = 31 MB
SPLITS: tuple[tuple[int, int, Split], ...] = ((0, 15_552, "train"), (15_552, 18_160, "valid"), (18_160, 25_959, "test"))


def read(path: str, words_file: str | None) -> Iterator[pa.Table]:
    """Yield the rows of the file; posters come back as uncompressed BMP bytes, 256 x 160 pixels.

    ConfigError without h5py, DataError when the file is no such file. metadata.npy is never opened: it is a pickle
    (R12); the words behind its numbers come from `words_file`, one a line.
    """
    try:
        import h5py
    except ImportError as error:
        cure = "pip install 'fuseline[hdf5]'"
        raise ConfigError(mismatch("source.reader mmimdb with an .hdf5 file", "h5py", "not installed", cure)) from error
    if words_file and not Path(words_file).is_file():
        cure = "give the path of a text file of one word a line"
        raise ConfigError(mismatch("source.options.words", "a file", words_file, cure))
    words = Path(words_file).read_text(encoding="utf-8", errors="replace").splitlines() if words_file else []
    try:
        with place(path).open() as raw, h5py.File(raw, "r") as file:
            for name in USED:
                refuse_elsewhere(file, name)
            ids, names = file["imdb_ids"][:], _names(file["genres"].attrs["target_names"])
            splits = row_splits(file, len(ids))
            for start in range(0, len(ids), ROWS):
                part = slice(start, start + ROWS)
                yield _table(file, part, ids[part], splits[part], names, words, place(path).name)
    except (OSError, KeyError, TypeError, ValueError) as error:
        cure = "download it again; expected images, genres and imdb_ids in it"
        raise DataError(mismatch(path, "the Fuel file of MM-IMDB", str(error), cure)) from error


def refuse_elsewhere(file: Any, name: str) -> None:
    """Raise DataError for a dataset whose numbers lie in another file or dataset: HDF5 would open any path for it."""
    import h5py

    link = file.get(name, getlink=True)
    if link is None:
        return
    dataset = file[name] if isinstance(link, h5py.HardLink) else None
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        cure = "take the original release, which holds its own numbers"
        raise DataError(mismatch(f"dataset {name}", "numbers that lie in the file itself", "a link elsewhere", cure))


def _names(attribute: Any) -> list[str]:
    text = attribute.decode() if isinstance(attribute, bytes) else attribute
    return [str(name) for name in (json.loads(text) if isinstance(text, str) else text)]


def _table(
    file: Any, part: slice, ids: Any, splits: Sequence[Split | None], names: list[str], words: list[str], name: str
) -> pa.Table:
    hot = file["genres"][part]
    numbers = file["sequences"][part] if words and "sequences" in file else [()] * len(ids)
    return documents(
        len(ids),
        id=[one.decode("ascii", "replace") for one in ids],
        source=[f"{name}:{part.start + index}" for index in range(len(ids))],
        split=splits,
        labels=[[names[column] for column in np.flatnonzero(row)] for row in hot],
        text=[" ".join(words[number] for number in row if 0 <= number < len(words)) or None for row in numbers],
        image=image_array(None, data=[bitmap(rebuilt(poster)) for poster in file["images"][part]]),
    )


def row_splits(file: Any, total: int) -> list[Split | None]:
    """Return the split of each of `total` rows, from Fuel's split table; null for a row that it does not name.

    Without that attribute the release's bounds hold, for the whole release only. ValueError for a table of another
    form or bounds outside of the rows.
    """
    splits: list[Split | None] = [None] * total
    if "split" not in file.attrs:
        for first, end, split in SPLITS if total == SPLITS[-1][1] else ():
            splits[first:end] = [split] * (end - first)
        return splits
    table = np.asarray(file.attrs["split"])
    if not {"split", "start", "stop", "indices", "available"} <= set(table.dtype.names or ()):
        raise ValueError("its split table is none of Fuel's")
    for row in table[table["available"].astype(bool)]:
        start, stop = int(row["start"]), int(row["stop"])
        if not 0 <= start <= stop <= total:
            raise ValueError(f"its split table gives rows {start} to {stop} of {total}")
        rows = _indices(file, row["indices"]) if row["indices"] else np.arange(start, stop)
        if len(rows) and not 0 <= rows.min() <= rows.max() < total:
            raise ValueError(f"its split table names row {rows.max()} of {total}")
        name = row["split"].decode("ascii", "replace") if isinstance(row["split"], bytes) else str(row["split"])
        for index in rows.tolist():
            splits[index] = chosen(name)
    return splits


def _indices(file: Any, reference: Any) -> NDArray[np.int64]:
    dataset = file[reference]
    refuse_elsewhere(file, dataset.name)
    rows: NDArray[np.int64] = np.asarray(dataset[:], np.int64)
    return rows


def rebuilt(poster: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the pixels of a stored poster: (3, H, W) BGR with means subtracted -> (H, W, 3) RGB uint8."""
    pixels = poster.astype(np.float64) + np.array(MEANS)[:, None, None]
    # the integers were cut towards zero, so up to 1 is lost; rounding halves what is left of that
    whole: NDArray[np.uint8] = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return whole[::-1].transpose(1, 2, 0)


def bitmap(pixels: NDArray[np.uint8]) -> bytes:
    """Write (H, W, 3) RGB as a 24-bit BMP."""
    height, width, _ = pixels.shape
    pad = -3 * width % 4
    rows = np.zeros((height, 3 * width + pad), np.uint8)
    rows[:, : 3 * width] = pixels[::-1, :, ::-1].reshape(height, -1)
    body = rows.tobytes()
    head = struct.pack("<2sIHHI", b"BM", 54 + len(body), 0, 0, 54)
    return head + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(body), 2835, 2835, 0, 0) + body
