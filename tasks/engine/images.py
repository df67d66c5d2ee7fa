"""Image references -> bytes -> pixels: bounded in bytes, pixels and seconds, whatever the file holds."""

import errno
import io
import os
import stat
import struct
import time
import zlib
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypedDict

import numpy as np
import pyarrow as pa
import simplejpeg
import xxhash
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from fuseline.models.config import FrozenConfig

# Part of every dataset key that depends on pixels: raise it whenever `decode` gives other pixels.
DECODER = "decode-1"
REMOTE = "remote"  # status of a reference that is a URL: nothing is ever fetched from the network
Rgb = NDArray[np.uint8]
WHITE = (255, 255, 255)
XXH3 = "xxh3:"
DIGEST = "image_digest"  # column of documents: what `image_digest` gave of the bytes, or why they could not be read
CHANGED = "changed"  # status of an image whose bytes are not those that the documents hold the digest of

# We check the size ourselves, before decoding, with a limit per source.
Image.MAX_IMAGE_PIXELS = None

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"\x00\x00\x01\x00", "ICO"),
)
_ORIENTATION = 0x0112
# A progressive JPEG may hold thousands of tiny scans that each cost a pass over all pixels.
_MAX_SCANS = 100
# What Pillow's readers let through when a file is damaged.
_DAMAGE = (
    OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, AttributeError, ArithmeticError, MemoryError,
    RuntimeError, struct.error, zlib.error, UserWarning,
)  # fmt: skip


class ImageLimits(FrozenConfig):
    """Limits on one image: bytes, pixels and seconds."""

    max_bytes: int = Field(
        50_000_000, ge=1, description="Bytes that an image file may have; a larger one is `too_large`"
    )
    max_pixels: int = Field(
        100_000_000, ge=1, description="Pixels, width x height, that its header may tell; a larger one is `too_large`"
    )
    timeout: float = Field(30.0, gt=0, description="Seconds of reading and decoding; a slower one is `timeout`")


class ImageError(ValueError):
    """An image that can't be used; `slug` becomes the row's status."""

    def __init__(self, slug: str, detail: str = "") -> None:
        super().__init__(f"{slug}: {detail}" if detail else slug)
        self.slug = slug


class ImageHeader(NamedTuple):
    """Format and size as the header states them, before any rotation."""

    kind: str
    width: int
    height: int


class ImageReference(TypedDict, total=False):
    """What a document holds of its image: where its encoded bytes lie, or the bytes themselves."""

    uri: str | None
    offset: int | None
    length: int | None
    bytes: "bytes | None"


def open_image(image: ImageReference | None, root: str, limits: ImageLimits, *, digest: str | None = None) -> bytes:
    """Return the encoded bytes behind a reference {uri, offset, length, bytes}.

    `root` is a folder or an fsspec URL; `uri` lies below it. Symbolic links are followed. `digest` is what the
    documents hold of them; one that tells why there were none is not compared.
    Raises ImageError: missing, bad_uri, remote, no_image, too_large, changed.
    """
    if image is None:
        raise ImageError("missing")
    uri, data = image.get("uri"), image.get("bytes")
    if data is None:
        if uri is None:
            raise ImageError("missing")
        data = _read(_inside(uri), root, image.get("offset"), image.get("length"), limits.max_bytes)
    if len(data) > limits.max_bytes:
        raise ImageError("too_large", f"more than {limits.max_bytes} bytes")
    data = bytes(data)
    if digest is not None and digest.startswith(XXH3) and image_digest(data) != digest:
        raise ImageError(CHANGED, "its bytes are not those that were ingested")
    return data


def image_digest(data: bytes) -> str:
    """Return "xxh3:<hex>" of an image's encoded bytes."""
    return f"{XXH3}{xxhash.xxh3_128_hexdigest(data)}"


def image_digests(documents: pa.Table) -> pa.ChunkedArray:
    """Return the digests (n,) string that documents hold of their images; nulls where they hold none."""
    if DIGEST in documents.column_names:
        return documents[DIGEST]
    return pa.chunked_array([pa.nulls(documents.num_rows, pa.string())])


