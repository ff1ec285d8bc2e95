"""EdgeNeXt-XS without the encoding of positions: Maaz et al., 2022, arXiv:2206.10589, table 2."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from depthwise.bench.networks.convnext_tiny import EPSILON, Permute, PixelNorm

STAGES = ((32, 3, 3, 0), (64, 3, 5, 2), (100, 9, 7, 3), (192, 3, 9, 4))
"""Channels, blocks, kernel, parts of the last block, which has attention; 0 without it."""
HEADS = 4
EXPANSION = 4


def scale_of(channels: int, *ones: int) -> nn.Parameter:
    """Return a scale for each channel."""
    return nn.Parameter(torch.full((channels, *ones), 1e-6))


class Block(nn.Module):
    """Depthwise convolution, layer norm, two linear layers with GELU, scale, residual."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels),
            Permute(0, 2, 3, 1),
            *feed_forward(channels),
            Permute(0, 3, 1, 2),
        )
        self.scale = scale_of(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W)."""
        y: Tensor = x + self.scale * self.body(x)
        return y


def feed_forward(channels: int) -> list[nn.Module]:
    """Return layer norm and two linear layers with GELU."""
    wide = EXPANSION * channels
    return [
        nn.LayerNorm(channels, eps=EPSILON),
        nn.Linear(channels, wide),
        nn.GELU(),
        nn.Linear(wide, channels),
    ]


class CrossCovariance(nn.Module):
    """Attention of channels to channels, over all pixels: El-Nouby et al., 2021."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(HEADS, 1, 1))
        self.inputs, self.output = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, H * W, C)."""
        batch, pixels, channels = x.shape
        parts = self.inputs(x).reshape(batch, pixels, 3, HEADS, channels // HEADS)
        query, key, value = parts.permute(2, 0, 3, 4, 1)
        query, key = functional.normalize(query, dim=-1), functional.normalize(key, dim=-1)
        weights = (query @ key.transpose(-2, -1) * self.temperature).softmax(dim=-1)
        mixed = (weights @ value).permute(0, 3, 1, 2).reshape(batch, pixels, channels)
        y: Tensor = self.output(mixed)
        return y


class Attention(nn.Module):
    """Depthwise 3x3 convolutions of parts, each of the sum with the one before; attention."""

    def __init__(self, channels: int, parts: int) -> None:
        super().__init__()
        self.width = -(-channels // parts)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(self.width, self.width, 3, padding=1, groups=self.width)
            for _ in range(parts - 1)
        )
        self.norm = nn.LayerNorm(channels, eps=EPSILON)
        self.attention, self.scale = CrossCovariance(channels), scale_of(channels)
        self.body, self.last_scale = nn.Sequential(*feed_forward(channels)), scale_of(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W)."""
        first, *rest = x.split(self.width, dim=1)
        made = [self.convolutions[0](first)]
        for convolution, part in zip(self.convolutions[1:], rest[:-1], strict=True):
            made.append(convolution(made[-1] + part))
        y = torch.cat([*made, rest[-1]], dim=1)
        rows = y.flatten(2).transpose(1, 2)
        rows = rows + self.scale * self.attention(self.norm(rows))
        rows = rows + self.last_scale * self.body(rows)
        z: Tensor = x + rows.transpose(1, 2).reshape(x.shape)
        return z


def edgenext_xs() -> nn.Sequential:
    """Return the network: (N, 3, 256, 256) to (N, 1000) logits."""
    channels = STAGES[0][0]
    network = nn.Sequential(nn.Conv2d(3, channels, 4, 4), PixelNorm(channels))
    for wide, blocks, kernel, parts in STAGES:
        if wide != channels:
            network.extend([PixelNorm(channels), nn.Conv2d(channels, wide, 2, 2)])
            channels = wide
        network.extend([Block(channels, kernel) for _ in range(blocks - (parts > 0))])
        if parts:
            network.append(Attention(channels, parts))
    return network.extend(
        [
            nn.AdaptiveAvgPool2d(1),
            PixelNorm(channels),
            nn.Flatten(),
            nn.Linear(channels, 1000),
        ]
    )
