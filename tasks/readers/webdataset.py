"""WebDataset tar shards: consecutive members with one key are one document, images stay in the archive."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from tasks.readers.archives import Member, tar_members
from tasks.readers.base import SourceFile, Split, image_array, mark
from tasks.readers.images import copied, is_image
from tasks.readers.mapping import LINE, OBVIOUS, Role, TableOptions, resolve
from tasks.readers.overlay import map_objects
from tasks.readers.places import listed, manifests, relative
from tasks.readers.tables import finished, sources

SUFFIXES = (".tar", ".tgz")
TEXTS = re.compile(r"\.(?:txt|json|cls|html?|title|caption)$", re.IGNORECASE)
KEY = "__key__"
FIELDS: dict[Role, str] = {"id": KEY, "text": "txt", "html": "html", "labels": "cls", "title": "title"}


class WebdatasetOptions(TableOptions):
    """Options of the WebDataset reader; columns are the fields txt, html, cls, title, and the keys of the json."""


class Sample(NamedTuple):
    """What consecutive members with one key hold."""

    key: str | None  # None: a member that is part of no document
    source: str
    texts: dict[str, Any]  # field -> text, and the keys of the json field
    image: Member | None
    slug: str


def read(path: str, options: WebdatasetOptions) -> Iterator[pa.Table]:
    """Yield one document per key and run, in the order of the archives.

    Statuses: bad_member (a link or a name that climbs out), bad_row (a field twice), bad_json, bad_encoding,
    too_large, bad_file, bomb, and map_rows'. Members without a dot are no part of any document.
    """
    return copied(_read(path, options), path, options)


def _read(path: str, options: WebdatasetOptions) -> Iterator[pa.Table]:
    for file, name, split in sources(path, SUFFIXES):
        batch: list[Sample] = []
        for sample in samples(tar_members(file, options, keep=TEXTS), name, options):
            batch.append(sample)
            if len(batch) == options.batch_rows:
                yield from _tables(batch, name, options, split)
                batch = []
        if batch:
            yield from _tables(batch, name, options, split)


def samples(members: Iterator[Member], archive: str, options: TableOptions) -> Iterator[Sample]:
    """Group members by key: the name up to the first dot of its last part; the rest, lower-cased, is the field."""
    sample: Sample | None = None
    for member in members:
        if member.slug in ("bad_member", "bad_file", "bomb"):
            if sample is not None and member.slug != "bad_member":
                yield sample
                sample = None
            yield Sample(None, f"{archive}:{member.name}", {}, None, member.slug)
            continue
        start = member.name.rfind("/") + 1
        dot = member.name.find(".", start)
        if dot <= start or (member.name.startswith("__", start) and member.name.endswith("__")):
            continue
        key, field = member.name[:dot], member.name[dot + 1 :]
        if sample is None or sample.key != key:
            if sample is not None:
                yield sample
            sample = Sample(key, f"{archive}:{key}", {}, None, "ok")
        sample = _with(sample, field.lower(), member, options)
    if sample is not None:
        yield sample


def _with(sample: Sample, field: str, member: Member, options: TableOptions) -> Sample:
    """Add a member to a sample."""
    if field in sample.texts or (
        is_image("." + field) and sample.image is not None and sample.image.name == member.name
    ):
        return sample._replace(slug="bad_row")
    if is_image("." + field):
        return sample if sample.image is not None else sample._replace(image=member)
    if member.data is None:
        return sample._replace(slug=member.slug) if TEXTS.search("." + field) else sample
    try:
        text = member.data.removeprefix(b"\xef\xbb\xbf").decode(
            "utf-8", options.encoding_errors.replace("mark", "strict")
        )
    except UnicodeDecodeError:
        return sample._replace(slug="bad_encoding")
    texts = {**sample.texts, field: text.strip() if field == "cls" else text}
    if field == "json":
        try:
            texts = {**_object(text), **sample.texts, field: ""}
        except orjson.JSONDecodeError:
            return sample._replace(slug="bad_json")
    return sample._replace(texts=texts)


def _object(text: str) -> dict[str, Any]:
    value = orjson.loads(text)
    return value if isinstance(value, dict) else {}


def _tables(batch: list[Sample], name: str, options: WebdatasetOptions, split: Split | None) -> Iterator[pa.Table]:
    seen = {field for sample in batch for field in sample.texts} | {KEY}
    columns = {role: field for role, field in FIELDS.items() if field in seen} | dict(options.columns)
    roles = resolve(options.model_copy(update={"columns": columns}), sorted(seen | {LINE}), where=name)
    roles.pop("image", None)  # a json field that names the image says nothing here
    rows = [row_of(sample, columns) if sample.slug == "ok" else None for sample in batch]
    places, slugs, keys = ([getattr(sample, name) for sample in batch] for name in ("source", "slug", "key"))
    table = map_objects(rows, slugs, places, keys, options, roles, split=split)
    table = with_images(table, [sample.image if sample.slug == "ok" else None for sample in batch], name)
    yield from finished(table, "", options)


def row_of(sample: Sample, columns: dict[Role, str]) -> dict[str, Any]:
    """Return the sample's fields; where one is absent, the json key of an obvious name stands in."""
    row = {**sample.texts, KEY: sample.key}
    for role, field in FIELDS.items():
        if columns.get(role) == field and row.get(field) is None:
            row[field] = next((row[name] for name in OBVIOUS[role] if row.get(name) is not None), None)
    return row


def with_images(table: pa.Table, members: list[Member | None], archive: str) -> pa.Table:
    """Put references into the archive, or the members' bytes, into the image column."""
    images = image_array(
        pa.array([archive if one and one.offset is not None else None for one in members], pa.string()),
        offset=[one.offset if one else None for one in members],
        length=[one.length if one and one.offset is not None else None for one in members],
        data=pa.array([one.data if one and one.offset is None else None for one in members], pa.large_binary()),
    )
    table = table.set_column(table.schema.get_field_index("image"), table.schema.field("image"), images)
    lost = pa.array([one is not None and one.slug != "ok" for one in members], pa.bool_())
    return mark(table, lost, "too_large", blank=False)


def files(path: str, options: WebdatasetOptions) -> list[SourceFile]:
    """List the archives."""
    return [listed(file, relative(file, path)) for file in manifests(path, SUFFIXES)]
