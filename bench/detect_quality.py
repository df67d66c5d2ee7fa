"""How well the detectors find what is known to be there: one JSON line.

    python -m bench.detect_quality --photos FOLDER --faces FOLDER [--images 60] [--reference FILE]

A folder holds documents.parquet (`id`, `image` = member name) and images.tar.
`--photos`: any photographs with a column `caption`. Captions of four words are drawn onto them and read again (word
recall, with the other words found as `ocr_extra` per image); objects that a photograph's own caption names are looked
for; with `--reference`, a NanoDet-Plus ONNX file, the boxes it is sure of are.
`--faces`: pictures with `annotations`, JSON of {"bbox": [x0, y0, x1, y1], "text": ...} times `scale`, and `task`.
face: recall and precision at an overlap of .4, and how often two views of one face (turned, darker, smaller) lie nearer
than two different faces. text-recognition, text-detection+recognition and page-ocr: recall of the written words.
"""

import argparse
import io
import json
import re
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

from fuseline.models.detectors import DETECTORS, get_detector
from fuseline.models.detectors.base import Element, suppress
from fuseline.models.detectors.faces import face_chip
from fuseline.models.encoders import ENCODERS, get_encoder
from fuseline.models.encoders.base import onnx_session
from fuseline.models.threads import limit_threads

COCO = "bicycle car motorcycle airplane bus train truck boat bench bird cat dog horse sheep cow elephant umbrella tie bottle bowl chair couch bed clock vase book".split()  # noqa: SIM905, E501
SYNONYMS = {"man": "person", "men": "person", "woman": "person", "women": "person", "boy": "person", "girl": "person",
            "girls": "person", "boys": "person", "child": "person", "children": "person", "farmer": "person",
            "worker": "person", "workers": "person", "family": "person", "people": "person", "portrait": "person",
            "automobile": "car", "cars": "car", "horses": "horse", "boats": "boat", "cattle": "cow", "cows": "cow",
            "trucks": "truck", "books": "book"}  # fmt: skip
WORDS = "market bread summer river garden window yellow friend coffee station number winter letter music".split()  # noqa: SIM905
TURN = 8.0
Pixels = NDArray[np.uint8]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--reference", type=Path)
    args = parser.parse_args()
    limit_threads(1)
    photos, checks = pictures(args.photos), pictures(args.faces)
    captioned = [pixels for pixels, _ in photos][: args.images]
    labelled = [(pixels, boxes(row)) for pixels, row in checks if row.get("task") == "face"]
    found = {
        **ocr_recall(captioned), **written_words(checks), **face_recall(labelled),
        **face_pairs([pixels for pixels, _ in labelled]), **named_objects(photos),
    }  # fmt: skip
    if args.reference:
        found |= reference_boxes([pixels for pixels, _ in photos], args.reference)
    print(json.dumps(found))


