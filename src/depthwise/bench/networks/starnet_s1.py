"""StarNet-S1: Ma et al., "Rewrite the Stars", 2024, arXiv:2403.19967, figure 3 and table 8."""

from __future__ import annotations

from torch import Tensor, nn

from depthwise.bench.networks.layers import Classifier

STAGES = ((24, 2), (48, 2), (96, 8), (192, 3))
"""Channels, blocks."""
EXPANSION = 4


def convolution(
    channels: int, out_channels: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    """Return a convolution with a bias that keeps the size at stride 1."""
    return nn.Conv2d(channels, out_channels, kernel, stride, kernel // 2, groups=groups)


class Block(nn.Module):
    """The product of two pointwise convolutions between two depthwise ones, beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = EXPANSION * channels
        self.before = nn.Sequential(
            convolution(channels, channels, 7, groups=channels), nn.BatchNorm2d(channels)
        )
        self.first, self.second = convolution(channels, wide), convolution(channels, wide)
        self.activation = nn.ReLU6()
        self.after = nn.Sequential(
            convolution(wide, channels),
            nn.BatchNorm2d(channels),
            convolution(channels, channels, 7, groups=channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W)."""
        y = self.before(x)
        star = self.activation(self.first(y)) * self.second(y)
        z: Tensor = x + self.after(star)
        return z


def starnet_s1() -> nn.Sequential:
    """Return the network: (N, 3, 224, 224) to (N, 1000) logits."""
    channels = 32
    network = nn.Sequential(convolution(3, channels, 3, 2), nn.BatchNorm2d(channels), nn.ReLU6())
    for wide, blocks in STAGES:
        network.extend([convolution(channels, wide, 3, 2), nn.BatchNorm2d(wide)])
        network.extend([Block(wide) for _ in range(blocks)])
        channels = wide
    return network.extend([nn.BatchNorm2d(channels), Classifier(channels)])
