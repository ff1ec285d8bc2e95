"""EfficientNet-Lite0: EfficientNet-B0 without squeeze-and-excite, with ReLU6, for whole numbers.

Source: Liu, "Higher accuracy on vision models with EfficientNet-Lite", TensorFlow Blog, 2020.
"""

from __future__ import annotations

from torch import nn

from depthwise.bench.networks.efficientnet_b0 import STAGES
from depthwise.bench.networks.layers import Classifier, ConvNorm, InvertedResidual


def efficientnet_lite0() -> nn.Sequential:
    """Return the network: (N, 3, 224, 224) to (N, 1000) logits."""
    network = nn.Sequential(ConvNorm(3, 32, 3, 2, activation=nn.ReLU6))
    channels = 32
    for expansion, kernel, out_channels, first_stride, blocks in STAGES:
        for block in range(blocks):
            wide, stride = expansion * channels, first_stride if block == 0 else 1
            network.append(InvertedResidual(channels, wide, out_channels, kernel, stride, nn.ReLU6))
            channels = out_channels
    network.append(ConvNorm(channels, 1280, 1, activation=nn.ReLU6))
    return network.append(Classifier(1280))
