"""What every reader shares: its options, the listing that shows whether anything changed, and the table it yields.

A reader is an options class and two pure functions, put together as a `SourceFormat` that the registry lists:

    read(path, options) -> Iterator[pa.Table]      tables of at most `batch_rows` rows, in DOCUMENTS of stores/schemas
    files(path, options) -> Iterator[SourceFile]   every file that `read` or the images depend on

Nothing is decoded here. A row that cannot be used stays, with a slug in `status`; a row whose id cannot be read has
a null id, so rows in = documents + rows with a null id.
"""

import codecs
import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from encodings.aliases import aliases
from typing import Annotated, ClassVar, Generic, Literal, NamedTuple, Protocol, Self, TypeAlias, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, field_validator, model_validator

from fuseline.models.config import FrozenConfig, added, runtime_option
from fuseline.stores.errors import mismatch
from fuseline.stores.schemas import DOCUMENTS, IMAGE
from fuseline.tasks.options import parse_options

Split = Literal["train", "valid", "test"]
BAD_SPLIT = "bad_split"  # status of a row whose split is none of ours; it keeps its fields, `split` is null
ARCHIVES = (".tar", ".parquet")  # what `images.archive` may be
ColumnValues: TypeAlias = pa.Array | Sequence[object]


def _known_encoding(name: str) -> str:
    """Return the name of a text encoding; ValueError with the nearest names for any other."""
    if _decodes(name):
        return name
    names = {one.replace("_", "-") for one in (*aliases, *aliases.values()) if _decodes(one)}
    close = difflib.get_close_matches(name.lower().replace("_", "-"), sorted(names), n=3)
    cure = f"did you mean {' or '.join(map(repr, close))}?" if close else "utf-8, utf-16, latin-1 and cp1252 are usual"
    raise ValueError(f"expected the name of a text encoding, got {name!r}; {cure}")


def _decodes(name: str) -> bool:
    """Return whether a codec turns bytes into text, whatever they are, piece by piece."""
    try:
        b"ab".decode(name, "replace")  # LookupError for a codec that is not for text
        codecs.getincrementaldecoder(name)("replace")
    except (LookupError, UnicodeError, TypeError, ValueError):
        return False
    return True


Encoding = Annotated[str, AfterValidator(_known_encoding)]


class ImageOptions(FrozenConfig):
    """How the rows of a source come to their images."""

    mode: Literal["reference", "copy"] = Field(
        "reference", description="reference: documents name their images; copy: they hold the bytes"
    )
    pattern: str | None = Field(
        None,
        min_length=1,
        description='Path of each row\'s image, with columns of the row in braces: "images/{id}.jpg"',
    )
    archive: str | None = added(
        None,
        description="File beside the table that holds the images by name: an uncompressed tar, which is read where it "
        "lies, or a Parquet file with a column of names and one of bytes",
    )

    @field_validator("archive")
    @classmethod
    def _known_kind(cls, archive: str | None) -> str | None:
        if archive is not None and not archive.lower().endswith(ARCHIVES):
            cure = "unpack it, or pack the images as a tar without compression"
            raise ValueError(f"expected a name that ends in {' or '.join(ARCHIVES)}, got {archive!r}; {cure}")
        return archive


