"""Objects by torchvision's Faster R-CNN R50-FPN (papers R), with a weight file that the user has."""

from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from fuseline.models.config import FrozenConfig, runtime_option
from fuseline.models.detectors.base import Element, Finds, Rgb, bounded, fit_within, ranked
from fuseline.models.device import Device, torch_device
from fuseline.models.encoders.base import files_digest, package
from fuseline.models.threads import thread_limit
from fuseline.models.weights import download_cure, supplied, weight_places

_VERSION = "fasterrcnn-1"
_FILE, _SHA256 = "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth", "258fb6c6"  # torchvision names files by their digest


class FasterRcnnConfig(FrozenConfig):
    """Where the weights lie, and what is kept of the raw detections."""

    weights: Path | None = runtime_option(
        None, description="Weight file; default: looked for by name in $FUSELINE_WEIGHTS and torch's hub cache"
    )
    sha256: str | None = runtime_option(
        None, description="SHA-256 that the weight file must have, in hex; another file is refused"
    )
    min_score: float = Field(
        0.2, gt=0, le=1, description="Score from which an object is kept; paper R uses objects from 0.65"
    )
    limit: int = Field(100, ge=1, description="Objects kept per image, those of the highest scores")
    side: int = Field(1333, ge=64, le=4000, description="Pixels that the longer side of an image is scaled down to")
    device: Device = runtime_option(
        "auto", description="Where torch runs the network: auto takes a GPU where there is one"
    )
    threads: int | None = runtime_option(
        None, ge=1, description="Threads of the network; default: what the process may use"
    )


class FasterRcnn:
    """Object detector of the 80 COCO classes (Ren et al. 2015; paper R)."""

    kind: ClassVar[str] = "fasterrcnn_coco"
    summary: ClassVar[str] = "Faster R-CNN R50-FPN: objects of the 80 COCO classes, slow and better on small ones"
    origin: ClassVar[str] = "your file fasterrcnn_resnet50_fpn_coco-258fb6c6.pth, 160 MB, its publisher's terms"
    finds: ClassVar[Finds] = "object"
    Config: ClassVar[type[FrozenConfig]] = FasterRcnnConfig

    def __init__(self, config: FasterRcnnConfig) -> None:
        self.config = config
        self.min_side = min(800, config.side)

    @cached_property
    def file(self) -> Path:
        """Path of the weight file; raises MissingWeights."""
        path = self.config.weights or next((path for path in weight_places(_FILE) if path.is_file()), None)
        sha256 = self.config.sha256 or (_SHA256 if path is not None and path.name == _FILE else None)
        cure = download_cure(
            f"https://download.pytorch.org/models/{_FILE}", _FILE, megabytes=160, sha256_starts=_SHA256
        )
        return supplied(path, what="fasterrcnn_coco", sha256=sha256, cure=cure)

    @cached_property
    def digest(self) -> str:
        """Weights and post-processing."""
        return files_digest([self.file], salt=_VERSION)

    def prepare(self, pixels: Rgb) -> Rgb:
        """Return the image with its longer side at most `side`."""
        return fit_within(pixels, self.config.side)

    def detect(self, prepared: Rgb) -> list[Element]:
        """Return objects by falling score."""
        import torch

        height, width = prepared.shape[:2]
        if max(height, width) > 30 * min(height, width):
            return []  # the anchors fit nothing here, and scaling the shorter side to 800 would make a giant
        net, names = self._network
        pixels = (
            torch.from_numpy(prepared.copy()).permute(2, 0, 1).float().div(255).to(torch_device(self.config.device))
        )
        with torch.inference_mode():
            output = {name: tensor.cpu().numpy() for name, tensor in net([pixels])[0].items()}
        boxes = output["boxes"] / np.array([width, height, width, height], np.float32)
        rows = zip(boxes, output["scores"], output["labels"], strict=True)
        return ranked([Element(bounded(*box), float(score), names[label]) for box, score, label in rows])

    @cached_property
    def _network(self) -> tuple[Any, list[str]]:
        import torch

        detection = package("torchvision.models.detection", pip="torchvision")
        torch.set_num_threads(self.config.threads or thread_limit())
        net = detection.fasterrcnn_resnet50_fpn(
            weights=None, weights_backbone=None, box_score_thresh=self.config.min_score,
            box_detections_per_img=self.config.limit,
        )  # fmt: skip
        net.load_state_dict(torch.load(self.file, map_location="cpu", weights_only=True), strict=True)
        names = detection.FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
        return net.eval().to(torch_device(self.config.device)), list(names)