def pictures(folder: Path) -> list[tuple[Pixels, dict[str, Any]]]:
    """Return (pixels, row) of a folder's documents."""
    with tarfile.open(folder / "images.tar") as archive:
        members = {Path(member.name).name: member for member in archive.getmembers()}
        found = []
        for row in pq.read_table(folder / "documents.parquet").to_pylist():
            file = archive.extractfile(members[row["image"]]) if row["image"] else None
            if file is not None:
                found.append((np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB")), row))
    return found


def find(name: str, pixels: Pixels) -> list[Element]:
    """Return what a detector finds with its defaults."""
    detector = get_detector(name, DETECTORS[name].Config())
    return detector.detect(detector.prepare(pixels))


def ocr_recall(photos: list[Pixels]) -> dict[str, float]:
    """Draw captions on photographs enlarged to 800 pixels, read them, count the words that came back."""
    rng, hits, total, extra = np.random.default_rng(0), 0, 0, 0
    for pixels in photos:
        image = Image.fromarray(pixels)
        image = image.resize([round(side * 800 / max(image.size)) for side in image.size])
        words = rng.choice(WORDS, 4, replace=False).tolist()
        colour = ("white", "black", "yellow")[int(rng.integers(3))]
        place = (int(rng.integers(10, 80)), int(rng.integers(10, max(11, image.height - 80))))
        ImageDraw.Draw(image).text(
            place, " ".join(words), font=ImageFont.load_default(int(rng.integers(24, 40))), fill=colour,
            stroke_width=1, stroke_fill="black" if colour != "black" else "white",
        )  # fmt: skip
        elements = find("rapidocr", np.asarray(image))
        read = " ".join(element.text or "" for element in elements if element.score >= 0.5).lower().split()
        hits += sum(word in read for word in words)
        extra += sum(word not in words for word in read)
        total += len(words)
    return {
        "ocr_word_recall": round(hits / total, 3),
        "ocr_extra": round(extra / len(photos), 2),
        "ocr_images": len(photos),
    }


def written_words(checks: list[tuple[Pixels, dict[str, Any]]]) -> dict[str, float]:
    """Return per task the share of the written words that were read, each as often as it is there."""
    hits, total = Counter[str](), Counter[str]()
    for pixels, row in checks:
        known = [one.get("text") for one in json.loads(row["annotations"]) if not one.get("ignore")]
        words = spelt(" ".join(text for text in known if text))
        if row["task"] != "face" and words:
            read = Counter(spelt(" ".join(one.text or "" for one in find("rapidocr", pixels) if one.score >= 0.5)))
            hits[row["task"]] += sum((Counter(words) & read).values())
            total[row["task"]] += len(words)
    return {f"ocr_{task}": round(hits[task] / total[task], 3) for task in sorted(total)} | {
        f"ocr_{task}_words": total[task] for task in sorted(total)
    }


def spelt(text: str) -> list[str]:
    """Return lower-case words of two and more letters or digits."""
    return re.findall(r"[^\W_]{2,}", text.lower())


def named_objects(photos: list[tuple[Pixels, dict[str, Any]]], floor: float = 0.3) -> dict[str, Any]:
    """Count the photographs in which an object that their caption names is found."""
    hits, total = Counter[str](), Counter[str]()
    for pixels, row in photos:
        words = set(spelt(row.get("caption") or ""))
        named = {SYNONYMS[word] for word in words if word in SYNONYMS} | (words & set(COCO))
        seen = {one.label for one in find("ssdlite_coco", pixels) if one.score >= floor} if named else set()
        hits.update(named & seen)
        total.update(named)
    per_class = {name: f"{hits[name]}/{total[name]}" for name, _ in total.most_common(8)}
    recall = round(hits.total() / max(1, total.total()), 3)
    return {"object_named_recall": recall, "object_named": total.total(), "object_named_classes": per_class}


def reference_boxes(photos: list[Pixels], file: Path, sure_from: float = 0.5) -> dict[str, Any]:
    """Return the share of the reference's sure boxes that ours overlaps by half with the same class, by size."""
    session = onnx_session(file, threads=1)
    edges, hits, total = {"large": 0.4, "middle": 0.15, "small": 0.0}, Counter[str](), Counter[str]()
    names = get_detector("ssdlite_coco", DETECTORS["ssdlite_coco"].Config())._session[1]
    for pixels in photos:
        ours = [one for one in find("ssdlite_coco", pixels) if one.score >= 0.3]
        for box, label in nanodet(session, pixels, sure_from):
            size = next(name for name, edge in edges.items() if np.sqrt(np.prod(box[2:] - box[:2])) >= edge)
            same = [one for one in ours if one.label == names[label] and iou(np.array(one.box), box) >= 0.5]
            hits[size] += bool(same)
            total[size] += 1
    shares = {f"object_reference_{name}": round(hits[name] / max(1, total[name]), 3) for name in edges}
    return shares | {f"object_reference_{name}_boxes": total[name] for name in edges}


def nanodet(session: Any, pixels: Pixels, floor: float, side: int = 416) -> list[tuple[NDArray[np.float64], int]]:
    """Return boxes (4,) as fractions of the image, and classes, of a NanoDet-Plus network."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    small = Image.fromarray(pixels).resize(
        (max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BILINEAR
    )
    canvas = np.zeros((side, side, 3), np.float32)
    canvas[: small.height, : small.width] = np.asarray(small)[..., ::-1]
    canvas = (canvas - (103.53, 116.28, 123.675)) / (57.375, 57.12, 58.395)
    image = np.ascontiguousarray(canvas.astype(np.float32).transpose(2, 0, 1)[None])
    found, scores = (output[0] for output in session.run(["boxes", "scores"], {session.get_inputs()[0].name: image}))
    anchor, label = np.nonzero(scores >= floor)
    kept = suppress(found[anchor], scores[anchor, label], label, iou=0.6)
    return [(found[anchor[k]] / (np.array([width, height] * 2) * scale), int(label[k])) for k in kept]


def boxes(row: dict[str, Any]) -> NDArray[np.float64]:
    """Return the annotated boxes (n, 4) in pixels of the stored picture."""
    known = [one["bbox"] for one in json.loads(row["annotations"]) if not one.get("ignore")]
    return np.asarray(np.array(known, np.float64).reshape(-1, 4) * float(row["scale"]))


def face_recall(labelled: list[tuple[Pixels, NDArray[np.float64]]], floor: float = 0.9) -> dict[str, float]:
    """Count annotated faces that a detected box overlaps by .4 and more, and detections without such a face."""
    hits, known, found, right = 0, 0, 0, 0
    for pixels, truth in labelled:
        size = np.array([pixels.shape[1], pixels.shape[0]] * 2)
        faces = np.array([one.box for one in find("mtcnn", pixels) if one.score >= floor]).reshape(-1, 4) * size
        overlap = np.array([[iou(a, b) for b in faces] for a in truth]).reshape(len(truth), len(faces))
        hits += int((overlap >= 0.4).any(axis=1).sum())
        right += int((overlap >= 0.4).any(axis=0).sum())
        known, found = known + len(truth), found + len(faces)
    return {"face_recall": round(hits / known, 3), "face_precision": round(right / found, 3), "faces": known}


def face_pairs(photos: list[Pixels]) -> dict[str, float]:
    """Compare two views of every face with the views of every other face of the same picture."""
    encoder = get_encoder("dlib_face", ENCODERS["dlib_face"].Config())
    near, far = [], []
    for pixels in photos:
        view, faces = changed(pixels), sure(find("mtcnn", pixels))
        others = sure(find("mtcnn", view))
        if not faces or not others:
            continue
        one = encoder.encode([encoder.prepare(chip(pixels, face)) for face in faces])
        two = encoder.encode([encoder.prepare(chip(view, face)) for face in others])
        gaps = np.linalg.norm(one[:, None] - two[None], axis=2)
        same = apart(faces, others, pixels.shape[:2]) < 0.03
        near += gaps[same].tolist()
        far += gaps[~same].tolist()
    return {
        "face_pair_auc": round(float(np.mean([[a < b for b in far] for a in near])), 4),
        "face_pairs": len(near),
        "face_same_below_0.6": round(float(np.mean(np.array(near) < 0.6)), 3),
        "face_other_above_0.6": round(float(np.mean(np.array(far) > 0.6)), 3),
    }


def sure(faces: list[Element]) -> list[Element]:
    """Return the faces that are surely faces."""
    return [face for face in faces if face.score >= 0.95]


def changed(pixels: Pixels) -> Pixels:
    """Return another view: turned by TURN degrees, darker, smaller."""
    image = ImageEnhance.Brightness(Image.fromarray(pixels).rotate(TURN, Image.Resampling.BILINEAR)).enhance(0.75)
    return np.asarray(image.resize([round(side * 0.8) for side in image.size]))


def apart(faces: list[Element], others: list[Element], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return how far each face's nose lies from each of the turned view, as a share of the diagonal."""
    size = np.array([shape[1], shape[0]])
    angle = np.deg2rad(-TURN)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    start = (np.array([face.points[2] for face in faces]) - 0.5) * size @ turn.T
    end = (np.array([face.points[2] for face in others]) - 0.5) * size
    return np.asarray(np.linalg.norm(start[:, None] - end[None], axis=2) / np.linalg.norm(size))


def chip(pixels: Pixels, face: Element) -> Pixels:
    """Return the aligned face."""
    return face_chip(pixels, np.array(face.points) * (pixels.shape[1], pixels.shape[0]))


def iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the overlap of two boxes over their union."""
    shared = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
    return float(shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared))


if __name__ == "__main__":
    main()