class ReaderOptions(FrozenConfig):
    """What every reader understands; each limit bounds hostile input and marks what goes over it.

    Endpoint, key and other options of a store (s3://...) are not set here, so that no secret enters a configuration,
    a key or a log: fsspec reads them from FSSPEC_S3='{"endpoint_url": ..., "key": ..., "secret": ...}', or
    '{"anon": true}', from ~/.config/fsspec/*.json, and s3fs from AWS's own files and variables.
    """

    root: str | None = Field(
        None,
        description="Folder or URL where image references start; default: the folder of the source. Options of a store "
        "(endpoint_url, key, secret, anon) come from the environment, FSSPEC_S3='{...}', or ~/.config/fsspec/*.json",
    )
    images: Literal["reference", "copy"] | ImageOptions = Field(
        "reference",
        description="reference; copy: the bytes go into the documents; or both choices by name: "
        '{mode: copy, pattern: "images/{id}.jpg"}, where the rows of a table name no image file; '
        "{archive: images.tar}, where they name members of an archive",
    )
    max_image_bytes: int = Field(
        64 << 20, ge=1, description="Bytes of an image that is copied; a larger one is `too_large`"
    )
    max_line_bytes: int = Field(
        16 << 20, ge=1024, le=1 << 30, description="Bytes of a line or field; a longer one is a row `too_large`"
    )
    max_ratio: int = Field(
        250, ge=2, description="Unpacked bytes per packed byte of a compressed file, looked at after the first 64 MiB"
    )
    max_unpacked_bytes: int = Field(1 << 42, ge=1, description="Unpacked bytes of one compressed file")
    follow_links: bool = Field(
        False, description="Follow symbolic links that lead images out of their root; else such a row is `outside`"
    )
    batch_rows: int = runtime_option(4096, ge=1, le=8192, description="Rows that are read at once")
    watch_images: bool = runtime_option(
        True, description="List the image files too, to see an image that changed in place"
    )

    patterned: ClassVar[bool] = False  # whether `images.pattern` can be followed: the rows' own columns are at hand
    archived: ClassVar[bool] = False  # whether `images.archive` is looked into

    @field_validator("images", mode="before")
    @classmethod
    def _images_by_name(cls, value: object) -> object:
        if isinstance(value, dict):
            return parse_options(ImageOptions, value, field="")
        if not isinstance(value, ImageOptions) and value not in ("reference", "copy"):
            raise ValueError(
                f"expected reference, copy or {{mode, pattern, archive}}, got {value!r}; choose one of them"
            )
        return value

    @model_validator(mode="after")
    def _no_pattern_in_vain(self) -> Self:
        if self.image_pattern is not None and not self.patterned:
            cure = "leave it out: this reader knows where the images of its layout lie"
            raise ValueError(mismatch("images.pattern", "no pattern", self.image_pattern, cure))
        if self.image_archive is not None and not self.archived:
            cure = "leave it out: only tables (csv, jsonl, parquet) have their images in an archive beside them"
            raise ValueError(mismatch("images.archive", "no archive", self.image_archive, cure))
        return self

    @property
    def image_pattern(self) -> str | None:
        """The pattern of the images' paths; None where the rows name them."""
        return self.images.pattern if isinstance(self.images, ImageOptions) else None

    @property
    def image_archive(self) -> str | None:
        """The archive that holds the images, below the image root; None where they are files."""
        return self.images.archive if isinstance(self.images, ImageOptions) else None

    @property
    def copies_images(self) -> bool:
        """Whether the images' bytes go into the documents."""
        return (self.images.mode if isinstance(self.images, ImageOptions) else self.images) == "copy"


class SourceFile(NamedTuple):
    """One file that a source depends on; equal lists mean that nothing changed."""

    uri: str  # relative to the source's image root where it lies inside, else as found
    size: int
    mtime_ns: int


OptionsT = TypeVar("OptionsT", bound=ReaderOptions)
OptionsT_contra = TypeVar("OptionsT_contra", bound=ReaderOptions, contravariant=True)


class Reader(Protocol[OptionsT_contra]):
    """A source format: yields documents batch by batch, in an order that depends on the files alone."""

    def __call__(self, path: str, options: OptionsT_contra) -> Iterator[pa.Table]: ...


class Finding(NamedTuple):
    """A fault among the files of a source that belongs to no row (R4)."""

    slug: str  # one of FINDINGS
    place: str  # the file, or "file:line"
    id: str | None = None  # of the document that it is about


# names of n files, "archive:offset" within one -> which of them a row refers to, (n,)
Refers = Callable[[list[str]], NDArray[np.bool_]]


class SourceFormat(NamedTuple, Generic[OptionsT]):
    """A source format as the registry lists it: its name, its options and the functions that read it."""

    kind: str  # its name in the registry
    summary: str  # one line for `fuseline list`
    options: type[OptionsT]
    read: Reader[OptionsT]
    files: Callable[[str, OptionsT], Iterator[SourceFile]]
    published: Mapping[str, int] = {}  # counts that the release is known by, e.g. {"train": 67988}
    vocabulary: Callable[[str, OptionsT], tuple[str, ...]] | None = None  # the release's own label order
    findings: Callable[[str, OptionsT, Refers], Iterator[Finding]] | None = None
    looks_for: str = ""  # the files that make such a source, for messages
    columns: Callable[[str, OptionsT], list[str]] | None = None  # names of a table's columns, to choose roles by


