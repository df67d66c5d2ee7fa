"""Where torch networks run, and batches that shrink when a device has no memory for more."""

import logging
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fuseline.models.errors import DeviceError

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

# auto: CUDA where torch finds it, else the processor.
Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]
# What the layers of a network compute in: the two shorter ones through torch's autocast.
Precision = Literal["float32", "bfloat16", "float16"]


def torch_device(name: str) -> "torch.device":
    """Return the device of a name; raises DeviceError for one that is not there.

    float32 stays float32 on a GPU, without the shorter TF32 that torch takes for convolutions, so that both devices
    give the same embeddings up to rounding.
    """
    import torch

    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    device = torch.device("cuda" if name == "auto" else name)
    if not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count():
        there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        cure = "install a torch with CUDA and its driver, or take device: auto"
        raise DeviceError(f"device: expected one of {there}, got {name!r}; {cure}")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return device


def to_device(batch: NDArray[Any], device: "torch.device") -> "torch.Tensor":
    """Return an array as a tensor there; page-locked memory lets the copy to a GPU run beside other work."""
    import torch

    tensor = torch.from_numpy(batch)
    if device.type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


def forward(net: "torch.nn.Module", batch: "torch.Tensor", precision: Precision) -> Any:
    """Return what a network makes of a batch, without gradients."""
    import torch

    mixed = precision != "float32"
    dtype = getattr(torch, precision) if mixed else torch.bfloat16
    with torch.inference_mode(), torch.autocast(batch.device.type, dtype=dtype, enabled=mixed):
        return net(batch)


class Batches:
    """Runs batches, halves those that a device has no memory for, and remembers the size that fitted.

    `run` must give each item its row whatever else is in the batch, so that the split changes nothing but speed.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.largest: int | None = None

    def size(self, n: int) -> int:
        """Return how many of n items, n >= 1, go into one batch."""
        return min(self.largest or n, n)

    def halve(self, size: int) -> None:
        """Take smaller batches from now on, while the error of a batch of `size` is handled; it is raised at 1."""
        if size == 1:
            raise
        self.largest = size // 2
        sys.modules["torch"].cuda.empty_cache()
        logger.warning("%s: batches of %d from now on, the device has no memory for more", self.name, self.largest)

    def __call__(
        self, run: Callable[[Sequence[Item]], NDArray[np.float32]], items: Sequence[Item]
    ) -> NDArray[np.float32]:
        """Return `run` of all items, one row each, n >= 1; raises torch's error when a single one is too much."""
        parts, start = list[NDArray[np.float32]](), 0
        while start < len(items):
            size = self.size(len(items) - start)
            try:
                parts.append(run(items[start : start + size]))
            except out_of_memory():
                self.halve(size)
                continue
            start += size
        return np.concatenate(parts)


def out_of_memory() -> type[Exception]:
    """Return torch's error for a full device; asked when something was raised, so that torch is not imported for it."""
    error: type[Exception] = sys.modules["torch"].OutOfMemoryError if "torch" in sys.modules else _Never
    return error


class _Never(Exception):  # noqa: N818 - it is never raised
    pass
