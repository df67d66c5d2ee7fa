"""WebDataset tar shards: consecutive members with one key are one document, images stay in the archive."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa

from tasks.readers.archives import Member, tar_members
from tasks.readers.base import SourceFile, Split, image_array, mark
from tasks.readers.images import copied, is_image
from tasks.readers.mapping import LINE, OBVIOUS, Role, TableOptions, resolve
from tasks.readers.overlay import map_objects
from tasks.readers.places import listed, manifests, relatives
from tasks.readers.tables import finished, sources

SUFFIXES = (".tar", ".tgz")
TEXTS = re.compile(r"\.(?:txt|json|cls|html?|title|caption)$", re.IGNORECASE)
KEY = "__key__"
BATCH_BYTES = 64 << 20  # of texts and packed images in one table, about
FIELDS: dict[Role, str] = {"id": KEY, "text": "txt", "html": "html", "labels": "cls", "title": "title"}


class WebdatasetOptions(TableOptions):
    """Options of the WebDataset reader; columns are the fields txt, html, cls, title, and the keys of the json."""


@dataclass(slots=True)
class Sample:
    """What consecutive members with one key hold."""

    key: str | None  # None: a member that is part of no document
    source: str
    slug: str = "ok"
    image: Member | None = None
    texts: dict[str, Any] = field(default_factory=dict)  # field -> text, and the keys of the json field
    fields: list[str] = field(default_factory=list)  # of its members
    size: int = 0  # bytes held


def read(path: str, options: WebdatasetOptions) -> Iterator[pa.Table]:
    """Yield one document per key and run, in the order of the archives.

    Statuses: bad_member (a link or a name that climbs out), bad_row (a field twice), bad_json, bad_encoding,
    too_large, bad_file, bomb, and map_rows'. Members without a dot are no part of any document.
    """
    return copied(_read(path, options), path, options)


def _read(path: str, options: WebdatasetOptions) -> Iterator[pa.Table]:
    for file, name, split in sources(path, SUFFIXES):
        batch: list[Sample] = []
        held = 0
        for sample in samples(tar_members(file, options, keep=TEXTS), name, options):
            batch.append(sample)
            held += sample.size
            if len(batch) == options.batch_rows or held > BATCH_BYTES:
                yield from _tables(batch, name, options, split)
                batch, held = [], 0
        if batch:
            yield from _tables(batch, name, options, split)


def samples(members: Iterator[Member], archive: str, options: TableOptions) -> Iterator[Sample]:
    """Group members by key: the name up to the first dot of its last part; the rest, lower-cased, is the field."""
    sample: Sample | None = None
    errors = "strict" if options.encoding_errors == "mark" else "replace"
    for member in members:
        name = member.name
        if member.slug in ("bad_member", "bad_file", "bomb"):
            if sample is not None and member.slug != "bad_member":
                yield sample
                sample = None
            yield Sample(None, f"{archive}:{name}", member.slug)
            continue
        start = name.rfind("/") + 1
        dot = name.find(".", start)
        if dot <= start or (name.startswith("__", start) and name.endswith("__")):
            continue
        key = name[:dot]
        if sample is None or sample.key != key:
            if sample is not None:
                yield sample
            sample = Sample(key, f"{archive}:{key}")
        _add(sample, name[dot + 1 :].lower(), member, errors)
    if sample is not None:
        yield sample


def _add(sample: Sample, name: str, member: Member, errors: str) -> None:
    """Add a member to a sample."""
    if name in sample.fields:
        sample.slug = "bad_row"
        return
    sample.fields.append(name)
    sample.size += len(member.data or b"")
    if is_image("." + name):
        sample.image = sample.image or member
    elif TEXTS.search("." + name):
        _add_text(sample, name, member, errors)


def _add_text(sample: Sample, name: str, member: Member, errors: str) -> None:
    if member.data is None:
        sample.slug = member.slug
        return
    try:
        text = member.data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors)
        if name == "json":
            sample.texts = {**_object(text), **sample.texts}
        else:
            sample.texts[name] = text.strip() if name == "cls" else text
    except UnicodeDecodeError:
        sample.slug = "bad_encoding"
    except orjson.JSONDecodeError:
        sample.slug = "bad_json"


def _object(text: str) -> dict[str, Any]:
    value = orjson.loads(text)
    return value if isinstance(value, dict) else {}


def _tables(batch: list[Sample], name: str, options: WebdatasetOptions, split: Split | None) -> Iterator[pa.Table]:
    seen = {name for sample in batch for name in sample.texts} | {KEY}
    columns = {role: name for role, name in FIELDS.items() if name in seen} | dict(options.columns)
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
    for role, name in FIELDS.items():
        if columns.get(role) == name and row.get(name) is None:
            row[name] = next((row[one] for one in OBVIOUS[role] if row.get(one) is not None), None)
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
    found = manifests(path, SUFFIXES)
    return [listed(file, name) for file, name in zip(found, relatives(found, path), strict=True)]
