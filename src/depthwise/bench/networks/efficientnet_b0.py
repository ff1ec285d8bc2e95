"""EfficientNet-B0: Tan and Le, 2019, arXiv:1905.11946, table 1."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from depthwise.bench.networks.layers import (
    Activation,
    Classifier,
    ConvNorm,
    InvertedResidual,
    SqueezeExcite,
)

STAGES = (
    (1, 3, 16, 1, 1), (6, 3, 24, 2, 2), (6, 5, 40, 2, 2), (6, 3, 80, 2, 3), (6, 5, 112, 1, 3),
    (6, 5, 192, 2, 4), (6, 3, 320, 1, 1),
)  # fmt: skip
"""Expansion, kernel, output channels, stride of the first block, blocks."""


def efficientnet_b0() -> nn.Sequential:
    """Return the network: (N, 3, 224, 224) to (N, 1000) logits."""
    return efficientnet(nn.SiLU, squeeze)


def efficientnet(
    activation: Activation, squeeze: Callable[..., nn.Module] | None = None
) -> nn.Sequential:
    """Return a network of these stages, with squeeze-and-excite or without."""
    network = nn.Sequential(ConvNorm(3, 32, 3, 2, activation=activation))
    channels = 32
    for expansion, kernel, out_channels, first_stride, blocks in STAGES:
        for block in range(blocks):
            network.append(
                InvertedResidual(
                    channels, expansion * channels, out_channels, kernel,
                    first_stride if block == 0 else 1, activation,
                    partial(squeeze, reduced=channels // 4) if squeeze else None,
                )
            )  # fmt: skip
            channels = out_channels
    network.append(ConvNorm(channels, 1280, 1, activation=activation))
    return network.append(Classifier(1280))


def squeeze(wide: int, reduced: int) -> SqueezeExcite:
    """Return squeeze-and-excite to a quarter of the channels of the block's input."""
    return SqueezeExcite(wide, reduced, nn.SiLU, nn.Sigmoid)
