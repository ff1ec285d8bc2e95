"""MobileOne-S0: Vasu et al., 2022, arXiv:2206.04040, tables 2 and 3, as it is trained."""

from __future__ import annotations

from torch import nn

from depthwise.bench.networks.layers import Branched, Classifier

STAGES = ((48, 2), (128, 8), (256, 10), (1024, 1))
"""Output channels, blocks; the first of each has a stride of 2."""
CONVOLUTIONS = 4
"""Branches of one kind."""


def mobileone_s0() -> nn.Sequential:
    """Return the network: (N, 3, 224, 224) to (N, 1000) logits."""
    channels = STAGES[0][0]
    network = nn.Sequential(Branched(3, channels, 3, 2, activation=nn.ReLU))
    for out_channels, blocks in STAGES:
        for block in range(blocks):
            network.append(block_of(channels, out_channels, 2 if block == 0 else 1))
            channels = out_channels
    return network.append(Classifier(channels))


def block_of(channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Return depthwise branches and pointwise ones, each sum with a ReLU."""
    return nn.Sequential(
        Branched(
            channels, channels, 3, stride, groups=channels, convolutions=CONVOLUTIONS,
            activation=nn.ReLU,
        ),
        Branched(channels, out_channels, 1, convolutions=CONVOLUTIONS, activation=nn.ReLU),
    )  # fmt: skip
