"""What the detectors saw: some of a data set's images with boxes, faces and objects drawn in, and the words beside."""

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import xxhash
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin
from pydantic import Field

from fuseline.models.config import FrozenConfig
from fuseline.models.detectors import DETECTORS
from fuseline.stores.dataset import check_ids
from fuseline.stores.report_schemas import CONTACT_SHEET
from fuseline.tasks.engine.images import DECODER, DIGEST, ImageError, ImageLimits, decode, image_digests, open_image
from fuseline.tasks.engine.nodes import Context, Ingest, Read, Shards, ShardStage, Summary
from fuseline.tasks.stages.detect import DetectConfig

# Okabe and Ito's colours, which stay apart for colour-blind readers: one per detector, in the order of their names.
COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233))
ROLE = "contact_sheet"
SHOWN = "documents"  # the text chunk of the PNG file that names the documents
_INK, _PAPER, _GREY = (40, 40, 40), (255, 255, 255), (235, 235, 235)
_GAP, _HEAD, _LINE = 8, 28, 16

Elements = list[dict[str, Any]]
Colour = tuple[int, int, int]


class ContactSheetConfig(FrozenConfig):
    """Which images are shown, and how large. `kinds` maps a detector's name in the configuration to what it finds."""

    kinds: dict[str, str]
    count: int = Field(24, ge=1, le=400)
    side: int = Field(300, ge=64, le=1000)  # pixels of a picture
    min_score: float = Field(0.5, ge=0, le=1)
    seed: int = 0
    limits: ImageLimits = ImageLimits()


class SheetImage(NamedTuple):
    """One image on its way onto the sheet; the smallest `order` is shown first."""

    order: tuple[int, float, str]
    row: dict[str, Any]  # id, image
    elements: dict[str, Elements]  # by detector


def contact_sheet(shards: Iterable[list[pa.Table]], config: ContactSheetConfig, *, source: str) -> pa.Table:
    """Return CONTACT_SHEET rows: the images on which most detectors found something, chosen by a seeded hash of the id.

    Args:
        shards: per shard the documents (`id`, `image`), then one table in the DETECTIONS schema per name of
            `config.kinds`, sorted.
        config: which and how.
        source: folder or URL below which image references lie.

    Images that cannot be read are shown by their reason. Documents without an image are not shown. Raises
    AlignmentError when the tables of a shard hold different documents.
    """
    names, kept = sorted(config.kinds), list[SheetImage]()
    for documents, *detections in shards:
        for name, table in zip(names, detections, strict=True):
            check_ids(f"contact sheet, {name}", documents["id"], table["id"])
        more = _candidates(documents, dict(zip(names, detections, strict=True)), config)
        kept = sorted([*kept, *more], key=lambda sheet_image: sheet_image.order)[: config.count]
    return pa.Table.from_pylist([_row(sheet_image, config, source) for sheet_image in kept], schema=CONTACT_SHEET)


def draw_sheet(table: pa.Table, detectors: Sequence[str], *, columns: int = 4) -> bytes:
    """Return the rows of a contact sheet as one PNG, which names its documents under `SHOWN`."""
    tiles = [_tile(row) for row in table.to_pylist()]
    lines = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    heights = [max(tile.height for tile in line) + _GAP for line in lines]
    side = max((tile.width for tile in tiles), default=0)
    width = min(columns, len(tiles)) * (side + _GAP) + _GAP
    sheet = Image.new("RGB", (max(width, 280), sum(heights) + _HEAD), _PAPER)
    _legend(sheet, detectors)
    for line, top in zip(lines, np.cumsum([_HEAD, *heights]).tolist(), strict=False):
        for column, tile in enumerate(line):
            sheet.paste(tile, (_GAP + column * (side + _GAP), top))
    notes, buffer = PngImagePlugin.PngInfo(), io.BytesIO()
    notes.add_itxt(SHOWN, orjson.dumps(table["id"].to_pylist()).decode())
    sheet.save(buffer, "PNG", optimize=True, pnginfo=notes)
    return buffer.getvalue()


