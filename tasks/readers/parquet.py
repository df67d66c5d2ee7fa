"""Parquet tables, with images as Hugging Face structs, plain bytes or paths: a file, or those of a folder."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fuseline.tasks.readers.base import ReaderOptions, SourceFile, SourceFormat, Split, faults, image_array, mark
from fuseline.tasks.readers.charsets import page_text
from fuseline.tasks.readers.image_files import COPY_ROWS, copied
from fuseline.tasks.readers.manifests import finished, sources, table_files
from fuseline.tasks.readers.mapping import LINE, TableOptions, map_rows, resolve, template_columns
from fuseline.tasks.readers.places import Place, safe_references
from fuseline.tasks.readers.strays import stray_images
from fuseline.tasks.readers.streams import DAMAGE as STREAM_DAMAGE
from fuseline.tasks.readers.streams import is_packed, members, poured

SUFFIXES = (".parquet", ".pq")
DAMAGE = (pa.ArrowException, OSError, ValueError)  # ArrowInvalid is a ValueError; a thrift error an OSError
LOOKS_FOR = "*.parquet, *.pq; each may be packed"


class ParquetOptions(TableOptions):
    """Options of the Parquet reader."""

    archived: ClassVar[bool] = True


def read(path: str, options: ParquetOptions) -> Iterator[pa.Table]:
    """Yield the documents of a Parquet source in file order.

    Statuses: bad_file (a damaged file or row group, one row for all its rows), bad_encoding, and map_rows'.
    Integer labels get the names that Hugging Face keeps in the schema.
    """
    return copied(read_files(path, options), path, options)


def read_files(path: str, options: ParquetOptions, suffixes: tuple[str, ...] = SUFFIXES) -> Iterator[pa.Table]:
    """Yield the documents of the files with these suffixes, image files as references."""
    for file, name, split in sources(path, suffixes, options):
        for where, opened in parquet_files(file, name, options):
            if isinstance(opened, str):
                yield faults([where], [opened])
            else:
                yield from _groups(opened, where, options, split)


def columns(path: str, options: ParquetOptions) -> list[str]:
    """Return the columns' names of the first file that can be opened; [] when none can."""
    opened = (
        one for file, name, _ in sources(path, SUFFIXES, options) for _, one in parquet_files(file, name, options)
    )
    return next((list(one.schema_arrow.names) for one in opened if not isinstance(one, str)), [])


def parquet_files(file: Place, name: str, options: ReaderOptions) -> Iterator[tuple[str, pq.ParquetFile | str]]:
    """Yield (name, open file) of a Parquet file, or of each that a packed one holds; (name, slug) where it is none.

    What is packed is unpacked to disk, for Parquet is read from its end. A file is closed when the next is asked for.
    """
    if not is_packed(file):
        yield from _opened(file.path if file.local else file.open(), name)
        return
    where = name
    with TemporaryDirectory(prefix="fuseline-") as folder:
        target = Path(folder) / "one.parquet"
        try:
            for member, stream in members(file, options):
                where = f"{name}/{member}" if member else name
                slug = poured(stream, target)
                yield from _opened(str(target), where) if slug == "ok" else [(where, slug)]
        except STREAM_DAMAGE:
            yield where, "bad_file"


def _opened(source: Any, name: str) -> Iterator[tuple[str, pq.ParquetFile | str]]:
    try:
        opened = pq.ParquetFile(source)
    except DAMAGE:
        yield name, "bad_file"
        return
    with opened:
        yield name, opened


def _groups(opened: pq.ParquetFile, name: str, options: ParquetOptions, split: Split | None) -> Iterator[pa.Table]:
    schema = opened.schema_arrow
    roles = resolve(options, schema.names, where=name)
    names = class_names(schema, roles.get("labels"))
    if names and not options.label_names:
        options = options.model_copy(update={"label_names": names})
    wanted = {name for column in roles.values() for name in template_columns(column)} | set(options.tabular)
    columns = sorted(wanted - {LINE})
    size = COPY_ROWS if "image" in roles and holds_bytes(schema, roles["image"]) else options.batch_rows
    row = 1
    for group in range(opened.num_row_groups):
        try:
            for batch in opened.iter_batches(min(size, options.batch_rows), row_groups=[group], columns=columns):
                places = [f"{name}:{row + index}" for index in range(batch.num_rows)]
                row += batch.num_rows
                yield from finished(_table(batch, places, options, roles, split), name, options)
        except DAMAGE:
            yield faults([f"{name}:{row}"], ["bad_file"])


