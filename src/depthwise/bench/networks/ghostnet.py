"""GhostNet: Han et al., 2020, arXiv:1911.11907, table 1."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from depthwise.bench.networks.layers import ConvNorm, SqueezeExcite

BLOCKS = (
    (3, 16, 16, False, 1),
    (3, 48, 24, False, 2),
    (3, 72, 24, False, 1),
    (5, 72, 40, True, 2),
    (5, 120, 40, True, 1),
    (3, 240, 80, False, 2),
    (3, 200, 80, False, 1),
    (3, 184, 80, False, 1),
    (3, 184, 80, False, 1),
    (3, 480, 112, True, 1),
    (3, 672, 112, True, 1),
    (5, 672, 160, True, 2),
    (5, 960, 160, False, 1),
    (5, 960, 160, True, 1),
    (5, 960, 160, False, 1),
    (5, 960, 160, True, 1),
)
"""Kernel, expanded channels, output channels, squeeze-and-excite, stride."""


class Ghost(nn.Module):
    """Half of the channels by a pointwise convolution, the others depthwise from these."""

    def __init__(self, channels: int, out_channels: int, *, activated: bool) -> None:
        super().__init__()
        half = out_channels // 2
        activation = nn.ReLU if activated else None
        self.primary = ConvNorm(channels, half, 1, activation=activation)
        self.cheap = ConvNorm(half, half, 3, groups=half, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out_channels, H, W)."""
        y = self.primary(x)
        return torch.cat([y, self.cheap(y)], dim=1)


class Bottleneck(nn.Module):
    """Two ghost modules, what is computed between them, and a shortcut.

    Args:
        channels: of the input.
        wide: of what is between the two.
        out_channels: of the output.
        kernel: taps of the depthwise convolution, in both directions, where the stride is not 1.
        squeezes: whether there is squeeze-and-excite.
        stride: of the depthwise convolution.
        first: the first of the two.
    """

    def __init__(
        self, channels: int, wide: int, out_channels: int, kernel: int, squeezes: bool, stride: int,
        first: nn.Module,
    ) -> None:  # fmt: skip
        super().__init__()
        smaller = [ConvNorm(wide, wide, kernel, stride, groups=wide)] if stride > 1 else []
        self.body = nn.Sequential(
            first,
            *smaller,
            *([squeeze(wide)] if squeezes else []),
            Ghost(wide, out_channels, activated=False),
        )
        self.shortcut = nn.Sequential()
        if stride > 1 or channels != out_channels:
            self.shortcut.extend(
                [
                    ConvNorm(channels, channels, kernel, stride, groups=channels),
                    ConvNorm(channels, out_channels, 1),
                ]
            )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out_channels, H / stride, W / stride)."""
        y: Tensor = self.body(x) + self.shortcut(x)
        return y


def ghostnet() -> nn.Sequential:
    """Return the network of width 1: (N, 3, 224, 224) to (N, 1000) logits."""
    return network_of(lambda channels, wide, _: Ghost(channels, wide, activated=True))


def network_of(first: Callable[[int, int, int], nn.Module]) -> nn.Sequential:
    """Return the network whose blocks begin with modules for channels in, out, and a place."""
    channels = 16
    network = nn.Sequential(ConvNorm(3, channels, 3, 2, activation=nn.ReLU))
    for place, (kernel, wide, out_channels, squeezes, stride) in enumerate(BLOCKS):
        ghost = first(channels, wide, place)
        network.append(Bottleneck(channels, wide, out_channels, kernel, squeezes, stride, ghost))
        channels = out_channels
    wide = BLOCKS[-1][1]
    return network.extend(
        [
            ConvNorm(channels, wide, 1, activation=nn.ReLU),
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(wide, 1280, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(1280, 1000),
        ]
    )


def squeeze(wide: int) -> SqueezeExcite:
    """Return squeeze-and-excite to a quarter of the channels, in fours."""
    return SqueezeExcite(wide, (wide // 4 + 2) // 4 * 4, nn.ReLU, nn.Hardsigmoid)
