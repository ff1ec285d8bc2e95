"""Models that nobody here wrote: those of `transformers`, with random weights, in eval mode.

They take images of any size and return an object whose `logits` are (N, 1000).  Nothing is
downloaded.  MobileNetV1 and V2 pad as TensorFlow does: where the stride is 2, more at the end.
"""

from collections.abc import Callable

import transformers
from torch import nn

from depthwise.bench.networks.weights import randomized

CLASSES = 1000


def _mobilenet_v1() -> nn.Module:
    config = transformers.MobileNetV1Config(num_labels=CLASSES)
    return transformers.MobileNetV1ForImageClassification(config)


def _mobilenet_v2() -> nn.Module:
    config = transformers.MobileNetV2Config(num_labels=CLASSES)
    return transformers.MobileNetV2ForImageClassification(config)


def _efficientnet_b0() -> nn.Module:
    config = transformers.EfficientNetConfig(
        width_coefficient=1.0, depth_coefficient=1.0, hidden_dim=1280, num_labels=CLASSES
    )
    return transformers.EfficientNetForImageClassification(config)


def _convnext() -> nn.Module:
    config = transformers.ConvNextConfig(depths=[1, 1, 2, 1], num_labels=CLASSES)
    return transformers.ConvNextForImageClassification(config)


def _convnext_v2() -> nn.Module:
    config = transformers.ConvNextV2Config(depths=[1, 1, 2, 1], num_labels=CLASSES)
    return transformers.ConvNextV2ForImageClassification(config)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "mobilenet_v1": _mobilenet_v1,
    "mobilenet_v2": _mobilenet_v2,
    "efficientnet_b0": _efficientnet_b0,
    "convnext": _convnext,
    "convnext_v2": _convnext_v2,
}
"""ConvNeXt's two with fewer blocks than the published ones, of the same sizes."""


def transformer_model(name: str, size: int = 64) -> nn.Module:
    """Return one of `MODELS` with weights for images of about this size."""
    return randomized(MODELS[name](), (1, 3, size, size))
