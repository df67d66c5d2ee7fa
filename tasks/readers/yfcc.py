"""YFCC100M core metadata: tab-separated lines of 25 or 23 fields, parsed column by column."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from fuseline.stores.errors import ConfigError, DataError, mismatch
from fuseline.tasks.readers.base import (
    Finding,
    ReaderOptions,
    Refers,
    SourceFile,
    SourceFormat,
    documents,
    mark,
    numbered,
)
from fuseline.tasks.readers.delimited import Fields, cut
from fuseline.tasks.readers.image_files import copied, watched
from fuseline.tasks.readers.mapping import as_tabular, as_text, check_ids
from fuseline.tasks.readers.partners import IDS, PAIRS, Partners, extra_lines, joined
from fuseline.tasks.readers.percent import decoded, decoded_lists
from fuseline.tasks.readers.places import Place, companion, image_root, listed, place, relative, walk
from fuseline.tasks.readers.strays import stray_images
from fuseline.tasks.readers.streams import file_blocks, text_bytes
from fuseline.tasks.readers.yfcc_images import YfccImages, check_template, in_zips

# fmt: off
FIELDS = (
    "line", "photoid", "hash", "uid", "unickname", "datetaken", "dateuploaded", "capturedevice", "title", "description",
    "usertags", "machinetags", "longitude", "latitude", "accuracy", "pageurl", "downloadurl", "licensename",
    "licenseurl", "serverid", "farmid", "secret", "secretoriginal", "ext", "marker",
)
# fmt: on
OLD_FIELDS = tuple(name for name in FIELDS if name not in ("line", "hash"))  # the first release
ENCODED = frozenset({"unickname", "capturedevice", "title", "description", "usertags", "machinetags"})
PUBLISHED = {"documents": 100_000_000}
FieldReader = Callable[[str], pa.Array]  # the name of a field -> its values
LOOKS_FOR = "yfcc100m_dataset, yfcc100m_dataset-0.bz2 and the like"


class YfccOptions(ReaderOptions):
    """Options of the YFCC100M reader."""

    labels: Literal["usertags", "machinetags", "autotags", "none"] = Field(
        "usertags", description="Column that gives the labels"
    )
    autotags: str | None = Field(
        None, description="For labels: autotags: expansion pack of lines id TAB concept:confidence,..., joined by id"
    )
    min_confidence: float = Field(0.5, ge=0, le=1, description="Confidence from which an autotag counts as a label")
    hashes: str | None = Field(None, description="For 23 columns: file of lines id TAB hash, joined by id")
    lines: str | None = Field(None, description="For 23 columns: file of lines line number TAB id, joined by id")
    image: str | None = Field(
        "data/images/{h3}/{h6}/{hash}.{ext}",
        description="Path of an image of {hash} {h3} {h6} {id} {line} {ext} {l2} {l3} {m3}; null = none. {ext} is mp4"
        " for videos and else jpg, or the original extension where only such a file is there. After `.zip/`"
        " a member: `images/{l2}/{l3}.zip/{m3}.jpg` (line numbers of 8 digits), `{h3}.zip/{hash}.jpg` (4,096 zips)",
    )
    tabular: dict[str, Literal["number", "category"]] = Field(
        default_factory=dict, description="Further columns to keep, such as longitude: number"
    )
    videos: Literal["mark", "keep"] = Field(
        "mark",
        description="mark: a video is a row with status `video` and nothing else; keep: it is a document like others",
    )
    encoding_errors: Literal["mark", "replace"] = Field(
        "replace", description="What bytes that are not UTF-8 do: become U+FFFD (replace), or mark the row"
    )


def read(path: str, options: YfccOptions) -> Iterator[pa.Table]:
    """Yield one document per line; titles, descriptions and tags percent-decoded, plus signs as spaces.

    What 23 columns lack, and autotags, are joined by id from files beside them, in any order and in bounded memory.
    A field that a row has of its own stays. Statuses: bad_row (not 25 or 23 fields), bad_encoding, video, no_hash,
    no_line, no_autotags (such a file has no line for the row, which stays), too_large, bad_file, bomb.

    Raises:
        DataError: such a file has none of the ids.
    """
    return copied(_read(path, options), path, options)


def _read(path: str, options: YfccOptions) -> Iterator[pa.Table]:
    check_columns(options)
    images = YfccImages(path, options.image, options)
    with _partners(path, options) as partners:
        for part in _parts(path, options):
            table = images.placed(_table(part, partners, images, options))
            if part.broken is not None and options.encoding_errors == "mark":
                table = mark(table, pa.array(part.broken), "bad_encoding")
            if part.fault is not None:
                yield refault(table, part.fault)
            elif rows := table if part.fields.filled.all() else table.filter(pa.array(part.fields.filled)):
                yield rows


class LineBatch(NamedTuple):
    """Some lines of a file, or one fault."""

    fields: Fields
    where: str
    first: int  # number of the first line
    width: int  # fields of a line of this file, 25 or 23
    fault: str | None
    broken: list[bool] | None  # which lines were no UTF-8; None when all were

    def column(self, name: str) -> pa.Array:
        """Return a field of each line, (n,) string; null in a line of another width, or where no line has it."""
        names = FIELDS if self.width == len(FIELDS) else OLD_FIELDS
        if name not in names:
            return pa.nulls(len(self.fields), pa.string())
        return self.fields.column(names.index(name), self.fields.widths == self.width)

    def ids(self) -> pa.Array:
        """Return the id of each line, (n,) string; null without one."""
        ids = self.column("photoid")
        return pc.if_else(pc.equal(ids, ""), pa.scalar(None, pa.string()), ids)


def _parts(path: str, options: YfccOptions) -> Iterator[LineBatch]:
    """Yield the lines of all files, blank ones too, `batch_rows` at a time."""
    for file, name in core_files(path):
        width = 0
        for member, block in file_blocks(file, options):
            where = f"{name}/{member}" if member else name
            data, broken = text_bytes(block) if block.fault is None else (b"", None)
            fields = cut(data, "\t")
            width = width or told_width(fields)
            for start in range(0, len(fields), options.batch_rows):
                stop = start + options.batch_rows
                bad = None if broken is None else broken[start:stop]
                first = block.first + start
                yield LineBatch(fields.part(start, stop), where, first, width or len(FIELDS), block.fault, bad)


def refault(table: pa.Table, slug: str) -> pa.Table:
    """Return the table with another status: why the line could not be parsed."""
    return table.set_column(2, table.schema.field(2), pa.repeat(pa.scalar(slug), len(table)))


def told_width(fields: Fields) -> int:
    """Return 25 or 23, whichever more of the lines have; 0 when none has."""
    counts = {width: np.count_nonzero(fields.widths == width) for width in (len(FIELDS), len(OLD_FIELDS))}
    best = max(counts, key=lambda width: counts[width])
    return best if counts[best] else 0


def _table(part: LineBatch, partners: Mapping[str, Partners], images: YfccImages, options: YfccOptions) -> pa.Table:
    rows, ids = len(part.fields), part.ids()
    joined = {BESIDE[option].field: one.take(rows) for option, one in partners.items()}

    @cache
    def column(name: str) -> pa.Array:
        own = part.column(name)
        if name not in joined:
            return own
        return pc.coalesce(pc.if_else(pc.equal(own, ""), pa.scalar(None, pa.string()), own), joined[name])

    video = pc.fill_null(pc.equal(column("marker"), "1"), False)
    table = documents(
        rows,
        id=ids,
        source=numbered(part.where, range(part.first, part.first + rows)),
        labels=_labels(column, options),
        title=_decoded(column("title")),
        description=_decoded(column("description")),
        image=images.of(column, video),
        extra=_tabular(column, options),
    )
    table = mark(table, pa.array(part.fields.widths != part.width), "bad_row")
    if options.videos == "mark":
        table = mark(table, video, "video")
    for option in partners:
        lacks = pc.and_(column(BESIDE[option].field).is_null(), ids.is_valid())
        table = mark(table, lacks, BESIDE[option].status, blank=False)
    return check_ids(table)


def _tabular(column: FieldReader, options: YfccOptions) -> dict[str, pa.Array]:
    columns = {}
    for name, kind in options.tabular.items():
        values = decoded(column(name)) if name in ENCODED else column(name)
        columns[f"{'num' if kind == 'number' else 'cat'}_{name}"] = as_tabular(values, kind)
    return columns


def _decoded(values: pa.Array) -> pa.Array:
    return as_text(decoded(values))[0]


def _labels(column: FieldReader, options: YfccOptions) -> pa.Array:
    if options.labels == "none":
        return pa.array([[]] * len(column("photoid")), pa.list_(pa.string()))
    if options.labels != "autotags":
        return decoded_lists(pc.fill_null(column(options.labels), ""), ",")
    labels = [confident(one, options.min_confidence) for one in column("autotags").to_pylist()]
    return pa.array(labels, pa.list_(pa.string()))


def confident(tags: str | None, least: float) -> list[str]:
    """Return the concepts of "dune:0.51,fog:0.86" whose confidence is at least `least`."""
    concepts = []
    for item in (tags or "").split(","):
        concept, _, score = item.rpartition(":")
        try:
            if concept and float(score) >= least:
                concepts.append(concept)
        except ValueError:
            continue
    return concepts


class Beside(NamedTuple):
    """A file beside the metadata that is keyed by id."""

    field: str  # that it gives
    key: int  # where the id stands in its lines of two fields
    status: str  # of a row that it has nothing for
    blank: bool = False  # whether the value may be empty


BESIDE = {
    "hashes": Beside("hash", 0, "no_hash"),
    "lines": Beside("line", 1, "no_line"),
    "autotags": Beside("autotags", 0, "no_autotags", blank=True),
}


def beside(path: str, options: YfccOptions) -> dict[str, Place]:
    """Return option -> file, of the files beside the metadata that are in use."""
    names: dict[str, str | None] = {option: getattr(options, option) for option in BESIDE}
    if options.labels != "autotags":
        names["autotags"] = None
    return {option: companion(path, name, option) for option, name in names.items() if name is not None}


@contextmanager
def _partners(path: str, options: YfccOptions) -> Iterator[Mapping[str, Partners]]:
    """Yield the values of the files beside the metadata by option; DataError when one has none of the ids."""
    files = beside(path, options)
    if not files:
        yield {}
        return
    pairs = {option: _pairs(file, BESIDE[option], options) for option, file in files.items()}
    with joined(_ids(path, options), pairs) as partners:
        for option, one in partners.items():
            if not one.matched and any(table["id"].null_count < len(table) for table in _ids(path, options)):
                spec = BESIDE[option]
                form = " TAB ".join(("id", spec.field) if spec.key == 0 else (spec.field, "id"))
                first = next((line for table in _pairs(files[option], spec, options) for line in table["id"]), None)
                cure = f"take both from the same release; a line of this file is {form}"
                raise DataError(mismatch(f"source.options.{option}", "ids of the metadata", str(first), cure))
        yield partners


def _ids(path: str, options: YfccOptions) -> Iterator[pa.Table]:
    return (pa.table([part.ids()], schema=IDS) for part in _parts(path, options))


def _pairs(file: Place, spec: Beside, options: YfccOptions) -> Iterator[pa.Table]:
    """Yield the lines of a file, blank ones left out; those that are no pair, and faults, have a null id."""
    for _, block in file_blocks(file, options):
        if block.fault is not None:
            yield pa.table([[None], [None], [block.first]], schema=PAIRS)
            continue
        fields = cut(text_bytes(block)[0], "\t")
        ids, values = (fields.column(index, fields.widths == 2) for index in (spec.key, 1 - spec.key))
        if not spec.blank:
            ids = pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), ids)
        numbers = np.arange(block.first, block.first + len(fields))
        yield pa.table([ids, values, numbers], schema=PAIRS).filter(pa.array(fields.filled))


def check_columns(options: YfccOptions) -> None:
    """Refuse columns that the release does not have, and autotags without their file."""
    for name in options.tabular:
        if name not in FIELDS:
            raise ConfigError(mismatch("source.options.tabular", FIELDS, name, "name a column of the release"))
    check_template(options.image)
    if options.labels == "autotags" and options.autotags is None:
        cure = "set source.options.autotags to the expansion pack"
        raise ConfigError(mismatch("source.options.autotags", "a file, for labels: autotags", None, cure))


def core_files(path: str) -> list[tuple[Place, str]]:
    """Return the metadata files in order: the file itself, or those of a folder named yfcc100m_dataset*."""
    source = place(path)
    if not source.is_dir():
        return [(source, relative(source, path))]
    names = [file.uri for file in walk(source) if file.uri.rsplit("/", 1)[-1].startswith("yfcc100m_dataset")]
    return [(source / name, name) for name in names if not name.endswith(".sql")]


def files(path: str, options: YfccOptions) -> Iterator[SourceFile]:
    """List the metadata, the expansion packs in use, and the images unless `watch_images` is off."""
    yield from (listed(file, name) for file, name in core_files(path))
    yield from (listed(file, getattr(options, option)) for option, file in beside(path, options).items())
    if not in_zips(options.image):
        yield from watched(path, options)
    elif options.watch_images:
        yield from (file for file in walk(place(image_root(path, options))) if file.uri.endswith(".zip"))


def findings(path: str, options: YfccOptions, refers: Refers) -> Iterator[Finding]:
    """Yield the lines of the files beside the metadata that belong to no row, and the images that no row refers to."""
    for option, file in beside(path, options).items():
        lines = extra_lines(_ids(path, options), _pairs(file, BESIDE[option], options))
        yield from (Finding("extra_line", f"{getattr(options, option)}:{line}") for line in lines)
    if options.image is not None:
        yield from stray_images(path, options, refers)


FORMAT = SourceFormat(
    "yfcc", "YFCC100M core metadata, 25 or 23 columns", YfccOptions, read, files,
    published=PUBLISHED, findings=findings, looks_for=LOOKS_FOR,
)  # fmt: skip