def documents(
    rows: int, *, source: ColumnValues, extra: Mapping[str, pa.Array] | None = None, **columns: ColumnValues | None
) -> pa.Table:
    """Build a table in the DOCUMENTS schema from the columns that a reader has.

    `source` is "file", "file:row" or "archive:member", where no member is a number alone: ingest takes rows apart.
    Absent columns become null, `status` "ok" and `labels` empty. `extra` holds num_* and cat_* columns.
    """
    arrays = {"source": source, **columns}
    arrays.setdefault("status", pa.repeat(pa.scalar("ok"), rows))
    arrays.setdefault("labels", pa.repeat(pa.scalar([], pa.list_(pa.string())), rows))
    table = {field.name: _typed(arrays.get(field.name), field.type, rows) for field in DOCUMENTS}
    names = [*DOCUMENTS.names, *(extra or {})]
    fields = [*DOCUMENTS, *(pa.field(name, array.type) for name, array in (extra or {}).items())]
    return pa.table([table.get(name, (extra or {}).get(name)) for name in names], schema=pa.schema(fields))


def _typed(column: ColumnValues | None, kind: pa.DataType, rows: int) -> pa.Array:
    if column is None:
        return pa.nulls(rows, kind)
    if isinstance(column, pa.Array):
        array = column
    else:
        array = strings(column) if kind == pa.string() else pa.array(column, kind)
    return array if array.type == kind else array.cast(kind)


def image_array(
    uri: ColumnValues,
    *,
    offset: ColumnValues | None = None,
    length: ColumnValues | None = None,
    data: ColumnValues | None = None,
) -> pa.StructArray:
    """Build the image column; a row that has neither a uri nor bytes is null."""
    rows = len(next(column for column in (uri, data) if column is not None))
    given = [uri, offset, length, data]
    parts = [_typed(column, field.type, rows) for column, field in zip(given, IMAGE, strict=True)]
    absent = pc.and_(parts[0].is_null(), parts[3].is_null())
    return pa.StructArray.from_arrays(parts, fields=list(IMAGE), mask=absent)


def mark(table: pa.Table, bad: pa.Array, slug: str | pa.Array, *, blank: bool = True) -> pa.Table:
    """Return the table with `slug` in the status of the rows where `bad` is True.

    With `blank`, their fields become null too, all but id and source. A first slug is never replaced.
    """
    if not pc.any(bad).as_py():
        return table
    fresh = pc.and_(bad, pc.equal(table["status"], "ok"))
    status = pc.if_else(fresh, slug, table["status"])
    table = table.set_column(table.schema.get_field_index("status"), DOCUMENTS.field("status"), status)
    if not blank:
        return table
    for index, field in enumerate(table.schema):
        if field.name not in ("id", "source", "status"):
            empty = pa.scalar([], field.type) if field.name == "labels" else pa.scalar(None, field.type)
            table = table.set_column(index, field, pc.if_else(bad, empty, table[field.name]))
    return table


def strings(values: Sequence[object]) -> pa.Array:
    """Return a string column; text that is not valid UTF-8, as in file names, is escaped with backslashes."""
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:
        escaped = [
            text.encode("utf-8", "backslashreplace").decode() if isinstance(text, str) else text for text in values
        ]
        return pa.array(escaped, pa.string())


def numbered(where: str, lines: Sequence[int]) -> pa.Array:
    """Return "where:line" for each line, (n,) string."""
    return pc.binary_join_element_wise(strings([where])[0], pa.array(lines, pa.int64()).cast(pa.string()), ":")


def faults(sources: ColumnValues, slugs: Sequence[str], ids: ColumnValues | None = None) -> pa.Table:
    """Return rows that hold only their source and status."""
    return documents(len(sources), source=sources, status=list(slugs), id=ids)


def chosen(name: str | None) -> Split | None:
    """Translate a release's name of a split into ours; None when it is not one that we know."""
    return SPLIT_NAMES.get((name or "").strip().lower())


SPLIT_NAMES: dict[str, Split] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev", "development"), "valid"),
    **dict.fromkeys(("test", "testing", "tst", "eval"), "test"),
}
FINDINGS = {
    "no_row": "files that no row refers to",
    "no_sentiment": "descriptions without their sentiment file",
    "bad_sentiment": "sentiment files that cannot be read",
    "bad_metadata": "metadata files of photos that cannot be read",
    "photo_count": "rows whose photo count differs from their photos",
    "no_image": "texts without their image",
    "extra_line": "lines of files beside the metadata that belong to no row",
}
