"""Text in images: PP-OCR from the rapidocr package, or the tesseract program."""

from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fuseline.models.config import FrozenConfig, runtime_option
from fuseline.models.detectors.base import Element, Finds, Rgb, bounded, fit_within
from fuseline.models.encoders.base import files_digest, package
from fuseline.models.threads import thread_limit
from fuseline.models.weights import packaged

_VERSION = "rapidocr-1"
_PIP = "rapidocr==3.10.0 onnxruntime"
_SMALLEST = 8  # pixels: no text fits into less, and the package refuses such shapes


class RapidOcrConfig(FrozenConfig):
    """How text is searched and read."""

    side: int = Field(
        640, ge=32, le=4000, description="Pixels of the longer side at which lines are searched; 1280 finds small print"
    )
    read_side: int = Field(1600, ge=32, le=8000, description="Pixels of the longer side at which lines are read")
    min_score: float = Field(0.3, ge=0, le=1, description="Score of the reader from which a line is kept")
    upside_down: bool = Field(True, description="Look whether a line must be turned by half a turn")
    threads: int | None = runtime_option(
        None, ge=1, description="Threads of the network; default: what the process may use"
    )


class RapidOcr:
    """Detector and reader of text lines (PP-OCR)."""

    kind: ClassVar[str] = "rapidocr"
    summary: ClassVar[str] = "PP-OCRv6 small: text lines with boxes, words and scores"
    origin: ClassVar[str] = "package rapidocr, 27 MB, Apache-2.0"
    finds: ClassVar[Finds] = "ocr"
    Config: ClassVar[type[FrozenConfig]] = RapidOcrConfig

    def __init__(self, config: RapidOcrConfig) -> None:
        self.config = config
        self.min_side = config.read_side // 2

    @cached_property
    def digest(self) -> str:
        """Weights, and the version of the package that cuts out and orders the lines."""
        folder = Path(str(package("rapidocr", pip=_PIP).__file__)).parent / "models"
        files = packaged(sorted(folder.glob("*.onnx")), pip=_PIP, what="rapidocr")
        return files_digest(files, salt=f"{_VERSION} {metadata.version('rapidocr')}")

    def prepare(self, pixels: Rgb) -> Rgb:
        """Return the image with its longer side at most `read_side`."""
        return fit_within(pixels, self.config.read_side)

    def detect(self, prepared: Rgb) -> list[Element]:
        """Return text lines in reading order; `points` are the corners of each line."""
        height, width = prepared.shape[:2]
        if min(height, width) < _SMALLEST or max(height, width) > 50 * min(height, width):
            return []
        result = self._engine(np.ascontiguousarray(prepared[:, :, ::-1]))  # the package reads BGR
        if result.boxes is None or result.txts is None:
            return []
        lines = zip(result.boxes, result.txts, result.scores, strict=True)
        return [_line(corners / (width, height), text, score) for corners, text, score in lines]

    @cached_property
    def _engine(self) -> Any:
        threads = self.config.threads or thread_limit()
        return package("rapidocr", pip=_PIP).RapidOCR(params={
            "Global.log_level": "critical",
            "Global.text_score": self.config.min_score,
            "Global.max_side_len": self.config.read_side,
            "Global.use_cls": self.config.upside_down,
            "Det.limit_type": "max",
            "Det.limit_side_len": self.config.side,
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        })  # fmt: skip


def _line(corners: NDArray[np.float64], text: str, score: float) -> Element:
    low, high = corners.min(axis=0), corners.max(axis=0)
    points = tuple((float(x), float(y)) for x, y in corners)
    return Element(bounded(*low, *high), float(score), "text", text, points)
