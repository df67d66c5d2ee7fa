"""Image networks of torchvision and timm by name, with a weight file that the user has."""

import importlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fuseline.models.config import FrozenConfig, runtime_option
from fuseline.models.device import Batches, Device, Precision, forward, to_device, torch_device
from fuseline.models.encoders.base import Modality, files_digest, package
from fuseline.models.errors import MissingWeights
from fuseline.models.frames import Frame, resized
from fuseline.models.threads import thread_limit
from fuseline.models.weights import download_cure, fetched, supplied, weight_places

Rgb = NDArray[np.uint8]
Pixels = Literal["imagenet", "unit", "caffe"]

_VERSION = "backbone-1"
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_STD = np.array([0.229, 0.224, 0.225], np.float32)
_CAFFE_MEAN = np.array([123.68, 116.779, 103.939], np.float32)  # red, green, blue


class BackbonePreset(NamedTuple):
    """A network by its library's name, and how the papers show it images."""

    library: Literal["torchvision", "timm"]
    architecture: str
    dim: int  # of the layer before the classes
    file: str  # weight file, as its publisher names it
    megabytes: int
    side: int = 224
    pixels: Pixels = "imagenet"
    frame: Frame = "crop"

    @property
    def url(self) -> str:
        """Where the publisher keeps the file."""
        if self.library == "torchvision":
            return f"https://download.pytorch.org/models/{self.file}"
        return f"https://huggingface.co/timm/{self.architecture}/resolve/main/model.safetensors"

    @property
    def sha256_starts(self) -> str:
        """The first digits of the file's SHA-256, which torchvision writes into its name."""
        return self.file.rpartition("-")[2].removesuffix(".pth") if self.library == "torchvision" else ""


# File names of torchvision end in the first digits of their SHA-256.
PRESETS = {
    "resnet152": BackbonePreset("torchvision", "resnet152", 2048, "resnet152-394f9c45.pth", 231),  # paper K
    "resnet34": BackbonePreset("torchvision", "resnet34", 512, "resnet34-b627a593.pth", 83),  # paper K
    "resnet50": BackbonePreset("torchvision", "resnet50", 2048, "resnet50-0676ba61.pth", 98),
    "vgg16": BackbonePreset("torchvision", "vgg16", 4096, "vgg16-397923af.pth", 528),  # paper Z
    "inception_v3": BackbonePreset("torchvision", "inception_v3", 2048, "inception_v3_google-0cc3c7bd.pth", 104, 300,
                                   "unit", "stretch"),  # paper M
    "mobilenet_v2": BackbonePreset("torchvision", "mobilenet_v2", 1280, "mobilenet_v2-b0353104.pth", 14, 300, "unit",
                           "stretch"),  # paper M
    "densenet121": BackbonePreset("torchvision", "densenet121", 1024, "densenet121-a639ec97.pth", 31, 512, "unit",
                          "stretch"),  # paper P
    "resnet50v2": BackbonePreset("timm", "resnetv2_50.a1h_in1k", 2048, "resnetv2_50.a1h_in1k.safetensors", 102, 300,
                                 "unit", "stretch"),  # paper M
    "resnext101_wsl": BackbonePreset("timm", "resnext101_32x16d.fb_wsl_ig1b_ft_in1k", 2048,
                             "resnext101_32x16d.fb_wsl_ig1b_ft_in1k.safetensors", 777),  # paper R
}  # fmt: skip


class WeightFileConfig(FrozenConfig):
    """Where the weight file of a network is."""

    weights: Path | None = runtime_option(
        None, description="Weight file; default: looked for by name in $FUSELINE_WEIGHTS and torch's hub cache"
    )
    hub: bool = runtime_option(False, description="Download a weight file that is nowhere from its publisher")
    sha256: str | None = runtime_option(
        None, description="SHA-256 that the weight file must have, in hex; another file is refused"
    )


class BackboneConfig(WeightFileConfig):
    """Weights, layer and view of a network; None takes the preset's value."""

    layer: str = Field(
        "pooled",
        description="Layer that gives the embedding: pooled is what enters the last one; else a module's "
        "name, whose spatial outputs are averaged",
    )
    side: int | None = Field(
        None, ge=32, le=2048, description="Pixels of the side that the network sees; default: the preset's"
    )
    pixels: Pixels | None = Field(
        None,
        description="Scale of pixel values: imagenet: mean and deviation; unit: 0..1; caffe: 0..255, "
        "mean-subtracted BGR; default: the preset's",
    )
    frame: Frame | None = Field(
        None, description="crop: the centre square; stretch: the whole image; default: the preset's"
    )
    precision: Precision = Field("float32", description="Number format of the network")
    device: Device = runtime_option(
        "auto", description="Where torch runs the network: auto takes a GPU where there is one"
    )
    threads: int | None = runtime_option(
        None, ge=1, description="Threads of the network; default: what the process may use"
    )


