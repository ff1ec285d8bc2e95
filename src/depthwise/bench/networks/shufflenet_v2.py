"""ShuffleNetV2: Ma et al., 2018, arXiv:1807.11164, table 5, width 1."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from depthwise.bench.networks.layers import Classifier, ConvNorm

STAGES = ((116, 4), (232, 8), (464, 4))
"""Channels, blocks; the first of each has a stride of 2."""


def branch(channels: int, half: int, stride: int) -> nn.Sequential:
    """Return a pointwise, a depthwise and a pointwise convolution."""
    return nn.Sequential(
        ConvNorm(channels, half, 1, activation=nn.ReLU),
        ConvNorm(half, half, 3, stride, groups=half),
        ConvNorm(half, half, 1, activation=nn.ReLU),
    )


def shuffled(x: Tensor) -> Tensor:
    """Return the channels of both halves in turn."""
    batch, channels, height, width = x.shape
    halves = x.view(batch, 2, channels // 2, height, width)
    return halves.transpose(1, 2).reshape(batch, channels, height, width)


class Block(nn.Module):
    """Half of the channels as they are, beside a branch of the others."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = branch(channels // 2, channels // 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W)."""
        same, other = x.chunk(2, dim=1)
        return shuffled(torch.cat([same, self.branch(other)], dim=1))


class Downsampling(nn.Module):
    """Two branches of all channels."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        half = out_channels // 2
        self.short = nn.Sequential(
            ConvNorm(channels, channels, 3, 2, groups=channels),
            ConvNorm(channels, half, 1, activation=nn.ReLU),
        )
        self.branch = branch(channels, half, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out_channels, H / 2, W / 2)."""
        return shuffled(torch.cat([self.short(x), self.branch(x)], dim=1))


def shufflenet_v2() -> nn.Sequential:
    """Return the network: (N, 3, 224, 224) to (N, 1000) logits."""
    channels = 24
    network = nn.Sequential(ConvNorm(3, channels, 3, 2, activation=nn.ReLU), nn.MaxPool2d(3, 2, 1))
    for out_channels, blocks in STAGES:
        network.append(Downsampling(channels, out_channels))
        network.extend([Block(out_channels) for _ in range(blocks - 1)])
        channels = out_channels
    network.append(ConvNorm(channels, 1024, 1, activation=nn.ReLU))
    return network.append(Classifier(1024))
