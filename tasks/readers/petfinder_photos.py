"""Google Vision's annotations of PetFinder's photos, as tabular columns; an absent file leaves nulls."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from fuseline.tasks.readers.base import ReaderOptions
from fuseline.tasks.readers.places import Place
from fuseline.tasks.readers.sidecars import whole_json

COLUMNS: dict[str, pa.DataType] = {
    "cat_photo_label": pa.string(),  # the label with the highest score
    "num_photo_label_score": pa.float64(),
    "num_photo_labels": pa.float64(),  # how many
    "num_photo_red": pa.float64(),  # of the dominant colour, 0 to 255
    "num_photo_green": pa.float64(),
    "num_photo_blue": pa.float64(),
    "num_photo_color_score": pa.float64(),
    "num_photo_color_pixels": pa.float64(),  # its share of the photo
    "num_photo_crop_confidence": pa.float64(),
    "num_photo_crop_importance": pa.float64(),
    "num_photo_faces": pa.float64(),
    "num_photo_texts": pa.float64(),  # 1 where there is writing: the release keeps the full text alone
}


def metadata_files(names: Sequence[str]) -> dict[str, str]:
    """Return "PetID-k" -> path of its JSON, of the files under train_metadata/ and test_metadata/."""
    files = [name for name in names if "_metadata/" in name and name.endswith(".json")]
    return {name.rsplit("/", 1)[-1].removesuffix(".json"): name for name in files}


def photo_columns(
    root: Place, photos: Sequence[str | None], files: dict[str, str], options: ReaderOptions
) -> dict[str, pa.Array]:
    """Return COLUMNS for some rows, each the path of a photo or None; {} when the release has no metadata at all."""
    if not files:
        return {}
    keys = [(photo or "").rsplit("/", 1)[-1].rpartition(".")[0] for photo in photos]
    rows = [vision(whole_json(root / files[key], options)[0]) if key in files else {} for key in keys]
    return {name: pa.array([one.get(name) for one in rows], kind) for name, kind in COLUMNS.items()}


def vision(value: Any) -> dict[str, float | str | None]:
    """Return the values of COLUMNS of one metadata file; {} when it is no object.

    What the service left out is null, but a colour's absent component is 0, as its format has it.
    """
    if not isinstance(value, dict):
        return {}
    labels = objects(value, "labelAnnotations")
    colors = objects(value, "imagePropertiesAnnotation", "dominantColors", "colors")
    label, color = (
        max(some, key=lambda one: json_number(one.get("score")) or 0.0, default={}) for some in (labels, colors)
    )
    crop = next(iter(objects(value, "cropHintsAnnotation", "cropHints")), {})
    name, shade = label.get("description"), color.get("color")
    parts = {f"num_photo_{part}": json_number(shade.get(part, 0)) if isinstance(shade, dict) else None for part in RGB}
    return {
        "cat_photo_label": name if isinstance(name, str) and "\0" not in name else None,
        "num_photo_label_score": json_number(label.get("score")),
        "num_photo_labels": float(len(labels)),
        **parts,
        "num_photo_color_score": json_number(color.get("score")),
        "num_photo_color_pixels": json_number(color.get("pixelFraction")),
        "num_photo_crop_confidence": json_number(crop.get("confidence")),
        "num_photo_crop_importance": json_number(crop.get("importanceFraction")),
        "num_photo_faces": float(len(objects(value, "faceAnnotations"))),
        "num_photo_texts": float(len(objects(value, "textAnnotations"))),
    }


def objects(value: object, *path: str) -> list[dict[str, object]]:
    """Return the objects of the list at a path of keys; [] where there is none."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def json_number(value: Any) -> float | None:
    """Return a JSON number; None for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


RGB = ("red", "green", "blue")
