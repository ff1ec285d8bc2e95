"""HGNetV2-B0, the backbone of small RT-DETRs: Zhao et al., 2023, arXiv:2304.08069."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from depthwise.bench.networks.layers import ConvNorm

STAGES = (
    (16, 64, 1, False, 3),
    (32, 256, 1, False, 3),
    (64, 512, 2, True, 5),
    (128, 1024, 1, True, 5),
)
"""Channels inside, output channels, blocks, light layers, kernel; all but the first halve first."""
LAYERS = 3
STEM = 16


class Affine(nn.Module):
    """One scale and one bias for all elements."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Return an array of the shape of x."""
        y: Tensor = self.weight * x + self.bias
        return y


class Layer(nn.Sequential):
    """A convolution that keeps the size at stride 1, batch norm, ReLU, scale and bias."""

    def __init__(
        self, channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(
            nn.Conv2d(
                channels, out_channels, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False
            ),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            Affine(),
        )


def layer(channels: int, out_channels: int, kernel: int, light: bool) -> nn.Module:
    """Return a dense convolution, or a pointwise and a depthwise one."""
    if not light:
        return Layer(channels, out_channels, kernel)
    return nn.Sequential(
        ConvNorm(channels, out_channels, 1),
        Layer(out_channels, out_channels, kernel, groups=out_channels),
    )


class Stem(nn.Module):
    """Two 2x2 convolutions beside 2x2 max pooling, between convolutions of stride 2."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Layer(3, STEM, 3, 2)
        self.narrow, self.wide = Layer(STEM, STEM // 2, 2), Layer(STEM // 2, STEM, 2)
        self.pool = nn.MaxPool2d(2, 1)
        self.last = nn.Sequential(Layer(2 * STEM, STEM, 3, 2), Layer(STEM, STEM, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 16, H / 4, W / 4)."""
        y = functional.pad(self.first(x), (0, 1, 0, 1))
        narrow = functional.pad(self.narrow(y), (0, 1, 0, 1))
        z: Tensor = self.last(torch.cat([self.pool(y), self.wide(narrow)], dim=1))
        return z


class Block(nn.Module):
    """Layers in a row; the input and what each makes, brought together by pointwise ones."""

    def __init__(
        self, channels: int, middle: int, out_channels: int, kernel: int, light: bool
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            layer(middle if number else channels, middle, kernel, light) for number in range(LAYERS)
        )
        self.together = nn.Sequential(
            Layer(channels + LAYERS * middle, out_channels // 2, 1),
            Layer(out_channels // 2, out_channels, 1),
        )
        self.residual = channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out_channels, H, W)."""
        made = [x]
        for each in self.layers:
            made.append(each(made[-1]))
        y: Tensor = self.together(torch.cat(made, dim=1))
        return x + y if self.residual else y


def hgnetv2_b0() -> nn.Sequential:
    """Return the network: (N, 3, 224, 224) to (N, 1000) logits."""
    channels = STEM
    network = nn.Sequential(Stem())
    for number, (middle, out_channels, blocks, light, kernel) in enumerate(STAGES):
        if number:
            network.append(ConvNorm(channels, channels, 3, 2, groups=channels))
        for _ in range(blocks):
            network.append(Block(channels, middle, out_channels, kernel, light))
            channels = out_channels
    return network.extend(
        [
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, 2048, 1, bias=False),
            nn.ReLU(),
            Affine(),
            nn.Flatten(),
            nn.Linear(2048, 1000),
        ]
    )
