"""Images that lie in an archive beside a table whose rows name them: a tar, or a Parquet file of names and bytes."""

import posixpath
from collections import OrderedDict
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fuseline.stores.errors import ConfigError, DataError, mismatch
from fuseline.tasks.readers.base import ARCHIVES, ReaderOptions, faults, image_array, mark
from fuseline.tasks.readers.places import Place, image_root, place, source_folder, source_names
from fuseline.tasks.readers.streams import is_packed
from fuseline.tasks.readers.tarindex import TarStore

ROWS = 256  # rows that come with their images' bytes at once
GROUPS = 2  # row groups of images that are kept in memory


def archive_place(path: str, options: ReaderOptions) -> Place | None:
    """Return the archive of a source's images; ConfigError where it is not there."""
    if options.image_archive is None:
        return None
    start = image_root(path, options)
    archive = place(start) / options.image_archive
    if not archive.exists():
        cure = "name the archive as it lies below source.options.root, by default the folder of the source"
        there = source_names(start, 5)
        raise ConfigError(mismatch("source.options.images.archive", options.image_archive, there, cure))
    return archive


def archived(tables: Iterable[pa.Table], path: str, options: ReaderOptions) -> Iterator[pa.Table]:
    """Yield the tables with references to members of `images.archive` replaced by where these lie, or by their bytes.

    A reference to no member stays, so that its image counts as missing. Members of a tar that cannot be used
    (bad_member) or read (bad_file) follow as rows without an id. Raises DataError for a compressed archive.
    """
    archive = archive_place(path, options)
    if archive is None or options.image_archive is None:
        yield from tables
    elif is_packed(archive):
        cure = "unpack it with gunzip, bunzip2 or zstd, so that its members can be read where they lie"
        name = options.image_archive
        raise DataError(mismatch("source.options.images.archive", "an uncompressed tar", name, cure))
    elif options.image_archive.lower().endswith(".tar"):
        store = tar_store(path, options)
        yield from (_placed(table, store) for table in tables)
        yield from (faults([source], [slug]) for source, slug in store.faults())
    else:
        with archive.open() as stream:
            images = ParquetImages(pq.ParquetFile(stream), options.image_archive)
            for table in tables:
                yield from (_filled(table.slice(at, ROWS), images) for at in range(0, len(table), ROWS))


def tar_store(path: str, options: ReaderOptions) -> TarStore:
    """Return the files below the image root as if the archive were unpacked where it lies."""
    name = options.image_archive or ""

    def naming(tar: str, member: str) -> str:
        return posixpath.join(posixpath.dirname(tar), member)

    return TarStore(place(image_root(path, options)), [name], options, naming)


def _placed(table: pa.Table, store: TarStore) -> pa.Table:
    images = table["image"].combine_chunks()
    uris = images.field("uri")
    if uris.null_count == len(uris):
        return table
    found, bad = store.images(uris)
    parts = {name: found.field(name) for name in ("offset", "length")}
    placed = image_array(found.field("uri"), **parts, data=images.field("bytes"))
    return mark(_with_images(table, placed), bad, "bad_member", blank=False)


def _filled(table: pa.Table, store: "ParquetImages") -> pa.Table:
    images = table["image"].combine_chunks()
    uris = images.field("uri").to_pylist()
    data = store.read(uris)
    kept = [uri if one is None else None for uri, one in zip(uris, data, strict=True)]
    read = pc.coalesce(pa.array(data, pa.large_binary()), images.field("bytes"))
    return _with_images(table, image_array(kept, data=read))


def _with_images(table: pa.Table, images: pa.StructArray) -> pa.Table:
    return table.set_column(table.schema.get_field_index("image"), table.schema.field("image"), images)


def archives_beside(path: str) -> list[str]:
    """Return the names of what may be archives of images in a source's folder, `images.*` first."""
    folder = source_folder(path)
    names = [posixpath.basename(str(name)) for name in folder.fs.ls(folder.path, detail=False)]
    there = sorted(name for name in names if name.lower().endswith(ARCHIVES) and folder / name != place(path))
    return sorted((name for name in there if _may_hold_images(folder / name)), key=lambda name: name[:6] != "images")


def _may_hold_images(archive: Place) -> bool:
    if not archive.path.lower().endswith(".parquet"):
        return True
    try:
        with archive.open() as stream:
            name_and_bytes(pq.read_schema(stream), archive.name)
    except (DataError, pa.ArrowException, OSError):
        return False
    return True


class ParquetImages:
    """The images of a Parquet file by name: names are read once, bytes by row group."""

    def __init__(self, file: pq.ParquetFile, name: str) -> None:
        self._file = file
        self._names, self._bytes = name_and_bytes(file.schema_arrow, name)
        keys = file.read(columns=[self._names])[self._names].cast(pa.string())
        self._rows = {key: row for row, key in enumerate(keys.to_pylist())}
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        self._starts: NDArray[np.int64] = np.cumsum([0, *sizes])
        self._held: OrderedDict[int, pa.ChunkedArray] = OrderedDict()

    def read(self, names: list[str | None]) -> list[bytes | None]:
        """Return the bytes (n,) of images; None for a name that the file does not have."""
        found = {at: self._rows[name] for at, name in enumerate(names) if name is not None and name in self._rows}
        data: list[bytes | None] = [None] * len(names)
        for at, row in sorted(found.items(), key=lambda pair: pair[1]):
            group = int(np.searchsorted(self._starts, row, side="right")) - 1
            data[at] = self._group(group)[row - int(self._starts[group])].as_py()
        return data

    def _group(self, group: int) -> pa.ChunkedArray:
        if group not in self._held:
            self._held[group] = self._file.read_row_group(group, columns=[self._bytes])[self._bytes]
            if len(self._held) > GROUPS:
                self._held.popitem(last=False)
        return self._held[group]


def name_and_bytes(schema: pa.Schema, file: str) -> tuple[str, str]:
    """Return the columns of a Parquet file of images: the one of texts and the one of bytes; DataError without them."""
    texts = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]
    data = [field.name for field in schema if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type)]
    names = [name for name in texts if name in NAMES] or texts
    if not names or len(data) != 1:
        cure = f"keep one column of bytes, and one of names ({', '.join(NAMES)})"
        raise DataError(mismatch(f"columns of {file}", "names and bytes of images", schema.names, cure))
    return names[0], data[0]


NAMES = ("name", "file_name", "path", "image", "key", "id")
