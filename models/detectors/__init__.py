"""Every detector by name: the only place where a new one of ours is listed."""

import difflib
from functools import lru_cache

from fuseline.models.config import FrozenConfig
from fuseline.models.detectors.base import Detector
from fuseline.models.detectors.faces import Mtcnn
from fuseline.models.detectors.fasterrcnn import FasterRcnn
from fuseline.models.detectors.objects import SsdLite
from fuseline.models.detectors.ocr import RapidOcr
from fuseline.models.detectors.tesseract import Tesseract
from fuseline.plugins import Registry

OURS: tuple[type[Detector], ...] = (RapidOcr, Mtcnn, SsdLite, FasterRcnn, Tesseract)
DETECTORS: Registry[type[Detector]] = Registry("detector", {detector.kind: detector for detector in OURS})


def detector_config(name: str) -> type[FrozenConfig]:
    """Return the type of a detector's options; raises ValueError with the nearest valid name."""
    if name not in DETECTORS:
        near = difflib.get_close_matches(name, DETECTORS, n=1)
        cure = f"did you mean {near[0]!r}?" if near else "see `fuseline list detectors`"
        raise ValueError(f"detector: expected one of {sorted(DETECTORS)}, got {name!r}; {cure}")
    return DETECTORS[name].Config


def get_detector(name: str, options: FrozenConfig) -> Detector:
    """Return the detector of this process for a name, options and weights: built once, loaded at its first use.

    As with encoders, weights that were replaced meanwhile make another one.
    """
    return _kept(name, options, DETECTORS[name](options).digest)


@lru_cache(maxsize=8)
def _kept(name: str, options: FrozenConfig, _digest: str) -> Detector:
    detector = DETECTORS[name](options)
    _ = detector.digest  # computed once and kept: the files may change later
    return detector


def registry_rows() -> list[dict[str, str]]:
    """Return name, summary and weights of every detector, for `fuseline list detectors`."""
    return [{"name": name, "summary": one.summary, "weights": one.origin} for name, one in DETECTORS.items()]
