"""Image files beside a manifest: their listing, their references' base, and copies of their bytes."""

import gc
import os
import posixpath
import stat
from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from fuseline.tasks.readers.base import ReaderOptions, SourceFile, image_array, mark, strings
from fuseline.tasks.readers.image_archive import archived
from fuseline.tasks.readers.places import Place, image_root, place, safe_references, same_root, walk

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".jfif", ".avif", ".jp2")
COPY_ROWS = 256  # copied images are large: few per table
ABSENT = ""  # where a folder is that is not there: nothing in it leads anywhere
DEEP = 100  # folders in folders that are looked at one by one


def is_image(name: str) -> bool:
    """Return whether a file's name looks like an image; its type is decided from its bytes when it is decoded (R5)."""
    return name.lower().endswith(SUFFIXES)


def watched(path: str, options: ReaderOptions) -> Iterator[SourceFile]:
    """Yield the image files under the image root, under the names that references use; none when not wanted."""
    root = place(image_root(path, options))
    if options.watch_images and root.is_dir():
        yield from (file for file in walk(root) if is_image(file.uri))


def folder_files(path: str, options: ReaderOptions, ends: tuple[str, ...]) -> Iterator[SourceFile]:
    """Yield the files of a folder whose names end so, and the image files unless `watch_images` is off."""
    start, beside = same_root(path), options.root is None
    for file in walk(start):
        if file.uri.lower().endswith(ends) or (beside and options.watch_images and is_image(file.uri)):
            yield file
    if not beside:
        yield from watched(path, options)


def rebased(table: pa.Table, folder: str) -> pa.Table:
    """Put the folder of a manifest before its image references, so that they are relative to the source's root."""
    if folder in ("", ".") or table["image"].null_count == len(table):
        return table
    images = table["image"].combine_chunks()
    uris = images.field("uri")
    before = folder.strip("/") + "/"
    moved = pc.binary_join_element_wise(strings([before])[0], uris, "")
    uris = pc.if_else(pc.match_substring_regex(uris, pattern=r"^https?://"), uris, moved)
    placed = image_array(uris, offset=images.field("offset"), length=images.field("length"), data=images.field("bytes"))
    # documents known by their images' names, one a line, would be mixed up with those of another folder
    ids, uri = table["id"].combine_chunks(), images.field("uri")
    first = pc.list_element(pc.split_pattern(ids, "\n"), 0)
    paths = pc.binary_join_element_wise(before, pc.replace_substring(ids, "\n", f"\n{before}"), "")
    alone, several = (pc.fill_null(pc.equal(one, uri), False) for one in (ids, first))
    ids = pc.if_else(alone, moved, pc.if_else(several, paths, ids))
    table = table.set_column(0, table.schema.field(0), ids)
    return table.set_column(table.schema.get_field_index("image"), table.schema.field("image"), placed)


def manifest_folder(name: str, options: ReaderOptions) -> str:
    """Return what goes before the references of the manifest `name`: its folder, or nothing when a root is set."""
    return "" if options.root is not None else posixpath.dirname(name)


def guarded(table: pa.Table) -> pa.Table:
    """Remove references that climb out of the root, whatever reader built them: status `bad_path` (R11)."""
    images = table["image"].combine_chunks()
    _, climbs = safe_references(images.field("uri"))
    if not pc.any(climbs).as_py():
        return table
    index = table.schema.get_field_index("image")
    kept = pc.if_else(climbs, pa.scalar(None, images.type), images)
    return mark(table.set_column(index, table.schema.field("image"), kept), climbs, "bad_path", blank=False)


def fenced(table: pa.Table, root: str) -> pa.Table:
    """Take out references to local files that a symbolic link leads out of the root: status `outside`.

    The bytes are compared with their digest when they are read, so that a link that is set later is noticed too.
    """
    uris = table["image"].combine_chunks().field("uri")
    if "://" in root or uris.null_count == len(uris) or _nowhere(uris, root):
        return table
    fence = Fence(root)
    out = pa.array([uri is not None and fence.leaves(uri) for uri in uris.to_pylist()], pa.bool_())
    if not pc.any(out).as_py():
        return table
    index, images = table.schema.get_field_index("image"), table["image"].combine_chunks()
    kept = pc.if_else(out, pa.scalar(None, images.type), images)
    return mark(table.set_column(index, table.schema.field("image"), kept), out, "outside", blank=False)


