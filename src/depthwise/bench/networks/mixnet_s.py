"""MixNet-S: Tan and Le, 2019, arXiv:1907.09595, figure 5."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from depthwise.bench.networks.layers import Classifier, ConvNorm, SqueezeExcite


@dataclass(frozen=True)
class Stage:
    """Blocks that are alike but for the stride of the first.

    Attributes:
        kernels: of the depthwise convolution, each for an equal share of the channels.
        expansion: of the channels of a block's input.
        out_channels: of each block.
        stride: of the first.
        blocks: how many there are.
        split: in how many groups pixels are expanded, and projected.
        squeeze: the channels of squeeze-and-excite, as a share of the input's; 0 without it.
    """

    kernels: tuple[int, ...]
    expansion: int
    out_channels: int
    stride: int
    blocks: int
    split: tuple[int, int] = (1, 1)
    squeeze: float = 0.0


STAGES = (
    Stage((3,), 6, 24, 2, 1, (2, 2)),
    Stage((3,), 3, 24, 1, 1, (2, 2)),
    Stage((3, 5, 7), 6, 40, 2, 1, (1, 1), 0.5),
    Stage((3, 5), 6, 40, 1, 3, (2, 2), 0.5),
    Stage((3, 5, 7), 6, 80, 2, 1, (1, 2), 0.25),
    Stage((3, 5), 6, 80, 1, 2, (1, 2), 0.25),
    Stage((3, 5, 7), 6, 120, 1, 1, (2, 2), 0.5),
    Stage((3, 5, 7, 9), 3, 120, 1, 2, (2, 2), 0.5),
    Stage((3, 5, 7, 9, 11), 6, 200, 2, 1, (1, 1), 0.5),
    Stage((3, 5, 7, 9), 6, 200, 1, 2, (1, 2), 0.5),
)


def shares(channels: int, parts: int) -> list[int]:
    """Return channels in equal parts, the first with what is left over."""
    each = channels // parts
    return [channels - each * (parts - 1), *[each] * (parts - 1)]


class Mixed(nn.Module):
    """Convolutions of a part of the channels each."""

    def __init__(self, convolutions: list[nn.Conv2d]) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(convolutions)
        self.channels = [each.in_channels for each in convolutions]

    def forward(self, x: Tensor) -> Tensor:
        """Return what they make, one after the other."""
        parts = torch.split(x, self.channels, dim=1)
        each = zip(self.convolutions, parts, strict=True)
        return torch.cat([convolution(part) for convolution, part in each], dim=1)


def pointwise(channels: int, out_channels: int, parts: int) -> nn.Module:
    """Return pointwise convolutions of equal parts of the channels."""
    pairs = zip(shares(channels, parts), shares(out_channels, parts), strict=True)
    made = [nn.Conv2d(*pair, 1, bias=False) for pair in pairs]
    return made[0] if parts == 1 else Mixed(made)


def depthwise(channels: int, kernels: tuple[int, ...], stride: int) -> nn.Module:
    """Return depthwise convolutions of several sizes."""
    made = [
        nn.Conv2d(part, part, kernel, stride, kernel // 2, groups=part, bias=False)
        for part, kernel in zip(shares(channels, len(kernels)), kernels, strict=True)
    ]
    return made[0] if len(kernels) == 1 else Mixed(made)


class Block(nn.Module):
    """An inverted residual of mixed convolutions."""

    def __init__(self, channels: int, stage: Stage, stride: int, activation: Any) -> None:
        super().__init__()
        wide, out_channels = channels * stage.expansion, stage.out_channels
        reduced = int(channels * stage.squeeze)
        gate = [SqueezeExcite(wide, reduced, activation, nn.Sigmoid)] if reduced else []
        self.body = nn.Sequential(
            pointwise(channels, wide, stage.split[0]),
            nn.BatchNorm2d(wide),
            activation(),
            depthwise(wide, stage.kernels, stride),
            nn.BatchNorm2d(wide),
            activation(),
            *gate,
            pointwise(wide, out_channels, stage.split[1]),
            nn.BatchNorm2d(out_channels),
        )
        self.residual = stride == 1 and channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out_channels, H / stride, W / stride)."""
        y: Tensor = self.body(x)
        return x + y if self.residual else y


def mixnet_s() -> nn.Sequential:
    """Return the network: (N, 3, 224, 224) to (N, 1000) logits."""
    channels = 16
    network = nn.Sequential(ConvNorm(3, channels, 3, 2, activation=nn.ReLU), Separable(channels))
    for stage in STAGES:
        activation = nn.SiLU if stage.squeeze else nn.ReLU
        for block in range(stage.blocks):
            stride = stage.stride if block == 0 else 1
            network.append(Block(channels, stage, stride, activation))
            channels = stage.out_channels
    network.append(ConvNorm(channels, 1536, 1, activation=nn.ReLU))
    return network.append(Classifier(1536))


class Separable(nn.Module):
    """Depthwise and linear pointwise convolution, beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ConvNorm(channels, channels, 3, groups=channels, activation=nn.ReLU),
            ConvNorm(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W)."""
        y: Tensor = x + self.body(x)
        return y
