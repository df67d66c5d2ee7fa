"""YFCC100M core metadata: tab-separated lines of 25 or 23 fields, parsed column by column."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from stores.errors import ConfigError, mismatch
from tasks.readers.aligned import AlignedLines
from tasks.readers.base import ReaderOptions, SourceFile, documents, mark, numbered
from tasks.readers.delimited import Fields, cut
from tasks.readers.images import copied, watched
from tasks.readers.mapping import as_tabular, as_text, check_ids
from tasks.readers.percent import decoded, decoded_lists
from tasks.readers.places import Place, companion, image_root, listed, place, relative, walk
from tasks.readers.streams import file_blocks, text_bytes
from tasks.readers.yfcc_images import Images, check_template, in_zips

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
Column = Callable[[str], pa.Array]  # the name of a field -> its values
LOOKS_FOR = "yfcc100m_dataset, yfcc100m_dataset-0.bz2 and the like"


class YfccOptions(ReaderOptions):
    """Options of the YFCC100M reader."""

    labels: Literal["usertags", "machinetags", "autotags", "none"] = Field(
        "usertags", description="Column that gives the labels"
    )
    autotags: str | None = Field(None, description="Expansion pack of lines id TAB concept:confidence,...")
    min_confidence: float = Field(0.5, ge=0, le=1, description="Confidence from which an autotag counts as a label")
    hashes: str | None = Field(None, description="For 23 columns: file of lines id TAB hash")
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

    Statuses: bad_row (not 25 or 23 fields), bad_encoding, video, misaligned (an aligned file speaks of another id),
    too_large, bad_file, bomb.
    """
    return copied(_read(path, options), path, options)


def _read(path: str, options: YfccOptions) -> Iterator[pa.Table]:
    check_columns(options)
    images = Images(path, options.image, options)
    packs = {name: _pack(path, name, options) for name in ("autotags", "hashes")}
    for file, name in core_files(path):
        width = 0
        for member, block in file_blocks(file, options):
            where = f"{name}/{member}" if member else name
            data, broken = text_bytes(block) if block.fault is None else (b"", None)
            fields = cut(data, "\t")
            width = width or told_width(fields)
            for start in range(0, len(fields), options.batch_rows):
                part = fields.part(start, start + options.batch_rows)
                places = numbered(where, range(block.first + start, block.first + start + len(part)))
                table = images.placed(_table(part, places, width or len(FIELDS), packs, images, options))
                if broken is not None and options.encoding_errors == "mark":
                    table = mark(table, pa.array(broken[start : start + len(part)]), "bad_encoding")
                if block.fault is not None:
                    yield refault(table, block.fault)
                elif rows := table if part.filled.all() else table.filter(pa.array(part.filled)):
                    yield rows


def refault(table: pa.Table, slug: str) -> pa.Table:
    """Return the table with another status: why the line could not be parsed."""
    return table.set_column(2, table.schema.field(2), pa.repeat(pa.scalar(slug), len(table)))


def told_width(fields: Fields) -> int:
    """Return 25 or 23, whichever more of the lines have; 0 when none has."""
    counts = {width: np.count_nonzero(fields.widths == width) for width in (len(FIELDS), len(OLD_FIELDS))}
    best = max(counts, key=lambda width: counts[width])
    return best if counts[best] else 0


def _table(
    fields: Fields,
    places: pa.Array,
    width: int,
    packs: dict[str, AlignedLines | None],
    images: Images,
    options: YfccOptions,
) -> pa.Table:
    rows, good = len(fields), fields.widths == width
    names = FIELDS if width == len(FIELDS) else OLD_FIELDS

    @cache
    def column(name: str) -> pa.Array:
        return fields.column(names.index(name), good) if name in names else pa.nulls(rows, pa.string())

    ids = column("photoid")
    hashes, shifted = _joined(packs["hashes"], ids, column("hash"))
    tags, moved = _joined(packs["autotags"], ids, pa.nulls(rows, pa.string()))
    video = pc.fill_null(pc.equal(column("marker"), "1"), False)
    table = documents(
        rows,
        id=pc.if_else(pc.equal(ids, ""), pa.scalar(None, pa.string()), ids),
        source=places,
        labels=_labels(column, tags, options),
        title=_decoded(column("title")),
        description=_decoded(column("description")),
        image=images.of(lambda name: hashes if name == "hash" else column(name), video),
        extra=_tabular(column, options),
    )
    table = mark(table, pa.array(~good), "bad_row")
    if options.videos == "mark":
        table = mark(table, video, "video")
    return check_ids(mark(table, pc.or_(shifted, moved), "misaligned", blank=False))


def _tabular(column: Column, options: YfccOptions) -> dict[str, pa.Array]:
    made = {}
    for name, kind in options.tabular.items():
        values = decoded(column(name)) if name in ENCODED else column(name)
        made[f"{'num' if kind == 'number' else 'cat'}_{name}"] = as_tabular(values, kind)
    return made


def _decoded(values: pa.Array) -> pa.Array:
    return as_text(decoded(values))[0]


def _labels(column: Column, autotags: pa.Array, options: YfccOptions) -> pa.Array:
    if options.labels == "none":
        return pa.array([[]] * len(autotags), pa.list_(pa.string()))
    if options.labels != "autotags":
        return decoded_lists(pc.fill_null(column(options.labels), ""), ",")
    labels = [confident(one, options.min_confidence) for one in autotags.to_pylist()]
    return pa.array(labels, pa.list_(pa.string()))


def confident(tags: str | None, least: float) -> list[str]:
    """Return the concepts of "dune:0.51,fog:0.86" whose confidence is at least `least`."""
    found = []
    for item in (tags or "").split(","):
        concept, _, score = item.rpartition(":")
        try:
            if concept and float(score) >= least:
                found.append(concept)
        except ValueError:
            continue
    return found


def _joined(pack: AlignedLines | None, ids: pa.Array, own: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return the values of an aligned file, and where it speaks of another id; `own` when there is no file."""
    if pack is None:
        return own, pa.array([False] * len(ids), pa.bool_())
    pairs = pack.pairs(len(ids))
    theirs = [one == known for (one, _), known in zip(pairs, ids.to_pylist(), strict=True)]
    values = [value if same else None for (_, value), same in zip(pairs, theirs, strict=True)]
    return pa.array(values, pa.string()), pc.and_(pc.invert(pa.array(theirs, pa.bool_())), ids.is_valid())


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
    found = place(path)
    if not found.is_dir():
        return [(found, relative(found, path))]
    names = [file.uri for file in walk(found) if file.uri.rsplit("/", 1)[-1].startswith("yfcc100m_dataset")]
    return [(found / name, name) for name in names if not name.endswith(".sql")]


def _pack(path: str, option: str, options: YfccOptions) -> AlignedLines | None:
    name: str | None = getattr(options, option)
    if name is None:
        return None
    return AlignedLines(companion(path, name, option), options)


def files(path: str, options: YfccOptions) -> Iterator[SourceFile]:
    """List the metadata, the expansion packs in use, and the images unless `watch_images` is off."""
    yield from (listed(file, name) for file, name in core_files(path))
    packs = {"autotags": options.autotags, "hashes": options.hashes}
    yield from (listed(companion(path, name, option), name) for option, name in packs.items() if name is not None)
    if not in_zips(options.image):
        yield from watched(path, options)
    elif options.watch_images:
        yield from (file for file in walk(place(image_root(path, options))) if file.uri.endswith(".zip"))
