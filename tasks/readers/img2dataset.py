"""img2dataset output in its three modes: tar shards, folders of files, Parquet with the images' bytes.

The Parquet file of a shard lists failures too, the tar only successes: they are joined by key, never by position.
"""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.readers.archives import Member, tar_members
from tasks.readers.base import SourceFile, faults, mark
from tasks.readers.images import COPY_ROWS, copied, is_image, watched
from tasks.readers.mapping import TableOptions, as_text, map_rows, resolve
from tasks.readers.parquet import DAMAGE, whole_text
from tasks.readers.places import Place, same_root, walk
from tasks.readers.tables import finished
from tasks.readers.webdataset import with_images

BYTES = ("jpg", "png", "webp")  # the binary column of the "parquet" mode is named by the format


class Img2datasetOptions(TableOptions):
    """Options of the img2dataset reader; columns are those of the shard's Parquet file."""


def read(path: str, options: Img2datasetOptions) -> Iterator[pa.Table]:
    """Yield one document per row of the shards' Parquet files, failures too.

    Statuses: failed_to_download, failed_to_resize (the text stays), missing (a success without its image), bad_file,
    and map_rows'.
    """
    return copied(_read(path, options), path, options)


def _read(path: str, options: Img2datasetOptions) -> Iterator[pa.Table]:
    root = same_root(path)
    for name in [file.uri for file in walk(root) if file.uri.endswith(".parquet")]:
        shard = name.removesuffix(".parquet")
        try:
            opened = pq.ParquetFile((root / name).path if root.local else (root / name).open())
        except DAMAGE:
            yield faults([name], ["bad_file"])
            continue
        with opened:
            members, missing = shard_images(root, shard, options)
            yield from faults_of(missing, name)
            yield from _rows(opened, name, members, options)


def faults_of(members: list[Member], name: str) -> Iterator[pa.Table]:
    """Yield one row for each member that could not be used."""
    if members:
        yield faults([f"{name}:{one.name}" for one in members], [one.slug for one in members])


def shard_images(
    root: Place, shard: str, options: Img2datasetOptions
) -> tuple[dict[str, tuple[str, Member]], list[Member]]:
    """Return key -> (file, member) of a shard's tar or folder, and the members that cannot be used."""
    found: dict[str, tuple[str, Member]] = {}
    bad: list[Member] = []
    tar = root / f"{shard}.tar"
    if tar.exists():
        for member in tar_members(tar, options):
            if member.slug in ("bad_member", "bad_file", "bomb"):
                bad.append(member)
            elif is_image(member.name):
                found[_key(member.name)] = (f"{shard}.tar", member)
    elif (root / shard).is_dir():
        for file in walk(root / shard):
            if is_image(file.uri):
                found[_key(file.uri)] = (f"{shard}/{file.uri}", Member(file.uri, 0, file.size))
    return found, bad


def _key(name: str) -> str:
    return name.rsplit("/", 1)[-1].partition(".")[0]


def _rows(
    opened: pq.ParquetFile, name: str, members: dict[str, tuple[str, Member]], options: Img2datasetOptions
) -> Iterator[pa.Table]:
    names = opened.schema_arrow.names
    stored = next((column for column in BYTES if column in names), None)
    columns = {"id": "key"} | ({"text": "txt"} if "txt" in names and "caption" not in names else {})
    roles = resolve(options.model_copy(update={"columns": {**columns, **options.columns}}), names, where=name)
    roles.pop("image", None)
    wanted = sorted({*roles.values(), *options.tabular} | ({"status"} & set(names)) | ({stored} if stored else set()))
    row = 1
    try:
        for batch in opened.iter_batches(min(options.batch_rows, COPY_ROWS if stored else 8192), columns=wanted):
            yield from finished(_table(batch, name, row, members, stored, roles, options), "", options)
            row += batch.num_rows
    except DAMAGE:
        yield faults([f"{name}:{row}"], ["bad_file"])


def _table(
    batch: pa.RecordBatch,
    name: str,
    row: int,
    members: dict[str, tuple[str, Member]],
    stored: str | None,
    roles: dict[str, str],
    options: Img2datasetOptions,
) -> pa.Table:
    columns: dict[str, Any] = {
        one: whole_text(array)[0] for one, array in zip(batch.schema.names, batch.columns, strict=True)
    }
    places = [f"{name}:{row + index}" for index in range(batch.num_rows)]
    table = map_rows(columns, places, options, roles, split=None)
    if stored is not None:
        data = columns[stored].cast(pa.large_binary()).to_pylist()
        found = [("", Member("", None, len(one), one)) if one is not None else None for one in data]
    else:
        found = [members.get(one or "") for one in as_text(columns[roles["id"]])[0].to_pylist()]
    table = _placed(table, found)
    told = columns.get("status", pa.repeat(pa.scalar("success"), len(table))).to_pylist()
    slugs = [
        one if one in FAILURES else ("missing" if image is None else "ok")
        for one, image in zip(told, found, strict=True)
    ]
    return mark(table, pa.array([slug != "ok" for slug in slugs], pa.bool_()), pa.array(slugs), blank=False)


def _placed(table: pa.Table, found: list[tuple[str, Member] | None]) -> pa.Table:
    """Put references to whole files, into a tar, or bytes into the image column."""
    table = with_images(table, [one[1] if one else None for one in found], "")
    index = table.schema.get_field_index("image")
    images = [
        {**image, "uri": one[0] or None} | ({"offset": None, "length": None} if not one[0].endswith(".tar") else {})
        if one and image
        else None
        for image, one in zip(table["image"].to_pylist(), found, strict=True)
    ]
    return table.set_column(index, table.schema.field("image"), pa.array(images, table.schema.field("image").type))


def files(path: str, options: Img2datasetOptions) -> list[SourceFile]:
    """List the shards' tables and tars, and the image files unless `watch_images` is off."""
    found = [file for file in walk(same_root(path)) if file.uri.endswith((".parquet", ".tar"))]
    return found + watched(path, options)


FAILURES = frozenset({"failed_to_download", "failed_to_resize"})
