"""MobileNetV1: Howard et al., "MobileNets", 2017, arXiv:1704.04861, table 1."""

from __future__ import annotations

from torch import nn

from depthwise.bench.networks.layers import Classifier, ConvNorm

STAGES = ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 2, 6), (1024, 2, 2))
"""Output channels, stride of the first block, blocks."""


class Separable(nn.Sequential):
    """Depthwise and pointwise convolution, each with batch norm and ReLU6."""

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        super().__init__(
            ConvNorm(channels, channels, 3, stride, groups=channels, activation=nn.ReLU6),
            ConvNorm(channels, out_channels, 1, activation=nn.ReLU6),
        )


def mobilenet_v1() -> nn.Sequential:
    """Return the network of width 1: (N, 3, 224, 224) to (N, 1000) logits."""
    network = nn.Sequential(ConvNorm(3, 32, 3, 2, activation=nn.ReLU6))
    channels = 32
    for out_channels, stride, blocks in STAGES:
        for block in range(blocks):
            network.append(Separable(channels, out_channels, stride if block == 0 else 1))
            channels = out_channels
    return network.append(Classifier(channels))
