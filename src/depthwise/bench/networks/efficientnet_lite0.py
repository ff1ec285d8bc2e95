"""EfficientNet-Lite0: EfficientNet-B0 without squeeze-and-excite, with ReLU6, for whole numbers.

Source: Liu, "Higher accuracy on vision models with EfficientNet-Lite", TensorFlow Blog, 2020.
"""

from __future__ import annotations

from torch import nn

from depthwise.bench.networks.efficientnet_b0 import efficientnet


def efficientnet_lite0() -> nn.Sequential:
    """Return the network: (N, 3, 224, 224) to (N, 1000) logits."""
    return efficientnet(nn.ReLU6)
