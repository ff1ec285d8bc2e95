"""FastViT-T8: Vasu et al., 2023, arXiv:2303.14189, figure 2 and table 1, as it is trained."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from depthwise.bench.networks.layers import Branched, Classifier, ConvNorm, SqueezeExcite

STAGES = ((48, 2), (96, 2), (192, 4), (384, 2))
"""Channels, blocks."""
EXPANSION = 3

Gelu = partial(Branched, activation=nn.GELU)


class Mixer(nn.Module):
    """x + scale * (branches(x) - norm(x)), the branches depthwise."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = Branched(channels, channels, 3, groups=channels)
        self.norm = nn.BatchNorm2d(channels)
        self.scale = nn.Parameter(torch.full((channels, 1, 1), 1e-5))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W)."""
        y: Tensor = x + self.scale * (self.branches(x) - self.norm(x))
        return y


class FeedForward(nn.Module):
    """x + scale * f(x), f a depthwise 7x7 convolution and two pointwise ones."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = EXPANSION * channels
        self.body = nn.Sequential(
            ConvNorm(channels, channels, 7, groups=channels),
            nn.Conv2d(channels, wide, 1),
            nn.GELU(),
            nn.Conv2d(wide, channels, 1),
        )
        self.scale = nn.Parameter(torch.full((channels, 1, 1), 1e-5))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W)."""
        y: Tensor = x + self.scale * self.body(x)
        return y


class Smaller(nn.Module):
    """A 7x7 and a 3x3 convolution of stride 2, summed, each in groups; pointwise branches."""

    def __init__(self, channels: int, wide: int) -> None:
        super().__init__()
        self.large, self.small = (ConvNorm(channels, wide, k, 2, groups=channels) for k in (7, 3))
        self.pointwise = Gelu(wide, wide, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, wide, H / 2, W / 2)."""
        y: Tensor = self.pointwise(self.large(x) + self.small(x))
        return y


def fastvit_t8() -> nn.Sequential:
    """Return the network: (N, 3, 256, 256) to (N, 1000) logits."""
    channels = STAGES[0][0]
    network = nn.Sequential(
        Gelu(3, channels, 3, 2),
        Gelu(channels, channels, 3, 2, groups=channels),
        Gelu(channels, channels, 1),
    )
    for wide, blocks in STAGES:
        if wide != channels:
            network.append(Smaller(channels, wide))
            channels = wide
        for _ in range(blocks):
            network.extend([Mixer(channels), FeedForward(channels)])
    network.append(Gelu(channels, 2 * channels, 3, groups=channels, squeeze=squeeze))
    return network.append(Classifier(2 * channels))


def squeeze(channels: int) -> SqueezeExcite:
    """Return squeeze-and-excite to a sixteenth of the channels."""
    return SqueezeExcite(channels, channels // 16, nn.ReLU, nn.Sigmoid)
