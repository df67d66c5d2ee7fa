"""Every kind of image file and every kind of damage: right pixels, or a slug."""

import io
import os
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fuseline.tasks.engine.images import ImageError, ImageLimits, decode, open_image, size

LIMITS = ImageLimits()


def picture(height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """A smooth coloured picture whose four corners differ."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // max(width - 1, 1), y * 255 // max(height - 1, 1), np.full_like(x, 90)], 2).astype(
        np.uint8
    )


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def slug(data: bytes, **options: Any) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data, **{"limits": LIMITS, **options})
    return caught.value.slug


def png(width: int, height: int, rows: bytes = b"") -> bytes:
    """A PNG with any header; its rows need not be there."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "ICO"])
def test_lossless_kinds_give_their_pixels(kind: str) -> None:
    pixels = picture(48, 48)
    decoded = decode(encoded(Image.fromarray(pixels), kind), limits=LIMITS)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, pixels)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
def test_lossy_kinds_give_nearly_their_pixels(kind: str) -> None:
    decoded = decode(encoded(Image.fromarray(picture()), kind, quality=95), limits=LIMITS)
    assert np.abs(decoded.astype(int) - picture()).mean() < 3


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_turns(kind: str, turn: int) -> None:
    image = Image.fromarray(picture())
    exif = Image.Exif()
    exif[0x0112] = turn
    data = encoded(image, kind, exif=exif)
    with Image.open(io.BytesIO(data)) as opened:
        wanted = np.asarray(ImageOps.exif_transpose(opened).convert("RGB")).astype(int)
    decoded = decode(data, limits=LIMITS)
    assert decoded.shape == wanted.shape
    assert np.abs(decoded - wanted).mean() < 2


def test_cmyk_palette_grey_and_bilevel() -> None:
    rgb = Image.fromarray(picture())
    cmyk = decode(encoded(rgb.convert("CMYK"), "JPEG", quality=95), limits=LIMITS)
    assert np.abs(cmyk.astype(int) - picture()).mean() < 5
    palette = rgb.convert("P", palette=Image.Palette.ADAPTIVE, colors=64)
    np.testing.assert_array_equal(decode(encoded(palette), limits=LIMITS), np.asarray(palette.convert("RGB")))
    grey = decode(encoded(rgb.convert("L"), "JPEG"), limits=LIMITS)
    assert (grey[..., 0] == grey[..., 2]).all()
    assert set(np.unique(decode(encoded(rgb.convert("1")), limits=LIMITS))) == {0, 255}


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_alpha_lies_on_the_background(mode: str) -> None:
    if mode == "P":
        image = Image.new("P", (4, 4), 0)
        image.putpalette([10, 20, 30, 40, 50, 60])
        data = encoded(image, transparency=0)
    else:
        data = encoded(Image.new(mode, (4, 4), (0, 0, 0, 0) if mode == "RGBA" else (0, 0)))
    assert (decode(data, limits=LIMITS) == 255).all()
    assert (decode(data, limits=LIMITS, background=(1, 2, 3))[0, 0] == (1, 2, 3)).all()


def test_half_alpha_is_mixed() -> None:
    data = encoded(Image.new("RGBA", (1, 1), (255, 0, 0, 128)))
    np.testing.assert_allclose(decode(data, limits=LIMITS)[0, 0], (255, 127, 127), atol=1)


def test_sixteen_bits_and_floats() -> None:
    grey = np.array([[0, 256, 32_768, 65_535]], np.uint16)
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(grey)), limits=LIMITS)[0, :, 0], [0, 1, 128, 255])
    floats = Image.fromarray(np.array([[-1.0, 0.0, 1.0]], np.float32))
    np.testing.assert_array_equal(decode(encoded(floats, "TIFF"), limits=LIMITS)[0, :, 0], [0, 128, 255])
    ints = Image.fromarray(np.array([[7, 200]], np.int32))
    np.testing.assert_array_equal(decode(encoded(ints, "TIFF"), limits=LIMITS)[0, :, 0], [7, 200])
    wild = Image.fromarray(np.array([[np.nan, np.inf]], np.float32))
    assert (decode(encoded(wild, "TIFF"), limits=LIMITS) == 0).all()


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
        assert decode(data, limits=LIMITS)[4, 4, 0] > 240


def test_scaled_jpeg_never_falls_below_the_minimum() -> None:
    pixels = picture(900, 1600)
    data = encoded(Image.fromarray(pixels), "JPEG", quality=95)
    assert decode(data, limits=LIMITS).shape == (900, 1600, 3)
    assert decode(data, limits=LIMITS, min_side=2000).shape == (900, 1600, 3)
    small = decode(data, limits=LIMITS, min_side=200)
    assert small.shape[:2] < (900, 1600)
    assert min(small.shape[:2]) >= 200
    resized = np.asarray(Image.fromarray(pixels).resize(small.shape[1::-1], Image.Resampling.BOX)).astype(int)
    assert np.abs(small - resized).mean() < 2
    cmyk = decode(encoded(Image.fromarray(pixels).convert("CMYK"), "JPEG"), limits=LIMITS, min_side=200)
    assert 200 <= min(cmyk.shape[:2]) < 900


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 20_000), (20_000, 1)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_odd_shapes(kind: str, width: int, height: int) -> None:
    data = encoded(Image.new("RGB", (width, height), "white"), kind)
    decoded = decode(data, limits=LIMITS, min_side=297)
    assert decoded.shape == (height, width, 3)
    assert size(data, limits=LIMITS) == (kind, width, height)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.9])
