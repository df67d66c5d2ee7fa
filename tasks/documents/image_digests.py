"""Digests of the images that documents refer to, read once per version of a file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray

from fuseline.tasks.documents.source_files import Listing, name_hashes
from fuseline.tasks.engine.images import REMOTE, XXH3, ImageError, ImageLimits, ImageReference, image_digest, open_image

SCHEMA = pa.schema([("place", pa.uint64()), ("digest", pa.binary(16))])
Digests = NDArray[np.uint8]  # (n, 16)


@dataclass
class ImageCounts:
    """How many documents refer to an image, how many of these images are present, and the first that are not."""

    root: str  # where image references start
    documents: int = 0
    referenced: int = 0
    present: int = 0  # including those that are too large or damaged
    remote: int = 0  # references that are URLs
    lost: list[str] = field(default_factory=list)  # the first few, as they were looked for

    def add(self, images: pa.ChunkedArray, digests: pa.Array | pa.ChunkedArray) -> Self:
        """Count some documents: their images, and their digests by `ImageDigests.of`."""
        kinds = pc.replace_substring_regex(digests, ":.*", "")
        self.name(images, kinds)
        return self.tallied({str(kind["values"]): kind["counts"] for kind in pc.value_counts(kinds).to_pylist()})

    def tallied(self, tally: Mapping[str, int]) -> Self:
        """Count documents by the kind of their image's digest: "None" without an image, or why it is absent."""
        self.documents += sum(tally.values())
        self.referenced += sum(n for kind, n in tally.items() if kind != str(None))
        self.present += sum(n for kind, n in tally.items() if kind not in (*ABSENT, str(None)))
        self.remote += tally.get(REMOTE, 0)
        return self

    def name(self, images: pa.ChunkedArray, digests: pa.Array | pa.ChunkedArray) -> None:
        """Note the first absent images."""
        if self.full:
            return
        away = pc.fill_null(pc.is_in(digests, pa.array(ABSENT)), False)
        for uri in pc.struct_field(images, "uri").filter(away)[: NAMED - len(self.lost)].to_pylist():
            self.lost.append(uri if "://" in uri else f"{self.root.rstrip('/')}/{uri}")

    @property
    def full(self) -> bool:
        """Whether enough of them are named."""
        return len(self.lost) == NAMED

    @property
    def line(self) -> str:
        """Message about absent images: "" when none is absent."""
        if self.present == self.referenced:
            return ""
        line = f"{self.present:,} of {self.referenced:,} images found"
        if self.remote:
            line += f", {self.remote:,} are URLs, which are never fetched"
        return f"{line}; first {'not found' if self.present else 'tried'}: {', '.join(self.lost)}"


