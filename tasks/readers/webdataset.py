"""WebDataset tar shards: consecutive members with one key are one document, images stay in the archive."""

from collections.abc import Iterator
from typing import Any, ClassVar

import orjson
import pyarrow as pa

from fuseline.tasks.readers.archives import Member, tar_members
from fuseline.tasks.readers.base import SourceFile, SourceFormat, Split, image_array, mark, strings
from fuseline.tasks.readers.charsets import page_text
from fuseline.tasks.readers.image_files import copied, is_image
from fuseline.tasks.readers.manifests import finished, sources
from fuseline.tasks.readers.mapping import LINE, OBVIOUS, Role, TableOptions, map_rows, resolve
from fuseline.tasks.readers.overlay import overlay
from fuseline.tasks.readers.places import listed, manifests, relatives

SUFFIXES = (".tar", ".tgz")
TEXTS = frozenset({"txt", "json", "cls", "htm", "html", "title", "caption"})
PAGES = ("html", "htm")
KEY = "__key__"
BATCH_BYTES = 64 << 20  # of texts and packed images in one table, about
BOM = b"\xef\xbb\xbf"
FIELDS: dict[Role, str] = {"id": KEY, "text": "txt", "html": "html", "labels": "cls", "title": "title"}
LOOKS_FOR = "*.tar, *.tgz; each may be packed"


class WebdatasetOptions(TableOptions):
    """Options of the WebDataset reader; columns are the fields txt, html, htm, cls, title, and the keys of the json."""

    patterned: ClassVar[bool] = False


class Sample:
    """What consecutive members with one key hold; without a key, a member that is part of no document."""

    __slots__ = ("fields", "image", "key", "size", "slug", "source", "texts")

    def __init__(self, key: str | None, source: str, slug: str = "ok") -> None:
        self.key, self.source, self.slug = key, source, slug
        self.image: Member | None = None
        self.fields: list[str] = []  # of its members
        self.texts: dict[str, Any] = {}  # field -> text, and the keys of the json field
        self.size = 0  # bytes held


def read(path: str, options: WebdatasetOptions) -> Iterator[pa.Table]:
    """Yield one document per key and run, in the order of the archives.

    Statuses: bad_member (a link or a name that climbs out), bad_row (a field twice), bad_json, bad_encoding,
    too_large, bad_file, bomb, and map_rows'. Members without a dot are no part of any document. Texts are UTF-8, a page
    (html or htm) is in the charset that it names.
    """
    return copied(_read(path, options), path, options)


def _read(path: str, options: WebdatasetOptions) -> Iterator[pa.Table]:
    for file, name, split in sources(path, SUFFIXES):
        batch: list[Sample] = []
        held = 0
        for sample in samples(tar_members(file, options, keep=is_text), name, options):
            batch.append(sample)
            held += sample.size
            if len(batch) == options.batch_rows or held > BATCH_BYTES:
                yield from _tables(batch, name, options, split)
                batch, held = [], 0
        if batch:
            yield from _tables(batch, name, options, split)


def is_text(name: str) -> bool:
    """Return whether a member holds text that belongs to a document."""
    return name[name.rfind(".") + 1 :].lower() in TEXTS


def samples(members: Iterator[Member], archive: str, options: TableOptions) -> Iterator[Sample]:
    """Group members by key: the name up to the first dot of its last part; the rest, lower-cased, is the field."""
    sample: Sample | None = None
    errors = "strict" if options.encoding_errors == "mark" else "replace"
    for member in members:
        name, slug = member.name, member.slug
        if slug != "ok" and slug != "too_large":
            if sample is not None and slug != "bad_member":
                yield sample
                sample = None
            yield Sample(None, f"{archive}:{name}", slug)
            continue
        start = name.rfind("/") + 1
        dot = name.find(".", start)
        if dot <= start or (name.startswith("__", start) and name.endswith("__")) or _is_about_the_shard(name):
            continue
        key = name[:dot]
        if sample is None or sample.key != key:
            if sample is not None:
                yield sample
            sample = Sample(key, f"{archive}:{key}.*")
        _add(sample, name[dot + 1 :].lower(), member, errors)
    if sample is not None:
        yield sample


