"""MobileNetV2: Sandler et al., 2018, arXiv:1801.04381, table 2."""

from __future__ import annotations

from torch import nn

from depthwise.bench.networks.layers import Classifier, ConvNorm, InvertedResidual

STAGES = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 2, 3), (6, 64, 2, 4), (6, 96, 1, 3), (6, 160, 2, 3),
    (6, 320, 1, 1),
)  # fmt: skip
"""Expansion, output channels, stride of the first block, blocks."""


def mobilenet_v2() -> nn.Sequential:
    """Return the network of width 1: (N, 3, 224, 224) to (N, 1000) logits."""
    network = nn.Sequential(ConvNorm(3, 32, 3, 2, activation=nn.ReLU6))
    channels = 32
    for expansion, out_channels, first_stride, blocks in STAGES:
        for block in range(blocks):
            stride = first_stride if block == 0 else 1
            wide = expansion * channels
            network.append(InvertedResidual(channels, wide, out_channels, 3, stride, nn.ReLU6))
            channels = out_channels
    network.append(ConvNorm(channels, 1280, 1, activation=nn.ReLU6))
    return network.append(Classifier(1280))
