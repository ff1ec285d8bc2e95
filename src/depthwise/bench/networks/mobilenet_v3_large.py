"""MobileNetV3-Large: Howard et al., 2019, arXiv:1905.02244, table 1."""

from __future__ import annotations

from torch import nn

from depthwise.bench.networks.layers import Classifier, ConvNorm, InvertedResidual, SqueezeExcite

BLOCKS = (
    (3, 16, 16, False, nn.ReLU, 1),
    (3, 64, 24, False, nn.ReLU, 2),
    (3, 72, 24, False, nn.ReLU, 1),
    (5, 72, 40, True, nn.ReLU, 2),
    (5, 120, 40, True, nn.ReLU, 1),
    (5, 120, 40, True, nn.ReLU, 1),
    (3, 240, 80, False, nn.Hardswish, 2),
    (3, 200, 80, False, nn.Hardswish, 1),
    (3, 184, 80, False, nn.Hardswish, 1),
    (3, 184, 80, False, nn.Hardswish, 1),
    (3, 480, 112, True, nn.Hardswish, 1),
    (3, 672, 112, True, nn.Hardswish, 1),
    (5, 672, 160, True, nn.Hardswish, 2),
    (5, 960, 160, True, nn.Hardswish, 1),
    (5, 960, 160, True, nn.Hardswish, 1),
)
"""Kernel, depthwise channels, output channels, squeeze-and-excite, activation, stride."""


def mobilenet_v3_large() -> nn.Sequential:
    """Return the network of width 1: (N, 3, 224, 224) to (N, 1000) logits."""
    network = nn.Sequential(ConvNorm(3, 16, 3, 2, activation=nn.Hardswish))
    channels = 16
    for kernel, wide, out_channels, squeezes, activation, stride in BLOCKS:
        network.append(
            InvertedResidual(
                channels, wide, out_channels, kernel, stride, activation,
                squeeze if squeezes else None,
            )
        )  # fmt: skip
        channels = out_channels
    network.append(ConvNorm(channels, 960, 1, activation=nn.Hardswish))
    return network.append(Classifier(960, 1280, activation=nn.Hardswish))


def squeeze(wide: int) -> SqueezeExcite:
    """Return squeeze-and-excite to about a quarter of the channels.

    That is the nearest multiple of 8, or the next where this one is over a tenth too small.
    """
    reduced = (wide // 4 + 4) // 8 * 8
    if reduced < 0.9 * wide / 4:
        reduced += 8
    return SqueezeExcite(wide, reduced, nn.ReLU, nn.Hardsigmoid)