def decode(
    data: bytes, *, limits: ImageLimits, min_side: int | None = None, background: tuple[int, int, int] = WHITE
) -> Rgb:
    """Return pixels (h, w, 3) uint8, turned upright, without alpha.

    A JPEG may be decoded at 1/2, 1/4 or 1/8 of its size as long as neither side falls below `min_side`; None asks for
    the full size. Of an animation the first frame counts. 16-bit and float greys are scaled to 8 bits.
    Raises ImageError: bad_image, too_large, timeout.
    """
    image = _open(data, limits)
    if image.format in ("JPEG", "MPO"):
        if data.count(b"\xff\xda") > _MAX_SCANS:
            raise ImageError("too_large", f"more than {_MAX_SCANS} scans")
        pixels = _decode_jpeg(data, image.size, min_side) if image.mode in ("RGB", "L") else None
        if pixels is not None:
            return _turned(pixels, _turn(image))
    try:
        if min_side is not None:
            image.draft(None, (min_side, min_side))
        image.load()
        # Only now: loading a TIFF turns it and removes the tag.
        return _turned(_rgb(image, background), _turn(image))
    except TimeoutError as late:
        raise ImageError("timeout", f"gave up after {limits.timeout:g} s") from late
    except _DAMAGE as damage:
        raise ImageError("bad_image", str(damage)[:200]) from damage


def size(data: bytes, *, limits: ImageLimits) -> ImageHeader:
    """Return kind, width and height from the header; raises ImageError: bad_image, too_large."""
    image = _open(data, limits)
    return ImageHeader(str(image.format), *image.size)


def decoded_size(data: bytes, min_side: int | None) -> tuple[int, int] | None:
    """Return (height, width) of what `decode` makes of a JPEG before any turn; None for other kinds, always in full."""
    if not data.startswith(b"\xff\xd8"):
        return None
    try:
        height, width = simplejpeg.decode_jpeg_header(data)[:2]
    except (ValueError, RuntimeError):
        return None
    return _scaled(height, width, min_side)


def _inside(uri: str) -> PurePosixPath:
    """Return a relative path that can't climb out of its root."""
    path = PurePosixPath(uri)
    if uri.startswith(("http://", "https://")):
        raise ImageError(REMOTE, "URLs are not fetched")
    if not uri or "\\" in uri or "\0" in uri or ":" in path.parts[0] or path.is_absolute() or ".." in path.parts:
        raise ImageError("bad_uri", f"expected a path below the source's root, got {uri[:200]!r}")
    return path


def _read(path: PurePosixPath, root: str, offset: int | None, length: int | None, max_bytes: int) -> bytes:
    if (offset is not None and offset < 0) or (length is not None and length < 0):
        raise ImageError("bad_uri", f"expected a range of bytes, got offset {offset!r} and length {length!r}")
    wanted = max_bytes + 1 if length is None else min(length, max_bytes + 1)
    try:
        read = _read_remote if "://" in root else _read_local
        data = read(path, root, offset or 0, wanted)
    except (OSError, ValueError) as problem:
        raise ImageError("no_image", str(problem)[:200]) from problem
    if length is not None and len(data) < wanted:
        raise ImageError("bad_image", "the file ends before offset + length")
    return data


