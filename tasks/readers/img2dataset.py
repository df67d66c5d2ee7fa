"""img2dataset output in its three modes: tar shards, folders of files, Parquet with the images' bytes.

The Parquet file of a shard lists failures too, the tar only successes: they are joined by key, never by position.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from fuseline.tasks.readers.archives import Member, tar_members
from fuseline.tasks.readers.base import SourceFile, SourceFormat, faults, image_array, mark
from fuseline.tasks.readers.image_files import COPY_ROWS, copied, folder_files, is_image
from fuseline.tasks.readers.manifests import finished
from fuseline.tasks.readers.mapping import TableOptions, as_text, map_rows, resolve
from fuseline.tasks.readers.parquet import DAMAGE, is_binary, parquet_files, whole_text
from fuseline.tasks.readers.places import Place, is_utf8, same_root, walk

ENDS = ("", ".gz", ".bz2", ".zst", ".zip")
TABLES, TARS = (tuple(kind + end for end in ENDS) for kind in (".parquet", ".tar"))
BYTES = ("jpg", "png", "webp")  # the binary column of the "parquet" mode is named by the format
LOOKS_FOR = "00000.parquet beside 00000.tar or the folder 00000/"


class Img2datasetOptions(TableOptions):
    """Options of the img2dataset reader; columns are those of the shard's Parquet file."""

    patterned: ClassVar[bool] = False


def read(path: str, options: Img2datasetOptions) -> Iterator[pa.Table]:
    """Yield one document per row of the shards' Parquet files, failures too.

    Statuses: failed_to_download, failed_to_resize (the text stays), missing (a success without its image), no_table
    (a tar without the Parquet file of its shard), bad_file, and map_rows'.
    """
    return copied(_read(path, options), path, options)


def _read(path: str, options: Img2datasetOptions) -> Iterator[pa.Table]:
    root = same_root(path)
    names = [file.uri for file in walk(root) if file.uri.endswith((*TABLES, *TARS))]
    tables = [name for name in names if name.endswith(TABLES)]
    known = {name[: name.rindex(".parquet")] for name in tables}
    # A shard without its table has images and captions, but nothing that describes them.
    orphans = [name for name in names if name.endswith(TARS) and name[: name.rindex(".tar")] not in known]
    if orphans:
        yield faults(orphans, ["no_table"] * len(orphans))
    for name in tables:
        shard = name[: name.rindex(".parquet")]
        for where, opened in parquet_files(root / name, name, options):
            if isinstance(opened, str):
                yield faults([where], [opened])
                continue
            members, missing = shard_images(root, shard, options)
            yield from faults_of(missing, name)
            yield from _rows(opened, where, members, options)


def faults_of(members: list[Member], name: str) -> Iterator[pa.Table]:
    """Yield one row for each member that could not be used."""
    if members:
        yield faults([f"{name}:{one.name}" for one in members], [one.slug for one in members])


def shard_images(
    root: Place, shard: str, options: Img2datasetOptions
) -> tuple[dict[str, tuple[str, Member]], list[Member]]:
    """Return key -> (file, member) of a shard's tar or folder, and the members that cannot be used."""
    members: dict[str, tuple[str, Member]] = {}
    bad: list[Member] = []
    name = next((name for end in ENDS if (root / (name := f"{shard}.tar{end}")).exists()), None)
    if name is not None:
        for member in tar_members(root / name, options):
            if member.slug in ("bad_member", "bad_file", "bomb"):
                bad.append(member)
            elif is_image(member.name):
                members[_key(member.name)] = (name, member)
    elif (root / shard).is_dir():
        for file in walk(root / shard):
            if not is_utf8(file.uri):
                bad.append(Member(file.uri, None, file.size, slug="bad_name"))
            elif is_image(file.uri):
                members[_key(file.uri)] = (f"{shard}/{file.uri}", Member(file.uri, 0, file.size))
    return members, bad


def _key(name: str) -> str:
    return name.rsplit("/", 1)[-1].partition(".")[0]


def _rows(
    opened: pq.ParquetFile, name: str, members: dict[str, tuple[str, Member]], options: Img2datasetOptions
) -> Iterator[pa.Table]:
    names = opened.schema_arrow.names
    kinds = {name: opened.schema_arrow.field(name).type for name in BYTES if name in names}
    stored = next((name for name, kind in kinds.items() if is_binary(kind)), None)
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
        images = [("", Member("", None, len(one), one)) if one is not None else None for one in data]
    else:
        images = [members.get(one or "") for one in as_text(columns[roles["id"]])[0].to_pylist()]
    table = _placed(table, images)
    statuses = as_text(columns["status"])[0].to_pylist() if "status" in columns else [None] * len(table)
    slugs = [
        one if one in FAILURES else ("missing" if image is None else "ok")
        for one, image in zip(statuses, images, strict=True)
    ]
    return mark(table, pa.array([slug != "ok" for slug in slugs], pa.bool_()), pa.array(slugs), blank=False)


def _placed(table: pa.Table, images: list[tuple[str, Member] | None]) -> pa.Table:
    """Put references to whole files, into a tar, or bytes into the image column."""
    members = [one[1] if one else None for one in images]
    lost = pa.array([one is not None and one.slug != "ok" for one in members])
    within = [one is not None and one[0].endswith(".tar") for one in images]  # elsewhere a file is the image
    references = image_array(
        [one[0] if one and one[1].data is None else None for one in images],
        offset=[one.offset if one and part else None for one, part in zip(members, within, strict=True)],
        length=[one.length if one and part else None for one, part in zip(members, within, strict=True)],
        data=pa.array([one.data if one else None for one in members], pa.large_binary()),
    )
    table = table.set_column(table.schema.get_field_index("image"), table.schema.field("image"), references)
    return mark(table, lost, "too_large", blank=False)


def files(path: str, options: Img2datasetOptions) -> Iterator[SourceFile]:
    """List the shards' tables and tars, and the image files unless `watch_images` is off."""
    return folder_files(path, options, (*TABLES, *TARS))


FAILURES = frozenset({"failed_to_download", "failed_to_resize"})


FORMAT = SourceFormat(
    "img2dataset", "img2dataset output in its three modes", Img2datasetOptions, read, files,
    looks_for=LOOKS_FOR,
)  # fmt: skip
