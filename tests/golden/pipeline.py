"""The golden pipeline: made-up documents of every modality, and a configuration with one of everything that fits."""

import csv
import random
from pathlib import Path
from typing import Any

import yaml
from PIL import Image, ImageDraw, ImageFont

KINDS = {"apple": "red", "pear": "green", "plum": "blue"}
WORDS = {"apple": ["crisp", "round", "orchard"], "pear": ["soft", "juicy", "garden"], "plum": ["sweet", "dark", "jam"]}
N = 48
# The engine is bit-equal for a seed on one thread alone.
SMALL = {"preset": "fasttext", "dim": 8, "lr": 0.5, "epochs": 4, "deterministic": True}
CODES = {**SMALL, "alpha": 0.3}


def write_data(folder: Path) -> Path:
    """Write a table with gaps in every column and a picture per document; return the configuration's path."""
    folder.mkdir(parents=True)
    rows = [_document(folder, number) for number in range(N)]
    with (folder / "fruit.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    path = folder / "golden.yaml"
    path.write_text(yaml.safe_dump(settings(folder)), encoding="utf-8")
    return path


def settings(folder: Path) -> dict[str, Any]:
    """Return the configuration."""
    options = {
        "columns": {"id": "sku", "image": "photo", "labels": "label"},
        "tabular": {"price": "number", "colour": "category"},
    }
    return {
        "name": "fruit",
        "root": str(folder / "out"),
        "source": {"reader": "csv", "path": str(folder / "fruit.csv"), "options": options},
        "shard_size": 20,
        "detect": {"words": {"detector": "rapidocr"}, "objects": {"detector": "ssdlite_coco"}},
        "crops": {"objects": {"detections": "objects", "encoder": "efficientnet_lite2", "min_score": 0.05}},
        "embed": {
            "image": {"encoder": "efficientnet_lite2"},
            "text": {"encoder": "minilm"},
            "columns": {"encoder": "tabular"},
            "colours": {"encoder": "tabular", "output": "indices", "options": {"columns": ["cat_colour"]}},
        },
        "quantize": {
            "pq": {"quantizer": "pq", "options": {"parts": 4, "codewords": 8}},
            "rspq": {"quantizer": "rspq", "options": {"parts": 4, "codewords": 8, "repeats": 2}},
        },
        "models": {
            "text": {"kind": "text", "options": {**SMALL, "minn": 3, "maxn": 4, "buckets": 1000}},
            "signs": {"kind": "text", "options": SMALL, "ocr": ["words"]},
            **{kind: {"kind": kind, "options": SMALL} for kind in ("additive", "max", "gated", "bilinear")},
            "image": {"kind": "image", "options": SMALL},
            "bilinear_gated": {"kind": "bilinear_gated", "options": SMALL},
            "pq": {"kind": "pq", "options": CODES},
            "rspq": {"kind": "rspq", "options": {**CODES, "codes": "rspq"}},
            "trees": {"kind": "lightgbm", "options": {"rounds": 10, "min_rows": 3, "bins": 255,
                                                    "early_stopping": None, "embeddings": ["columns", "image"]}},
            "tfidf": {"kind": "tfidf_linear", "options": {"C": 1.0}},
            "gmu": {"kind": "gmu", "options": {"epochs": 3, "dim": 8, "lr": 0.005}},
            "average": {"kind": "avg_probs", "options": SMALL},
        },
        "evaluation": {"splits": ["train", "valid", "test"]},
        "report": {"gallery": 2, "contact_sheet": 2},
        "sweep": {
            "models": ["text", "pq"], "lr": [0.25, 0.5], "epochs": [2], "dim": [4], "alpha": [0.2], "seeds": 2,
        },
        "run": {"workers": 1, "allowed_failures": 0.2},
    }  # fmt: skip


def _document(folder: Path, number: int) -> dict[str, Any]:
    rng = random.Random(number)
    kind, price = sorted(KINDS)[number % 3], rng.choice([3.5, 4.0, 90.0, 120.0])
    if number % 13 != 12:
        picture = Image.new("RGB", (160, 120), "white")
        pen = ImageDraw.Draw(picture)
        pen.ellipse((100, 60, 150, 110), fill=KINDS[kind])
        if number % 5:
            pen.text((10, 10), kind.upper(), "black", ImageFont.load_default(36))
        picture.save(folder / f"{number}.png")
    return {
        "sku": f"s{number:03d}",
        "title": f"fresh {kind}" if number % 7 else "",
        "text": " ".join(rng.choices(WORDS[kind], k=3)) if number % 9 else "",
        "photo": f"{number}.png",
        "price": "" if number % 11 == 10 else price,
        "colour": KINDS[kind] if number % 4 else "",
        "label": kind,
        "split": "test" if number % 5 == 1 else "valid" if number % 5 == 2 else "train",
    }
