"""The EfficientNet-Lite network in torch; attribute names are those of the published weight files."""

import math

import torch
from torch import nn
from torch.nn.functional import relu6

_BN_EPSILON = 1e-3


class LiteNet(nn.Module):
    """Stem, inverted residual blocks, head and mean pooling: (n, 3, side, side) -> (n, head).

    Args:
        blocks: (kernel, stride, expansion, channels in, channels out) per block.
        stem, head: channels before and after the blocks.
        side: input height and width, from which the uneven padding of strided convolutions follows.
    """

    def __init__(self, blocks: list[tuple[int, int, int, int, int]], stem: int, head: int, side: int) -> None:
        super().__init__()
        self._conv_stem, side = _conv(3, stem, kernel=3, stride=2, side=side)
        self._bn0 = _norm(stem)
        self._blocks = nn.ModuleList()
        for kernel, stride, expansion, inside, out in blocks:
            self._blocks.append(_Block(kernel, stride, expansion, inside, out, side))
            side = math.ceil(side / stride)
        self._conv_head, _ = _conv(blocks[-1][-1], head, kernel=1, stride=1, side=side)
        self._bn1 = _norm(head)
        self._fc = nn.Linear(head, 1000)  # the ImageNet classes: loaded, so that nothing in the file is left over

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the pooled features (n, head)."""
        x = relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        pooled: torch.Tensor = relu6(self._bn1(self._conv_head(x))).mean(dim=(2, 3))
        return pooled


class _Block(nn.Module):
    def __init__(self, kernel: int, stride: int, expansion: int, inside: int, out: int, side: int) -> None:
        super().__init__()
        self.residual = stride == 1 and inside == out
        self.expands = expansion != 1
        wide = inside * expansion
        if self.expands:
            self._expand_conv, self._bn0 = _conv(inside, wide, kernel=1, stride=1, side=side)[0], _norm(wide)
        depthwise, side = _conv(wide, wide, kernel=kernel, stride=stride, side=side, groups=wide)
        self._depthwise_conv, self._bn1 = depthwise, _norm(wide)
        self._project_conv, self._bn2 = _conv(wide, out, kernel=1, stride=1, side=side)[0], _norm(out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        out: torch.Tensor = x + y if self.residual else y
        return out


class _Padded(nn.Conv2d):
    """A convolution that first pads each side by its own amount; its parameters keep their plain names."""

    before: tuple[int, int, int, int]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self._conv_forward(nn.functional.pad(x, self.before), self.weight, self.bias)
        return out


def _conv(inside: int, out: int, *, kernel: int, stride: int, side: int, groups: int = 1) -> tuple[nn.Conv2d, int]:
    """Return a convolution that keeps ceil(side / stride) pixels, as TensorFlow pads, and that number."""
    after = math.ceil(side / stride)
    total = max((after - 1) * stride + kernel - side, 0)
    low, high = total // 2, total - total // 2
    if low == high:
        return nn.Conv2d(inside, out, kernel, stride, padding=low, groups=groups, bias=False), after
    conv = _Padded(inside, out, kernel, stride, groups=groups, bias=False)
    conv.before = (low, high, low, high)
    return conv, after


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_BN_EPSILON)
