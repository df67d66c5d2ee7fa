"""What the detectors saw: a sheet of a data set's images with boxes, words, faces and objects drawn in."""

import io
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydantic import Field

from models.config import FrozenConfig
from tasks.images import ImageError, ImageLimits, decode, open_image

# Colours that stay apart for colour-blind readers: Okabe and Ito's blue, vermillion and green.
_COLOURS = {"ocr": (0, 114, 178), "face": (213, 94, 0), "object": (0, 158, 115)}
_INK, _PAPER = (40, 40, 40), (255, 255, 255)
_GAP, _HEAD = 8, 28


class ContactSheetConfig(FrozenConfig):
    """Which images are shown, and how large."""

    count: int = Field(24, ge=1, le=400)
    columns: int = Field(4, ge=1, le=20)
    side: int = Field(300, ge=64, le=1000)  # pixels of a tile
    min_score: float = Field(0.5, ge=0, le=1)
    limits: ImageLimits = ImageLimits()


def contact_sheet(
    documents: pa.Table, detections: dict[str, pa.Table], config: ContactSheetConfig, *, source: str
) -> bytes:
    """Return a PNG of the images on which most kinds of elements were found, evenly spread over the rows.

    Args:
        documents: columns `id` and `image`.
        detections: kind ("ocr", "face", "object") -> the same documents in the DETECTIONS schema.
        config: which and how.
        source: folder or URL below which image references lie.

    Images that can't be read are shown as an empty tile with their reason.
    """
    rows = chosen_rows(detections, documents.num_rows, config)
    tiles = [_tile(documents, detections, int(row), config, source) for row in rows]
    lines = [tiles[start : start + config.columns] for start in range(0, len(tiles), config.columns)]
    heights = [max(tile.height for tile in line) + _GAP for line in lines]
    width = max([len(line) for line in lines], default=1) * (config.side + _GAP) + _GAP
    sheet = Image.new("RGB", (max(width, 280), sum(heights) + _HEAD), _PAPER)
    _legend(sheet, sorted(detections))
    for line, top in zip(lines, np.cumsum([_HEAD, *heights]).tolist(), strict=False):
        for column, tile in enumerate(line):
            sheet.paste(tile, (_GAP + column * (config.side + _GAP), top))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def chosen_rows(detections: dict[str, pa.Table], n_rows: int, config: ContactSheetConfig) -> NDArray[np.int64]:
    """Return the rows to show, in their order: those with more kinds of elements first, evenly spread."""
    kinds = np.zeros(n_rows, np.int64)
    for table in detections.values():
        found = [bool(_strong(elements, config.min_score)) for elements in table["elements"].to_pylist()]
        kinds += np.array(found, np.int64)
    chosen: list[int] = []
    for wanted in range(len(detections), -1, -1):
        rows = np.flatnonzero(kinds == wanted)
        room = min(config.count - len(chosen), len(rows))
        if room > 0:
            chosen += rows[np.linspace(0, len(rows) - 1, room).astype(np.int64)].tolist()
    return np.array(sorted(set(chosen)), np.int64)


def _tile(
    documents: pa.Table, detections: dict[str, pa.Table], row: int, config: ContactSheetConfig, source: str
) -> Image.Image:
    name = str(documents["id"][row].as_py())
    found = {kind: _strong(table["elements"][row].as_py(), config.min_score) for kind, table in detections.items()}
    words = " ".join(str(element["text"]) for element in found.get("ocr", []))
    try:
        data = open_image(documents["image"][row].as_py(), source, config.limits)
        picture = Image.fromarray(decode(data, limits=config.limits, min_side=config.side))
    except ImageError as refused:
        picture = Image.new("RGB", (config.side, 80), (235, 235, 235))
        ImageDraw.Draw(picture).text((8, 8), refused.slug, fill=_INK, font=_font(12))
    else:
        picture.thumbnail((config.side, config.side))
        for kind in sorted(found):
            _mark(picture, kind, found[kind])
    tile = Image.new("RGB", (config.side, picture.height + (34 if words else 17)), _PAPER)
    tile.paste(picture, (0, 0))
    draw = ImageDraw.Draw(tile)
    draw.text((0, picture.height + 1), _cut(name, config.side), fill=_INK, font=_font(12))
    draw.text((0, picture.height + 17), _cut(words, config.side), fill=_COLOURS["ocr"], font=_font(12))
    return tile


def _mark(picture: Image.Image, kind: str, elements: Sequence[dict[str, object]]) -> None:
    """Draw one kind of elements into a picture."""
    draw, (width, height), colour = ImageDraw.Draw(picture), picture.size, _COLOURS.get(kind, _INK)
    for element in reversed(elements):
        left, top, right, bottom = np.array(element["box"]) * (width, height, width, height)
        draw.rectangle((left, top, max(right, left), max(bottom, top)), outline=colour, width=2)
        for x, y in np.array(element["points"] if kind == "face" else []).reshape(-1, 2) * (width, height):
            draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=colour)
        if kind != "ocr":  # words would hide the words: they stand below the picture
            label = f"{element['label']} {element['score']:.2f}"
            _label(draw, _cut(label, int(width - max(left, 0))), left, top, colour)


def _label(draw: ImageDraw.ImageDraw, text: str, left: float, top: float, colour: tuple[int, int, int]) -> None:
    x, y = max(left, 0.0), max(top - 13, 0.0)
    draw.rectangle(draw.textbbox((x + 1, y), text, font=_font(11)), fill=colour)
    draw.text((x + 1, y), text, fill=_PAPER, font=_font(11))


def _legend(sheet: Image.Image, kinds: Sequence[str]) -> None:
    draw, x = ImageDraw.Draw(sheet), _GAP
    for kind in kinds:
        draw.rectangle((x, 8, x + 10, 18), fill=_COLOURS.get(kind, _INK))
        draw.text((x + 15, 6), kind, fill=_INK, font=_font(12))
        x += 80


def _strong(elements: Sequence[dict[str, object]], min_score: float) -> list[dict[str, object]]:
    return [element for element in elements if float(str(element["score"])) >= min_score]


def _cut(text: str, pixels: int) -> str:
    """Return as much of a text as fits, at about six pixels a letter."""
    room = max(1, pixels // 6)
    return text if len(text) <= room else text[: max(1, room - 1)] + "…"


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
