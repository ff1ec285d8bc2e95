"""RepViT-M0.9: Wang et al., 2023, arXiv:2307.09283, figure 3 and table 11, as it is trained."""

from __future__ import annotations

from torch import Tensor, nn

from depthwise.bench.networks.layers import ConvNorm, SqueezeExcite

STAGES = ((48, 3), (96, 3), (192, 15), (384, 2))
"""Channels, blocks."""


class FeedForward(nn.Module):
    """Two pointwise convolutions, twice as wide between them, beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ConvNorm(channels, 2 * channels, 1, activation=nn.GELU),
            ConvNorm(2 * channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W)."""
        y: Tensor = x + self.body(x)
        return y


class Mixer(nn.Module):
    """A depthwise 3x3 and a depthwise 1x1 convolution and the identity; batch norm of the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = ConvNorm(channels, channels, 3, groups=channels)
        self.scale = nn.Conv2d(channels, channels, 1, groups=channels)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W)."""
        y: Tensor = self.norm(self.convolution(x) + self.scale(x) + x)
        return y


class Heads(nn.Module):
    """Two linear layers with batch norms; the second learns from another network."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.BatchNorm1d(channels), nn.Linear(channels, 1000)) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean of both."""
        first, second = (head(x) for head in self.heads)
        y: Tensor = (first + second) / 2
        return y


def repvit_m0_9() -> nn.Sequential:
    """Return the network: (N, 3, 224, 224) to (N, 1000) logits."""
    channels = STAGES[0][0]
    network = nn.Sequential(
        ConvNorm(3, channels // 2, 3, 2, activation=nn.GELU),
        ConvNorm(channels // 2, channels, 3, 2),
    )
    for wide, blocks in STAGES:
        if wide != channels:
            network.extend(smaller(channels, wide))
            channels = wide
        for block in range(blocks):
            network.append(Mixer(channels))
            if block % 2 == 0 and block < blocks - 1:
                network.append(squeeze(channels))
            network.append(FeedForward(channels))
    return network.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten(), Heads(channels)])


def smaller(channels: int, wide: int) -> list[nn.Module]:
    """Return what halves height and width."""
    return [
        ConvNorm(channels, channels, 3, 2, groups=channels),
        ConvNorm(channels, wide, 1),
        FeedForward(wide),
    ]


def squeeze(channels: int) -> SqueezeExcite:
    """Return squeeze-and-excite to a quarter of the channels, in eights."""
    reduced = max(8, (channels // 4 + 4) // 8 * 8)
    return SqueezeExcite(channels, reduced, nn.ReLU, nn.Sigmoid)
