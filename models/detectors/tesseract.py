"""Text in images by the tesseract program, where it is installed."""

import csv
import io
import os
import shutil
import subprocess
from functools import cached_property
from typing import ClassVar

from PIL import Image
from pydantic import Field

from fuseline.models.config import FrozenConfig, runtime_option
from fuseline.models.detectors.base import Element, Finds, Rgb, bounded, fit_within
from fuseline.models.encoders.base import text_digest
from fuseline.models.errors import MissingWeights

_VERSION = "tesseract-1"
_CURE = "install it with its language data, for example `apt-get install tesseract-ocr`"


class TesseractConfig(FrozenConfig):
    """How the program is called."""

    languages: str = Field(
        "eng",
        pattern=r"^[A-Za-z_]+(\+[A-Za-z_]+)*$",
        description="Languages to read, joined by +, such as eng+fra: `tesseract --list-langs` shows them",
    )
    layout: int = Field(11, ge=0, le=13, description="Tesseract's page segmentation mode; 11 looks for sparse text")
    side: int = Field(1600, ge=32, le=8000, description="Pixels that the longer side of an image is scaled down to")
    min_score: float = Field(0.3, ge=0, le=1, description="Confidence from which a word is kept")
    timeout: float = runtime_option(60.0, gt=0, description="Seconds that one image may take")


class Tesseract:
    """Detector and reader of words, joined to lines."""

    kind: ClassVar[str] = "tesseract"
    summary: ClassVar[str] = "the tesseract program: text of scanned pages"
    origin: ClassVar[str] = "program tesseract-ocr and its language data, Apache-2.0"
    finds: ClassVar[Finds] = "ocr"
    Config: ClassVar[type[FrozenConfig]] = TesseractConfig

    def __init__(self, config: TesseractConfig) -> None:
        self.config = config
        self.min_side = config.side // 2

    @cached_property
    def program(self) -> str:
        """Path of the program; raises MissingWeights."""
        path = shutil.which("tesseract")
        if path is None:
            raise MissingWeights(f"tesseract: is not on the PATH; {_CURE}")
        return path

    @cached_property
    def digest(self) -> str:
        """Version of the program; raises MissingWeights when a language is not installed."""
        known = subprocess.run(
            [self.program, "--list-langs"], capture_output=True, text=True, check=False
        ).stdout.split()
        absent = sorted(set(self.config.languages.split("+")) - set(known))
        if absent:
            raise MissingWeights(
                f"tesseract: expected the languages {self.config.languages!r}, got none of {absent}; {_CURE}"
            )
        version = subprocess.run([self.program, "--version"], capture_output=True, text=True, check=False)
        return text_digest(f"{_VERSION} {(version.stdout or version.stderr).splitlines()[0]}")

    def prepare(self, pixels: Rgb) -> Rgb:
        """Return the image with its longer side at most `side`."""
        return fit_within(pixels, self.config.side)

    def detect(self, prepared: Rgb) -> list[Element]:
        """Return lines in the program's order; raises RuntimeError when it fails or takes too long."""
        height, width = prepared.shape[:2]
        if min(height, width) < 8:
            return []
        buffer = io.BytesIO()
        Image.fromarray(prepared).save(buffer, "PNG", compress_level=1)
        command = [
            self.program,
            "stdin",
            "stdout",
            "-l",
            self.config.languages,
            "--psm",
            str(self.config.layout),
            "tsv",
        ]
        try:
            done = subprocess.run(
                command, input=buffer.getvalue(), capture_output=True, check=True, timeout=self.config.timeout,
                env={**os.environ, "OMP_THREAD_LIMIT": "1"},
            )  # fmt: skip
        except subprocess.SubprocessError as error:
            raise RuntimeError(f"tesseract: {error}") from error
        return lines(done.stdout.decode("utf-8", "replace"), width, height, min_score=self.config.min_score)


def lines(table: str, width: int, height: int, *, min_score: float) -> list[Element]:
    """Return the lines of tesseract's TSV output: a box around its words, their mean confidence as score."""
    groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for word in csv.DictReader(io.StringIO(table), delimiter="\t", quoting=csv.QUOTE_NONE):
        if word["text"] and word["text"].strip() and float(word["conf"]) / 100 >= min_score:
            groups.setdefault((word["page_num"], word["block_num"], word["par_num"], word["line_num"]), []).append(word)
    return [_line(words, width, height) for words in groups.values()]


def _line(words: list[dict[str, str]], width: int, height: int) -> Element:
    left, top = min(int(word["left"]) for word in words), min(int(word["top"]) for word in words)
    right = max(int(word["left"]) + int(word["width"]) for word in words)
    bottom = max(int(word["top"]) + int(word["height"]) for word in words)
    box = bounded(left / width, top / height, right / width, bottom / height)
    corners = ((box[0], box[1]), (box[2], box[1]), (box[2], box[3]), (box[0], box[3]))
    score = sum(float(word["conf"]) for word in words) / len(words) / 100
    return Element(box, score, "text", " ".join(word["text"].strip() for word in words), corners)
