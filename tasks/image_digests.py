"""Digests of the images that documents refer to, read once per version of a file."""

from collections.abc import Iterable
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from stores.atomic import atomic_file
from stores.parquet import write_table
from tasks.images import ImageError, ImageLimits, open_image
from tasks.readers import SourceFile


class ImageDigests:
    """The digest of each image's bytes; an image whose file kept its size and time is not read again."""

    def __init__(self, known: dict[str, str], stats: dict[str, tuple[int, int]], root: str) -> None:
        self._known, self._stats, self._root = known, stats, root
        self._now: dict[str, str] = {}
        self._limits = ImageLimits()

    @classmethod
    def load(cls, path: Path, files: Iterable[SourceFile], *, root: str) -> Self:
        """Read what `save` wrote; `files` is the source's listing and `root` where image references start."""
        known: dict[str, str] = {}
        if path.exists():
            table = pq.read_table(path)
            known = dict(zip(table["stat"].to_pylist(), table["digest"].to_pylist(), strict=True))
        return cls(known, {f.uri: (f.size, f.mtime_ns) for f in files}, root)

    def of(self, images: pa.ChunkedArray) -> pa.Array:
        """Return one digest per image, (n,) string: null without an image, the reason where it cannot be read."""
        return pa.array([None if image is None else self._of(image) for image in images.to_pylist()], pa.string())

    def save(self, path: Path) -> None:
        """Keep the digests of the files seen in this pass."""
        table = pa.table(
            {"stat": pa.array(self._now, pa.string()), "digest": pa.array(self._now.values(), pa.string())}
        )
        with atomic_file(path) as partial:
            write_table(partial, table)

    def _of(self, image: dict[str, object]) -> str:
        stat = self._stats.get(str(image["uri"]))
        if image["bytes"] is not None or stat is None:
            return self._read(image)
        place = f"{_place(image)} {stat[0]} {stat[1]}"
        digest = self._known.get(place) or self._read(image)
        self._now[place] = digest
        return digest

    def _read(self, image: dict[str, object]) -> str:
        try:
            data = open_image(image, self._root, self._limits)
        except ImageError as error:
            return error.slug
        return f"xxh3:{xxhash.xxh3_128_hexdigest(data)}"


def drop_images(path: Path, images: Iterable[dict[str, object]]) -> None:
    """Take images out of what `save` wrote; others at the same place are simply read again."""
    places = {_place(image) for image in images}
    if not places or not path.exists():
        return
    table = pq.read_table(path)
    kept = [stat.rsplit(" ", 2)[0] not in places for stat in table["stat"].to_pylist()]
    with atomic_file(path) as partial:
        write_table(partial, table.filter(pa.array(kept, pa.bool_())))


def _place(image: dict[str, object]) -> str:
    return f"{image['uri']} {image['offset']} {image['length']}"