def _nowhere(uris: pa.Array, root: str) -> bool:
    """Return whether all references start with one folder that is not there: metadata without their images."""
    first = pc.min(uris).as_py().partition("/")[0]
    absent = not os.path.lexists(os.path.join(root, first))  # noqa: PTH118
    return absent and bool(pc.all(pc.starts_with(uris, f"{first}/")).as_py())


class Fence:
    """Tells which paths below a local folder lead out of it; each folder is looked at once."""

    def __init__(self, root: str) -> None:
        self._root = os.path.realpath(root)
        self._folders: dict[str, str | None] = {"": self._root}  # relative folder -> where it is, None outside

    def leaves(self, uri: str) -> bool:
        """Return whether the file `uri`, relative to the folder, lies elsewhere; False for a URL."""
        if "://" in uri or "\0" in uri:
            return False
        folder, _, name = uri.rpartition("/")
        base = self._folders[folder] if folder in self._folders else self._entered(folder)
        if not base:
            return base is None
        path = f"{base}/{name}"
        return os.path.islink(path) and self._inside(path) is None  # noqa: PTH114 - many, and fast

    def _entered(self, folder: str) -> str | None:
        """Return where a folder is, ABSENT where nothing is; its parents are looked at on the way."""
        if ".." in folder or folder.count("/") > DEEP:
            return self._folders.setdefault(folder, self._inside(f"{self._root}/{folder}"))
        parent, _, name = folder.rpartition("/")
        base = self._folders[parent] if parent in self._folders else self._entered(parent)
        if base:
            path = f"{base}/{name}"
            try:
                mode = os.lstat(path).st_mode
            except OSError:
                base = ABSENT
            else:
                base = self._inside(path) if stat.S_ISLNK(mode) else path
        return self._folders.setdefault(folder, base)

    def _inside(self, path: str) -> str | None:
        real = os.path.realpath(path)
        return real if real == self._root or real.startswith(self._root.rstrip("/") + "/") else None


def copied(tables: Iterable[pa.Table], path: str, options: ReaderOptions) -> Iterator[pa.Table]:
    """Yield the tables with references checked, and with the images' bytes in them when the options ask for copies.

    References into an archive of images are looked up first. An image that cannot be read keeps its reference; one over
    `max_image_bytes` does too, with status `too_large`.
    """
    start = image_root(path, options)
    checked: Iterable[pa.Table] = map(guarded, archived(_uncollected(tables), path, options))
    if not options.follow_links:
        checked = (fenced(table, start) for table in checked)
    if not options.copies_images:
        yield from checked
        return
    root = place(start)
    for table in checked:
        for at in range(0, len(table), COPY_ROWS):
            yield _copy(table.slice(at, COPY_ROWS), root, options)


def _uncollected(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield the tables; each is computed without a search for reference cycles.

    The rows of a table are millions of small objects that hold none, and searching them takes a third of the time.
    """
    pending = iter(tables)
    while True:
        enabled = gc.isenabled()
        gc.disable()
        try:
            table = next(pending, None)
        finally:
            if enabled:
                gc.enable()
        if table is None:
            return
        yield table


def _copy(table: pa.Table, root: Place, options: ReaderOptions) -> pa.Table:
    images = [image or {} for image in table["image"].to_pylist()]
    data = [image.get("bytes") or _bytes(image, root, options.max_image_bytes) for image in images]
    large = pa.array([one is not None and len(one) > options.max_image_bytes for one in data])
    kept = [None if over else one for over, one in zip(large.to_pylist(), data, strict=True)]
    bare = [one is None for one in kept]
    uris = [image.get("uri") for image in images]
    placed = image_array(
        uris,
        offset=[image.get("offset") if is_bare else None for image, is_bare in zip(images, bare, strict=True)],
        length=[image.get("length") if is_bare else None for image, is_bare in zip(images, bare, strict=True)],
        data=pa.array(kept, pa.large_binary()),
    )
    table = table.set_column(table.schema.get_field_index("image"), table.schema.field("image"), placed)
    return mark(table, large, "too_large", blank=False)


def _bytes(image: dict[str, object], root: Place, limit: int) -> bytes | None:
    """Read a referenced image, one byte past the limit at most; None when it is absent or not local to the root."""
    uri, offset, length = image.get("uri"), image.get("offset"), image.get("length")
    if not isinstance(uri, str) or "://" in uri:
        return None
    try:
        wanted = min(length, limit + 1) if isinstance(length, int) else limit + 1
        return (root / uri).part(offset if isinstance(offset, int) else 0, wanted)
    except (OSError, ValueError, KeyError):
        return None
