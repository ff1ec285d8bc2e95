"""InceptionNeXt-T: Yu et al., 2023, arXiv:2303.16900, figure 2 and table 2."""

from __future__ import annotations

import torch
from torch import Tensor, nn

STAGES = ((96, 3, 4), (192, 3, 4), (384, 9, 4), (768, 3, 3))
"""Channels, blocks, expansion."""
EPSILON = 1e-6


class Mixer(nn.Module):
    """Depthwise 3x3, 1x11 and 11x1 convolutions of an eighth of the channels each."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        each = channels // 8
        self.channels = [channels - 3 * each, each, each, each]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(each, each, kernel, padding=(kernel[0] // 2, kernel[1] // 2), groups=each)
            for kernel in ((3, 3), (1, 11), (11, 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W)."""
        same, *parts = torch.split(x, self.channels, dim=1)
        each = zip(self.convolutions, parts, strict=True)
        return torch.cat([same, *(convolution(part) for convolution, part in each)], dim=1)


class Block(nn.Module):
    """The mixer, batch norm, two pointwise convolutions with GELU, scale, residual."""

    def __init__(self, channels: int, expansion: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            Mixer(channels),
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, expansion * channels, 1),
            nn.GELU(),
            nn.Conv2d(expansion * channels, channels, 1),
        )
        self.scale = nn.Parameter(torch.full((channels, 1, 1), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W)."""
        y: Tensor = x + self.scale * self.body(x)
        return y


def inception_next_tiny() -> nn.Sequential:
    """Return the network: (N, 3, 224, 224) to (N, 1000) logits."""
    channels = STAGES[0][0]
    network = nn.Sequential(nn.Conv2d(3, channels, 4, 4), nn.BatchNorm2d(channels))
    for wide, blocks, expansion in STAGES:
        if wide != channels:
            network.extend([nn.BatchNorm2d(channels), nn.Conv2d(channels, wide, 2, 2)])
            channels = wide
        network.extend([Block(channels, expansion) for _ in range(blocks)])
    return network.extend(
        [
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, 3 * channels),
            nn.GELU(),
            nn.LayerNorm(3 * channels, eps=EPSILON),
            nn.Linear(3 * channels, 1000),
        ]
    )
