"""ConvNeXt-T: Liu et al., "A ConvNet for the 2020s", 2022, arXiv:2201.03545."""

from __future__ import annotations

import torch
from torch import Tensor, nn

STAGES = ((96, 3), (192, 3), (384, 9), (768, 3))
"""Channels, blocks."""
EPSILON = 1e-6


class Permute(nn.Module):
    """The axes in another order."""

    def __init__(self, *axes: int) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: Tensor) -> Tensor:
        """Return a view."""
        return x.permute(self.axes)


class PixelNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel of (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W)."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """7x7 depthwise convolution, layer norm, two linear layers with GELU, scale, residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 7, padding=3, groups=channels),
            Permute(0, 2, 3, 1),
            nn.LayerNorm(channels, eps=EPSILON),
            nn.Linear(channels, 4 * channels),
            nn.GELU(),
            nn.Linear(4 * channels, channels),
            Permute(0, 3, 1, 2),
        )
        self.scale = nn.Parameter(torch.full((channels, 1, 1), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W)."""
        y: Tensor = x + self.scale * self.body(x)
        return y


def convnext_tiny() -> nn.Sequential:
    """Return the network: (N, 3, 224, 224) to (N, 1000) logits."""
    channels = STAGES[0][0]
    network = nn.Sequential(nn.Conv2d(3, channels, 4, 4), PixelNorm(channels))
    for wide, blocks in STAGES:
        if wide != channels:
            network.extend([PixelNorm(channels), nn.Conv2d(channels, wide, 2, 2)])
            channels = wide
        network.extend([Block(channels) for _ in range(blocks)])
    return network.extend(
        [
            nn.AdaptiveAvgPool2d(1),
            PixelNorm(channels),
            nn.Flatten(),
            nn.Linear(channels, 1000),
        ]
    )