class Backbone:
    """Image encoder: any layer of a torchvision or timm network; there is a subclass per preset.

    Args:
        config: weights, layer and view.
    """

    kind: ClassVar[str]
    summary: ClassVar[str]
    origin: ClassVar[str]
    modality: ClassVar[Modality] = "image"
    Config: ClassVar[type[FrozenConfig]] = BackboneConfig
    preset: ClassVar[BackbonePreset]

    def __init__(self, config: BackboneConfig) -> None:
        self.config, self.name = config, self.kind
        self.side = config.side or self.preset.side
        self.pixels = config.pixels or self.preset.pixels
        self.frame = config.frame or self.preset.frame
        self.min_side: int | None = self.side
        self._batches = Batches(self.name)

    @cached_property
    def dim(self) -> int:
        """Length of an embedding; a layer other than "pooled" is asked by running the network once."""
        if self.config.layer == "pooled":
            return self.preset.dim
        return int(self.encode([np.zeros((self.side, self.side, 3), np.uint8)]).shape[1])

    @cached_property
    def file(self) -> Path:
        """Path of the weight file; raises MissingWeights."""
        path = self.config.weights or next((path for path in weight_places(self.preset.file) if path.is_file()), None)
        if path is None and self.config.hub:
            path = fetched(self.preset.url, self.preset.file, what=self.name, sha256_starts=self.preset.sha256_starts)
        named = self.preset.sha256_starts if path is not None and path.name == self.preset.file else ""
        cure = download_cure(
            self.preset.url, self.preset.file, megabytes=self.preset.megabytes, sha256_starts=self.preset.sha256_starts
        )
        return supplied(path, what=self.name, sha256=self.config.sha256 or named or None, cure=cure)

    @cached_property
    def digest(self) -> str:
        """Weights, view, layer and precision."""
        view = (self.preset.architecture, self.side, self.pixels, self.frame, self.config.layer, self.config.precision)
        return files_digest([self.file], salt=f"{_VERSION} {view}")

    def prepare(self, item: Rgb) -> Rgb:
        """Return the image as (side, side, 3) uint8, bicubic."""
        return resized(item, self.side, self.frame)

    def encode(self, items: Sequence[Rgb]) -> NDArray[np.float32]:
        """Return embeddings (n, dim) of n prepared images."""
        return self._batches(self._embed, items)

    def _embed(self, items: Sequence[Rgb]) -> NDArray[np.float32]:
        net, read = self._network
        batch = to_device(_scaled(np.stack(items), self.pixels), torch_device(self.config.device))
        forward(net, batch, self.config.precision)
        return np.asarray(read().float().cpu().numpy(), np.float32)

    @cached_property
    def _network(self) -> tuple[Any, Any]:
        import torch

        torch.set_num_threads(self.config.threads or thread_limit())
        net = build_backbone(self.preset)
        net.load_state_dict(read_weights(self.file), strict=True)
        net = net.eval().to(torch_device(self.config.device))
        return net, _tap(net, self.config.layer, self.preset)


def _scaled(batch: Rgb, pixels: Pixels) -> NDArray[np.float32]:
    """Return (n, h, w, 3) uint8 as (n, 3, h, w) float32 in the scale that the weights were trained with."""
    values = batch.astype(np.float32)
    if pixels == "caffe":
        values = (values - _CAFFE_MEAN)[..., ::-1]
    else:
        values /= 255.0
        if pixels == "imagenet":
            values = (values - _MEAN) / _STD
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))


def build_backbone(preset: BackbonePreset, classes: int = 1000) -> Any:
    """Return the network of a preset with random weights, as its library draws them."""
    if preset.library == "timm":
        return package("timm", pip="timm").create_model(preset.architecture, pretrained=False, num_classes=classes)
    models = importlib.import_module("torchvision.models")
    extra = {"aux_logits": True, "init_weights": False} if preset.architecture == "inception_v3" else {}
    net = models.get_model(preset.architecture, weights=None, num_classes=classes, **extra)
    if preset.architecture == "inception_v3":
        net.transform_input = False  # the pixels are scaled here, by the configuration
    return net


def read_weights(file: Path) -> dict[str, Any]:
    """Return named tensors; pickles that hold anything but tensors are refused by torch."""
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return dict(load_file(file))
    import torch

    state = torch.load(file, map_location="cpu", weights_only=True)
    # Files of DenseNet-121 from before torch 0.4 name their layers "norm.1", which no module may be called today.
    return {name.replace(".norm.", ".norm").replace(".conv.", ".conv") if "denselayer" in name else name: tensor
            for name, tensor in state.items()}  # fmt: skip


def _tap(net: Any, layer: str, preset: BackbonePreset) -> Any:
    """Hook a layer; the returned function gives what it saw last, (n, dim)."""
    seen: list[Any] = []

    def keep(value: Any) -> None:
        value = value[0] if isinstance(value, tuple) else value
        seen[:] = [value.mean(dim=tuple(range(2, value.ndim))) if value.ndim > 2 else value]

    if layer == "pooled":
        last = last_layer(net, preset)[1]
        last.register_forward_pre_hook(lambda _module, inputs: keep(inputs))
        return lambda: seen[0]
    modules = dict(net.named_modules())
    if layer not in modules:
        raise ValueError(f"layer: expected 'pooled' or a module of {preset.architecture}, got {layer!r}; "
                         f"for example {list(modules)[-5:]}")  # fmt: skip
    modules[layer].register_forward_hook(lambda _module, _inputs, output: keep(output))
    return lambda: seen[0]


def last_layer(net: Any, preset: BackbonePreset) -> tuple[str, Any]:
    """Return the module that turns features into classes, and its name; raises MissingWeights without one."""
    from torch import nn

    if preset.library == "timm":
        found = [net.get_classifier()]
    else:
        top = net.fc if hasattr(net, "fc") else net.classifier
        found = [module for module in top.modules() if isinstance(module, nn.Linear)]
    if not found:
        what = f"{preset.architecture}: has no linear layer at its end"
        raise MissingWeights(f"{what}; name a layer instead of 'pooled'")
    (name,) = (name for name, module in net.named_modules() if module is found[-1])
    return name, found[-1]


def _network(name: str, chosen: BackbonePreset) -> type[Backbone]:
    class PresetBackbone(Backbone):
        kind = name
        summary = f"{chosen.library} {chosen.architecture}, {chosen.dim}-d, {chosen.side} pixels: any layer"
        origin = f"your file {chosen.file}, {chosen.megabytes} MB, its publisher's terms"
        preset = chosen

    return PresetBackbone


BACKBONES = tuple(_network(name, preset) for name, preset in PRESETS.items())