def holds_bytes(schema: pa.Schema, column: str) -> bool:
    """Return whether the image column holds the images themselves."""
    return column in schema.names and not is_path(schema.field(column).type)


def is_path(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds paths of images, one or a list of them."""
    several = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    kind = kind.value_type if several else kind
    return bool(pa.types.is_string(kind) or (several and pa.types.is_large_string(kind)))


def class_names(schema: pa.Schema, column: str | None) -> tuple[str, ...]:
    """Return the label names that Hugging Face writes into the schema's metadata; () when there are none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        feature = features[column]
        names = feature.get("names") or feature.get("feature", {}).get("names")
    except (KeyError, ValueError, TypeError, AttributeError):
        return ()
    return tuple(str(name) for name in names) if isinstance(names, list) else ()


def _table(
    batch: pa.RecordBatch, places: list[str], options: ParquetOptions, roles: dict[str, str], split: Split | None
) -> pa.Table:
    columns, broken = {}, pa.array([False] * len(places))
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        is_page = name == roles.get("html") and is_binary(array.type)
        columns[name], odd = _pages(array, options.encoding) if is_page else whole_text(array)
        broken = pc.or_(broken, odd)
    column = roles.get("image", "")
    stored = column in columns and not is_path(columns[column].type)
    rest = {role: name for role, name in roles.items() if not (stored and role == "image")}
    table = map_rows(columns, places, options, rest, split=split)
    if stored:
        images, climbs = stored_images(columns[column])
        table = table.set_column(table.schema.get_field_index("image"), table.schema.field("image"), images)
        table = mark(table, climbs, "bad_path", blank=False)
    return mark(table, broken, "bad_encoding") if options.encoding_errors == "mark" else table


def _pages(array: pa.Array, encoding: str) -> tuple[pa.Array, pa.Array]:
    """Return the text of HTML pages, and which rows held bytes that are not in the charset they name."""
    texts, odd = [], []
    for raw in array.to_pylist():
        try:
            texts.append(None if raw is None else page_text(raw, encoding, "strict"))
            odd.append(False)
        except UnicodeDecodeError:
            texts.append(page_text(raw, encoding))
            odd.append(True)
    return pa.array(texts, pa.string()), pa.array(odd, pa.bool_())


def whole_text(array: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return a column whose strings are UTF-8, and which rows were not: Parquet does not promise it."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        array, kind = array.dictionary_decode(), kind.value_type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        array, kind = array.cast(pa.string()), pa.string()
    good = pa.array([False] * len(array), pa.bool_())
    if not pa.types.is_string(kind):
        return array, good
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        raws = array.view(pa.binary()).to_pylist()
        texts = [None if raw is None else raw.decode("utf-8", "replace") for raw in raws]
        odd = [text is not None and text.encode() != raw for raw, text in zip(raws, texts, strict=True)]
        return pa.array(texts, pa.string()), pa.array(odd)
    return array, good


def stored_images(array: pa.Array) -> tuple[pa.StructArray, pa.Array]:
    """Return images out of a struct {bytes, path}, plain binary, or a list of either; and which are refused.

    Beside bytes, `path` is only a hint and is left out.
    """
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        several = pc.greater(pc.fill_null(pc.list_value_length(array), 0), 0)
        index = pa.array(range(len(array)), pa.int64())
        taken = pc.list_element(array.filter(several), 0)
        places = pc.index_in(index, index.filter(several))
        return stored_images(taken.take(places))
    if not pa.types.is_struct(array.type):
        binary = array.cast(pa.large_binary()) if is_binary(array.type) else pa.nulls(len(array), pa.large_binary())
        return image_array(None, data=binary), pc.and_(array.is_valid(), binary.is_null())
    names = [field.name for field in array.type]
    data: Any = pc.struct_field(array, "bytes").cast(pa.large_binary()) if "bytes" in names else None
    data = pa.nulls(len(array), pa.large_binary()) if data is None else data
    paths = pc.struct_field(array, "path").cast(pa.string()) if "path" in names else pa.nulls(len(array), pa.string())
    uris, climbs = safe_references(pc.if_else(data.is_null(), paths, pa.scalar(None, pa.string())))
    return image_array(uris, data=data), climbs


def is_binary(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds bytes."""
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def files(path: str, options: ParquetOptions) -> Iterator[SourceFile]:
    """List the tables and the images beside them."""
    return table_files(path, options, SUFFIXES)


findings = stray_images


FORMAT = SourceFormat(
    "parquet", "Parquet tables, images as structs, bytes or paths", ParquetOptions, read, files,
    findings=findings, looks_for=LOOKS_FOR, columns=columns,
)  # fmt: skip