def test_truncated_files_are_bad(kind: str, part: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    assert slug(data[: int(len(data) * part)]) == "bad_image"


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8\xff", b"<!doctype html><p>404", b"x" * 999, b"\x89PNG\r\n\x1a\n", b"BM"]
)
def test_no_image_at_all_is_bad(data: bytes) -> None:
    assert slug(data) == "bad_image"


@pytest.mark.parametrize("seed", range(60))
def test_flipped_bytes_never_escape(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP")[seed % 6]
    data = bytearray(encoded(Image.fromarray(picture()), kind))
    for _ in range(8):
        data[rng.integers(len(data))] = rng.integers(256)
    slugs = []
    try:
        assert decode(bytes(data), limits=LIMITS, min_side=16).ndim == 3
    except ImageError as error:
        slugs.append(error.slug)
    assert set(slugs) <= {"bad_image", "too_large"}


def test_bombs_cost_nothing() -> None:
    start = time.monotonic()
    assert slug(png(60_000, 60_000)) == "too_large"
    with pytest.raises(ImageError, match="too_large: 60000 x 60000 pixels"):
        size(png(60_000, 60_000), limits=LIMITS)
    assert slug(png(100, 100), limits=ImageLimits(max_pixels=9_999)) == "too_large"
    assert slug(png(100, 100), limits=ImageLimits(max_bytes=10)) == "too_large"
    assert time.monotonic() - start < 0.5


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    data = encoded(Image.fromarray(picture()), "JPEG", progressive=True)
    first = data.index(b"\xff\xda")
    assert decode(data, limits=LIMITS).shape == (48, 64, 3)
    assert slug(data[:first] + data[first:-2] * 101 + b"\xff\xd9") == "too_large"


def test_slow_decoding_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(0, 1_000_000, 10))
    monkeypatch.setattr("fuseline.tasks.engine.images.time.monotonic", lambda: float(next(ticks)))
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    assert slug(encoded(Image.fromarray(noise)), limits=ImageLimits(timeout=50)) == "timeout"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "x.jpg").write_bytes(b"0123456789")
    (tmp_path / "secret").write_bytes(b"secret")
    return folder


def refused(image: dict[str, Any] | None, root: Path | str, **limits: Any) -> str:
    with pytest.raises(ImageError) as caught:
        open_image(image, str(root), limits=ImageLimits(**limits))
    return caught.value.slug


def test_open_whole_files_ranges_and_bytes(root: Path) -> None:
    assert open_image({"uri": "a/x.jpg"}, str(root), limits=LIMITS) == b"0123456789"
    member = {"uri": "a/x.jpg", "offset": 2, "length": 3, "bytes": None}
    assert open_image(member, str(root), limits=LIMITS) == b"234"
    assert open_image({"uri": None, "bytes": b"abc"}, str(root), limits=LIMITS) == b"abc"


def test_open_from_a_url(root: Path) -> None:
    system = fsspec.filesystem("memory")
    system.pipe("/images-test/x.png", b"0123456789")
    image = {"uri": "x.png", "offset": 1, "length": 2}
    assert open_image(image, "memory://images-test", limits=LIMITS) == b"12"
    assert refused({"uri": "y.png"}, "memory://images-test") == "no_image"
    assert open_image({"uri": "a/x.jpg"}, f"file://{root}", limits=LIMITS) == b"0123456789"


@pytest.mark.parametrize(
    "uri",
    ["../secret", "a/../../secret", "/etc/passwd", "file:///etc/passwd", "ftp://x/y", "a\\..\\x", "C:\\x", "", "a\0b"],
)
def test_nothing_outside_the_root_is_opened(root: Path, uri: str) -> None:
    assert refused({"uri": uri}, root) == "bad_uri"


def test_nothing_is_fetched_from_the_network(root: Path) -> None:
    for url in ("http://127.0.0.1/x.jpg", "https://example.com/x.jpg?key=1"):
        assert refused({"uri": url}, root) == refused({"uri": url}, "memory://x") == "remote"


def test_references_that_lead_nowhere(root: Path) -> None:
    assert refused(None, root) == "missing"
    assert refused({"uri": None, "bytes": None}, root) == "missing"
    assert refused({"uri": "a/none.jpg"}, root) == "no_image"
    assert refused({"uri": "a"}, root) == "no_image"
    assert refused({"uri": "x" * 5000}, root) == "no_image"
    assert refused({"uri": "a/x.jpg", "offset": 8, "length": 5}, root) == "bad_image"
    assert refused({"uri": "a/x.jpg", "offset": -1, "length": 5}, root) == "bad_uri"
    assert refused({"uri": "a/x.jpg"}, root, max_bytes=9) == "too_large"
    assert refused({"bytes": b"0123456789"}, root, max_bytes=9) == "too_large"


def test_a_named_pipe_does_not_block(root: Path) -> None:
    os.mkfifo(root / "pipe.jpg")
    assert refused({"uri": "pipe.jpg"}, root) == "no_image"