class ImageDigests:
    """The digest of each image's bytes; an image whose file kept its size and time is not read again.

    An image is known by a hash of its file's name, size and time and of its place in the file: 24 bytes in memory for
    what an earlier pass saw, 24 for what this one does, beside the 16 of the listing.
    """

    def __init__(
        self, places: NDArray[np.uint64], digests: Digests, listing: Listing, root: str, again: Sequence[str | None]
    ) -> None:
        self._places, self._digests, self._listing, self._root = places, digests, listing, root  # sorted by place
        self._again = name_hashes([uri for uri in again if uri is not None])
        self.counts = ImageCounts(root)  # of this pass
        self._now: list[tuple[NDArray[np.uint64], Digests]] = []
        self._limits = ImageLimits()

    @classmethod
    def load(cls, known: pa.Table | None, listing: Listing, *, root: str, again: Sequence[str | None] = ()) -> Self:
        """Return the digests that an earlier pass left.

        Args:
            known: what `table` gave then, if it was kept.
            listing: of the source.
            root: where image references start.
            again: images to read again, though their files kept size and time.
        """
        if known is None or known.schema != SCHEMA:  # of another version: the images are read once more
            known = SCHEMA.empty_table()
        return cls(known["place"].to_numpy(), _matrix(known["digest"]), listing, root, again)

    def of(self, images: pa.ChunkedArray) -> pa.Array:
        """Return one digest per image, (n,) string: null without an image, the reason where it cannot be read."""
        references = pc.and_(pc.struct_field(images, "uri").is_valid(), pc.struct_field(images, "bytes").is_null())
        rows = np.flatnonzero(references.to_numpy())
        names, places, listed = self._placed(images.take(pa.array(rows)))
        known, digests = self._known(places)
        known &= ~np.isin(names, self._again)
        texts: list[str | None] = [None] * len(images)
        fresh = np.ones(len(images), bool)
        for row, digest in zip(rows[known], digests[known], strict=True):
            texts[row], fresh[row] = f"{XXH3}{digest.tobytes().hex()}", False
        unread = np.flatnonzero(fresh & images.is_valid().to_numpy())
        for row, image in zip(unread.tolist(), images.take(pa.array(unread)).to_pylist(), strict=True):
            texts[row] = self._read(image)
        self._note(places[listed], [texts[row] for row in rows[listed]])
        digest_column = pa.array(texts, pa.string())
        self.counts.add(images, digest_column)
        return digest_column

    def table(self) -> pa.Table:
        """Return the digests of the files seen in this pass, to be kept for the next."""
        places = np.concatenate([np.zeros(0, np.uint64), *(places for places, _ in self._now)])
        digests = np.concatenate([np.zeros((0, 16), np.uint8), *(digests for _, digests in self._now)])
        places, first = np.unique(places, return_index=True)
        cells = pa.Array.from_buffers(pa.binary(16), len(first), [None, pa.py_buffer(digests[first])])
        return pa.table([pa.array(places), cells], schema=SCHEMA)

    def _placed(self, images: pa.ChunkedArray) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.bool_]]:
        """Return hashes of the name and of (name, offset, length, stamp) per reference, and whether it is listed."""
        names, stamps, listed = self._listing.find(pc.struct_field(images, "uri").to_pylist())
        ranges = (pc.fill_null(pc.struct_field(images, name), -1).to_numpy() for name in ("offset", "length"))
        rows = np.stack([names, *(numbers.astype(np.uint64) for numbers in ranges), stamps], axis=1)
        view, digest = memoryview(rows.tobytes()), xxhash.xxh3_64_intdigest
        places = np.fromiter((digest(view[32 * row : 32 * row + 32]) for row in range(len(rows))), np.uint64, len(rows))
        return names, places, listed

    def _known(self, places: NDArray[np.uint64]) -> tuple[NDArray[np.bool_], Digests]:
        if not len(self._places):
            return np.zeros(len(places), bool), np.zeros((len(places), 16), np.uint8)
        at = np.searchsorted(self._places, places).clip(0, len(self._places) - 1)
        return self._places[at] == places, self._digests[at]

    def _note(self, places: NDArray[np.uint64], digests: list[str | None]) -> None:
        """Remember images that could be read; the others are tried again."""
        good = [text is not None and text.startswith(XXH3) for text in digests]
        data = b"".join(bytes.fromhex(text[len(XXH3) :]) for text in digests if text and text.startswith(XXH3))
        self._now.append((places[np.array(good, bool)], np.frombuffer(data, np.uint8).reshape(-1, 16)))

    def _read(self, image: ImageReference) -> str:
        try:
            data = open_image(image, self._root, self._limits)
        except ImageError as error:
            return error.slug
        return image_digest(data)


def _matrix(column: pa.ChunkedArray) -> Digests:
    chunks = [chunk for chunk in column.chunks if len(chunk)]
    parts = [np.frombuffer(chunk.buffers()[1], np.uint8)[16 * chunk.offset :][: 16 * len(chunk)] for chunk in chunks]
    return np.concatenate([np.zeros(0, np.uint8), *parts]).reshape(-1, 16)


ABSENT = ("missing", "no_image", "bad_uri", REMOTE)  # statuses of an image that is not there
NAMED = 3  # images that a message names