def _is_about_the_shard(name: str) -> bool:
    """Return whether a member describes its archive, as `__meta__/x.json` does."""
    return any(part.startswith("__") and part.endswith("__") and len(part) > 4 for part in name.split("/")[:-1])


def _add(sample: Sample, field: str, member: Member, errors: str) -> None:
    """Add a member to a sample."""
    if field in sample.fields:
        sample.slug = "bad_row"
        return
    sample.fields.append(field)
    data = member.data
    if data is not None:
        sample.size += len(data)
    if not is_text(field):
        if sample.image is None and is_image("." + field):
            sample.image = member
        return
    if data is None:
        sample.slug = member.slug
        return
    try:
        if field in PAGES:
            text = page_text(data, "utf-8", errors)
        else:
            text = (data[3:] if data.startswith(BOM) else data).decode("utf-8", errors)
        if field == "json":
            sample.texts = {**_object(text), **sample.texts}
        else:
            sample.texts[field] = text.strip() if field == "cls" else text
    except UnicodeDecodeError:
        sample.slug = "bad_encoding"
    except orjson.JSONDecodeError:
        sample.slug = "bad_json"


def _object(text: str) -> dict[str, object]:
    value = orjson.loads(text)
    return value if isinstance(value, dict) else {}


def _tables(batch: list[Sample], name: str, options: WebdatasetOptions, split: Split | None) -> Iterator[pa.Table]:
    bad = [sample.slug != "ok" for sample in batch]
    texts = [{} if is_bad else sample.texts for sample, is_bad in zip(batch, bad, strict=True)]
    seen = set().union(*(sample.texts for sample in batch)) | {KEY}
    fields = {role: field for role, field in FIELDS.items() if field in seen} | dict(options.columns)
    roles = resolve(options.model_copy(update={"columns": fields}), sorted(seen | {LINE}), where=name)
    roles.pop("image", None)  # a json field that names the image has no meaning here
    columns = {one: [row.get(one) for row in texts] for one in {*roles.values(), *options.tabular} - {KEY, LINE}}
    columns[KEY] = [sample.key for sample in batch]
    for role, field in FIELDS.items():  # where a field is absent, the json key of an obvious name stands in
        others = [one for one in OBVIOUS[role] if one in seen and one != field]
        if fields.get(role) == field and field != KEY and others:
            columns[field] = [_first(row, (field, *others)) for row in texts]
    places = strings([sample.source for sample in batch])
    table = overlay(map_rows(columns, places, options, roles, split=split), [one.slug for one in batch], bad)
    shown = [None if is_bad else sample.image for sample, is_bad in zip(batch, bad, strict=True)]
    yield from finished(with_images(table, shown, name), "", options)


def _first(row: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def with_images(table: pa.Table, members: list[Member | None], archive: str) -> pa.Table:
    """Put references into the archive, or the members' bytes, into the image column."""
    images = image_array(
        [archive if one and one.offset is not None else None for one in members],
        offset=[one.offset if one else None for one in members],
        length=[one.length if one and one.offset is not None else None for one in members],
        data=pa.array([one.data if one and one.offset is None else None for one in members], pa.large_binary()),
    )
    table = table.set_column(table.schema.get_field_index("image"), table.schema.field("image"), images)
    lost = pa.array([one is not None and one.slug != "ok" for one in members], pa.bool_())
    return mark(table, lost, "too_large", blank=False)


def files(path: str, options: WebdatasetOptions) -> Iterator[SourceFile]:
    """List the archives."""
    tars = manifests(path, SUFFIXES)
    return (listed(file, name) for file, name in zip(tars, relatives(tars, path), strict=True))


FORMAT = SourceFormat(
    "webdataset", "WebDataset tar shards", WebdatasetOptions, read, files,
    looks_for=LOOKS_FOR,
)  # fmt: skip