def drawn_documents(png: bytes) -> list[str] | None:
    """Return the ids of the documents that a PNG of `draw_sheet` shows; None for any other picture."""
    notes = Image.open(io.BytesIO(png)).info.get(SHOWN)
    return None if notes is None else [str(note) for note in orjson.loads(str(notes))]


def _candidates(
    documents: pa.Table, detections: Mapping[str, pa.Table], config: ContactSheetConfig
) -> list[SheetImage]:
    """Choose on the light columns first, so that pictures that were copied in are only touched when chosen."""
    elements = {
        name: [_strong(row, config) for row in table["elements"].to_pylist()] for name, table in detections.items()
    }
    has_image = np.asarray(documents["image"].is_valid())
    orders = []
    for number, document in enumerate(documents["id"].to_pylist()):
        if has_image[number]:
            drawn = xxhash.xxh3_64_intdigest(document.encode(), seed=config.seed) / 2**64
            orders.append((-sum(bool(rows[number]) for rows in elements.values()), drawn, document, number))
    best = sorted(orders)[: config.count]
    seen = documents.select(["id", "image"]).append_column(DIGEST, image_digests(documents))
    rows = seen.take(pa.array([number for *_, number in best], pa.int64())).to_pylist()
    return [
        SheetImage((kinds, drawn, document), row, {name: rows[number] for name, rows in elements.items()})
        for (kinds, drawn, document, number), row in zip(best, rows, strict=True)
    ]


def _row(sheet_image: SheetImage, config: ContactSheetConfig, source: str) -> dict[str, Any]:
    lines = [
        element
        for name in sorted(sheet_image.elements)
        if config.kinds[name] == "ocr"
        for element in sheet_image.elements[name]
    ]
    status, picture = "ok", None
    try:
        data = open_image(sheet_image.row["image"], source, config.limits, digest=sheet_image.row[DIGEST])
        picture = marked_picture(decode(data, limits=config.limits, min_side=config.side), sheet_image.elements, config)
    except ImageError as refused:
        status = refused.slug
    return {
        "id": sheet_image.row["id"], "status": status, "picture": picture,
        "words": " ".join(str(element["text"]) for element in lines),
        "found": [{"detector": name, "n": len(elements)} for name, elements in sorted(sheet_image.elements.items())],
    }  # fmt: skip


def marked_picture(pixels: np.ndarray[Any, Any], elements: Mapping[str, Elements], config: ContactSheetConfig) -> bytes:
    """Return WebP bytes of pixels (h, w, 3) uint8, scaled, with what each detector found drawn in."""
    picture, buffer = Image.fromarray(pixels), io.BytesIO()
    picture.thumbnail((config.side, config.side))
    for name, colour in colours(config.kinds).items():
        _mark(picture, config.kinds[name], elements[name], colour)
    # Words would hide the words, and a face needs no name.
    named = {name: elements[name] for name in elements if config.kinds[name] == "object"}
    _name(picture, named, colours(config.kinds))
    picture.save(buffer, "WEBP", quality=85)
    return buffer.getvalue()


def colours(detectors: Iterable[str]) -> dict[str, Colour]:
    """Return the colour of each detector."""
    return {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(sorted(detectors))}


def _mark(picture: Image.Image, kind: str, elements: Elements, colour: Colour) -> None:
    """Draw the boxes and points of one detector into a picture, the strongest on top."""
    draw = ImageDraw.Draw(picture)
    for element in sorted(elements, key=lambda each: float(each["score"])):
        left, top, right, bottom = _box(element, picture)
        # The lines of a page lie close: thick boxes would cover them.
        draw.rectangle((left, top, right, bottom), outline=colour, width=1 if bottom - top < 14 else 2)
        for x, y in np.array(element["points"] if kind == "face" else []).reshape(-1, 2) * picture.size:
            draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=colour)


