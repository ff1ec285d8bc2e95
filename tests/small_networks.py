"""Networks of the bench and of `transformers` with few and narrow blocks, quick to compile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import pytest
import transformers
from torch import nn

from depthwise.bench.networks import layers, mixnet_s, xception
from depthwise.bench.networks.weights import randomized

SIZE = 32
_FEWER = {
    "mobilenet_v1": {"STAGES": ((48, 1, 1), (64, 2, 1))},
    "mobilenet_v2": {"STAGES": ((1, 16, 1, 1), (6, 24, 2, 2))},
    "mobilenet_v3_large": {
        "BLOCKS": (
            (5, 72, 24, True, nn.ReLU, 2),
            (5, 88, 24, True, nn.Hardswish, 1),
        )
    },
    "efficientnet_b0": {"STAGES": ((1, 3, 16, 1, 1), (6, 5, 24, 2, 2))},
    "convnext_tiny": {"STAGES": ((16, 1), (24, 2))},
}


_GHOSTS = ((3, 16, 16, False, 1), (3, 48, 24, False, 2), (5, 72, 24, True, 1))
_OTHERS = {
    "mobileone_s0": {"STAGES": ((8, 1), (16, 2))},
    "repvgg_a0": {"STAGES": ((8, 1), (16, 2))},
    "repvit_m0_9": {"STAGES": ((16, 2), (24, 3))},
    "fastvit_t8": {"STAGES": ((16, 1), (32, 1))},
    "ghostnet": {"BLOCKS": _GHOSTS},
    "ghostnet_v2": {"BLOCKS": _GHOSTS},
    "mixnet_s": {
        "STAGES": (
            mixnet_s.Stage((3,), 6, 24, 2, 1, (2, 2)),
            mixnet_s.Stage((3, 5, 7), 3, 24, 1, 1, (1, 2), 0.5),
        )
    },
    "shufflenet_v2": {"STAGES": ((24, 2), (48, 3))},
    "starnet_s1": {"STAGES": ((8, 1), (16, 2))},
    "edgenext_xs": {"STAGES": ((16, 1, 3, 0), (24, 2, 5, 3))},
    "hgnetv2_b0": {"STAGES": ((16, 32, 1, False, 3), (16, 48, 2, True, 5))},
    "inception_next_tiny": {"STAGES": ((16, 1, 4), (32, 2, 3))},
}


def _of_the_bench(name: str, fewer: Mapping[str, Any], within: str) -> Callable[[], nn.Module]:
    """Return what makes a network of the bench, its stages being those of `within` changed."""

    def make() -> nn.Module:
        module = import_module(f"depthwise.bench.networks.{name}")
        stages = import_module(f"depthwise.bench.networks.{within}")
        with pytest.MonkeyPatch.context() as patch:
            for constant, value in fewer.items():
                patch.setattr(stages, constant, value)
            return getattr(module, name)()

    return make


def _xception() -> nn.Module:
    return nn.Sequential(
        *xception.stem(3, 16, 2),
        *xception.stem(16, 24, 1),
        xception.Downsampling(24, 24, 40, activated=False),
        xception.Residual(40),
        nn.ReLU(),
        layers.Classifier(40, classes=10),
    )


def _mobilenet_v1() -> nn.Module:
    config = transformers.MobileNetV1Config(num_labels=10, depth_multiplier=0.25)
    network = transformers.MobileNetV1ForImageClassification(config)
    network.mobilenet_v1.layer = network.mobilenet_v1.layer[:4]
    network.classifier = nn.Linear(network.mobilenet_v1.layer[-1].convolution.out_channels, 10)
    return network


def _mobilenet_v2() -> nn.Module:
    config = transformers.MobileNetV2Config(num_labels=10, depth_multiplier=0.25, expand_ratio=3)
    network = transformers.MobileNetV2ForImageClassification(config)
    network.mobilenet_v2.layer = network.mobilenet_v2.layer[:2]
    network.mobilenet_v2.conv_1x1 = nn.Identity()
    last = network.mobilenet_v2.layer[-1].reduce_1x1.convolution
    network.classifier = nn.Linear(last.out_channels, 10)
    return network


def _efficientnet() -> nn.Module:
    config = transformers.EfficientNetConfig(
        width_coefficient=1.0, depth_coefficient=1.0, hidden_dim=1280, num_labels=10,
        kernel_sizes=[3, 5], in_channels=[32, 16], out_channels=[16, 24], strides=[1, 2],
        num_block_repeats=[1, 2], expand_ratios=[1, 4],
    )  # fmt: skip
    return transformers.EfficientNetForImageClassification(config)


_CONVNEXT = {
    "num_stages": 2, "hidden_sizes": [16, 24], "depths": [1, 2], "num_labels": 10,
    "stage_names": None, "out_features": None, "out_indices": None,
}  # fmt: skip


def _convnext() -> nn.Module:
    return transformers.ConvNextForImageClassification(transformers.ConvNextConfig(**_CONVNEXT))


def _convnext_v2() -> nn.Module:
    return transformers.ConvNextV2ForImageClassification(transformers.ConvNextV2Config(**_CONVNEXT))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    **{name: _of_the_bench(name, fewer, name) for name, fewer in _FEWER.items()},
    "xception": _xception,
    "transformers.mobilenet_v1": _mobilenet_v1,
    "transformers.mobilenet_v2": _mobilenet_v2,
    "transformers.efficientnet": _efficientnet,
    "transformers.convnext": _convnext,
    "transformers.convnext_v2": _convnext_v2,
}
OTHERS: dict[str, Callable[[], nn.Module]] = {
    name: _of_the_bench(name, fewer, "ghostnet" if name == "ghostnet_v2" else name)
    for name, fewer in _OTHERS.items()
}
"""Networks with branches, parts, shuffles and attention, more slowly compiled."""


def small_network(name: str) -> nn.Module:
    """Return one of them with random weights and statistics, in eval mode."""
    return randomized((NETWORKS | OTHERS)[name](), (1, 3, SIZE, SIZE))
