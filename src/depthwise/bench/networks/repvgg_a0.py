"""RepVGG-A0: Ding et al., 2021, arXiv:2101.03697, table 2, as it is trained."""

from __future__ import annotations

from torch import nn

from depthwise.bench.networks.layers import Branched, Classifier

STAGES = ((48, 1), (48, 2), (96, 4), (192, 14), (1280, 1))
"""Output channels, blocks; the first of each has a stride of 2."""


def repvgg_a0() -> nn.Sequential:
    """Return the network: (N, 3, 224, 224) to (N, 1000) logits."""
    network, channels = nn.Sequential(), 3
    for out_channels, blocks in STAGES:
        for block in range(blocks):
            stride = 2 if block == 0 else 1
            network.append(Branched(channels, out_channels, 3, stride, activation=nn.ReLU))
            channels = out_channels
    return network.append(Classifier(channels))