def _name(picture: Image.Image, elements: Mapping[str, Elements], palette: Mapping[str, Colour]) -> None:
    """Write label and score on top of boxes, the strongest first; one that would hide another is left out."""
    draw, font, taken = ImageDraw.Draw(picture), _font(11), list[tuple[float, float, float, float]]()
    named = [(element, palette[name]) for name in sorted(elements) for element in elements[name]]
    for element, colour in sorted(named, key=lambda pair: -float(pair[0]["score"])):
        text = f"{element['label']} {element['score']:.2f}"
        left, top, _, _ = _box(element, picture)
        width = draw.textlength(text, font=font) + 4
        x, y = max(0.0, min(left, picture.width - width)), top - 14 if top >= 14 else top + 2
        if any(x < r and a < x + width and y < b and t < y + 14 for a, t, r, b in taken):
            continue
        taken.append((x, y, x + width, y + 14))
        draw.rectangle((x, y, x + width - 1, y + 13), fill=colour)
        draw.text((x + 2, y), text, fill=_PAPER, font=font)


def _box(element: Mapping[str, Any], picture: Image.Image) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom in pixels, in this order even where a box has no area."""
    left, top, right, bottom = (np.array(element["box"]) * (*picture.size, *picture.size)).tolist()
    return left, top, max(left, right), max(top, bottom)


def _tile(row: dict[str, Any], side: int = 300) -> Image.Image:
    """Return one picture of the PNG with id and words below."""
    if row["picture"] is None:
        picture = Image.new("RGB", (side, 80), _GREY)
        ImageDraw.Draw(picture).text((8, 8), row["status"], fill=_INK, font=_font(12))
    else:
        picture = Image.open(io.BytesIO(row["picture"])).convert("RGB")
        side = max(side, picture.width)
    lines = [(row["id"], _INK), *([(row["words"], _INK)] if row["words"] else [])]
    tile = Image.new("RGB", (side, picture.height + _LINE * len(lines)), _PAPER)
    tile.paste(picture, (0, 0))
    draw = ImageDraw.Draw(tile)
    for number, (text, ink) in enumerate(lines):
        draw.text((0, picture.height + 1 + _LINE * number), _cut(draw, text, side), fill=ink, font=_font(12))
    return tile


def _legend(sheet: Image.Image, detectors: Sequence[str]) -> None:
    draw, x = ImageDraw.Draw(sheet), float(_GAP)
    for name, colour in colours(detectors).items():
        draw.rectangle((x, 8, x + 10, 18), fill=colour)
        draw.text((x + 15, 6), name, fill=_INK, font=_font(12))
        x += 15 + draw.textlength(name, font=_font(12)) + 16


def _strong(elements: Elements, config: ContactSheetConfig) -> Elements:
    return [element for element in elements if element["score"] >= config.min_score]


def _cut(draw: ImageDraw.ImageDraw, text: str, pixels: int) -> str:
    """Return as much of a text as fits on one line."""
    text = " ".join(text[:1000].split())
    if draw.textlength(text, font=_font(12)) <= pixels:
        return text
    while text and draw.textlength(f"{text}…", font=_font(12)) > pixels:
        text = text[:-1]
    return f"{text}…"


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def show_detections(shards: Shards, config: ContactSheetConfig, context: Context) -> dict[str, pa.Table]:
    """Return the contact sheet of all detectors."""
    return {ROLE: contact_sheet(shards(), config, source=context.source)}


def stage(
    specs: Mapping[str, DetectConfig], documents: Ingest, detect: Mapping[str, ShardStage], *, count: int
) -> Summary:
    """Return the node of the contact sheet of all detectors."""
    kinds = {name: DETECTORS[spec.detector].finds for name, spec in sorted(specs.items())}
    detections = (Read(detect[name], ("elements",)) for name in kinds)
    return Summary(
        role=ROLE, short="detections", flow="evaluate", main=False, version=1, tables=(ROLE,), weights=DECODER,
        config=ContactSheetConfig(kinds=kinds, count=count), summarise=show_detections,
        reads=(Read(documents, ("image",), ("image_digest",)), *detections),
    )  # fmt: skip