def _read_local(path: PurePosixPath, root: str, offset: int, wanted: int) -> bytes:
    # Without O_NONBLOCK a named pipe would block for ever.
    handle = os.open(Path(root) / path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(f"{path} is no file")
        file.seek(offset)
        return file.read(wanted)


def _read_remote(path: PurePosixPath, root: str, offset: int, wanted: int) -> bytes:
    # The readers' package reads images too: it can only be imported once this module is there.
    from fuseline.stores.remote import reached

    system, base = _filesystem(root)
    name = f"{base.rstrip('/')}/{path}"
    with reached(name):
        try:
            return bytes(system.cat_file(name, start=offset, end=offset + wanted))
        except OSError as error:
            # A store that is asked for bytes behind a file's end refuses the range.
            if error.errno == errno.EINVAL:
                return b""
            raise


@lru_cache(maxsize=16)
def _filesystem(root: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    system, base = url_to_fs(root)
    return system, base


def _kind(data: bytes) -> str:
    """Return Pillow's name of the format that the first bytes tell; a file's suffix is never asked."""
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return "AVIF"
    raise ImageError("bad_image", f"expected an image, got bytes that start with {data[:12]!r}")


class _Clocked(io.BytesIO):
    """Bytes that refuse to be read after a moment: decoders come back for every 64 kB block."""

    def __init__(self, data: bytes, seconds: float) -> None:
        super().__init__(data)
        self._end = time.monotonic() + seconds

    def read(self, size: int | None = -1, /) -> bytes:
        if time.monotonic() > self._end:
            raise TimeoutError
        return super().read(size)


def _open(data: bytes, limits: ImageLimits) -> Image.Image:
    if len(data) > limits.max_bytes:
        raise ImageError("too_large", f"{len(data)} bytes, limit {limits.max_bytes}")
    kind = _kind(data)
    try:
        # An MPO is a JPEG with further pictures behind the first.
        image = Image.open(_Clocked(data, limits.timeout), formats=(kind, "MPO") if kind == "JPEG" else (kind,))
    except TimeoutError as late:
        raise ImageError("timeout", f"gave up after {limits.timeout:g} s") from late
    except _DAMAGE as damage:
        raise ImageError("bad_image", str(damage)[:200]) from damage
    width, height = image.size
    if width * height > limits.max_pixels:
        raise ImageError("too_large", f"{width} x {height} pixels, limit {limits.max_pixels}")
    if width < 1 or height < 1:
        raise ImageError("bad_image", f"{width} x {height} pixels")
    return image


def _decode_jpeg(data: bytes, full: tuple[int, int], min_side: int | None) -> Rgb | None:
    """Return the pixels of a sound JPEG, or None where the more patient decoder should try."""
    height, width = _scaled(full[1], full[0], min_side)
    try:
        pixels: Rgb = simplejpeg.decode_jpeg(data, "RGB", min_height=height, min_width=width)
    except (ValueError, RuntimeError):
        return None
    return pixels


def _scaled(height: int, width: int, min_side: int | None) -> tuple[int, int]:
    """Return the size that a JPEG is decoded at: halved up to three times, never below `min_side`."""
    factor = 1
    while min_side is not None and factor < 8 and min(height, width) >= 2 * factor * min_side:
        factor *= 2
    return -(-height // factor), -(-width // factor)


def _rgb(image: Image.Image, background: tuple[int, int, int]) -> Rgb:
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        image = Image.fromarray(_eight_bits(np.asarray(image), image.mode))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        canvas = Image.new("RGBA", image.size, (*background, 255))
        image = Image.alpha_composite(canvas, image)
    return np.asarray(image.convert("RGB"))


def _eight_bits(grey: NDArray[np.generic], mode: str) -> Rgb:
    """Return grey values (h, w) as uint8: 0..65535 by range, 0..255 as they are, anything else by its extremes."""
    if mode.startswith("I;16"):
        return (grey.astype(np.uint32) >> 8).astype(np.uint8)
    # In blocks of rows: a huge float image must not be held several times over in double precision.
    step = max(1, 1_000_000 // grey.shape[1])
    blocks = [slice(start, start + step) for start in range(0, len(grey), step)]
    low = min(float(_finite(grey[block]).min()) for block in blocks)
    high = max(float(_finite(grey[block]).max()) for block in blocks)
    stretch = low < 0 or not 1 < high <= 255
    factor = (255.0 / (high - low) if high > low else 0.0) if stretch else 1.0
    shades = np.empty(grey.shape, np.uint8)
    for block in blocks:
        shades[block] = np.rint((_finite(grey[block]) - (low if stretch else 0.0)) * factor)
    return shades


def _finite(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _turn(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except _DAMAGE:
        return 1


def _turned(pixels: Rgb, turn: int) -> Rgb:
    """Return the pixels upright: EXIF orientations 2..8 are mirrorings and quarter turns."""
    if turn in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if turn in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if turn in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
