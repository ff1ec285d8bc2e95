"""Networks of microcontrollers as files of ONNX, with random weights: of real and of whole numbers.

They have the shapes of MLPerf Tiny: MobileNetV1 0.25 (visual wake words), a MobileNetV2 0.35 of the
same images, and DS-CNN (keyword spotting).
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import torch
from torch import nn

from depthwise.bench.networks import mobilenet_v1, mobilenet_v2
from depthwise.bench.networks.layers import Classifier, ConvNorm, InvertedResidual
from depthwise.bench.networks.weights import randomized
from depthwise.quantizing import quantize

SHAPES = {"mobilenet_v1": (1, 3, 96, 96), "mobilenet_v2": (1, 3, 96, 96), "dscnn": (1, 1, 49, 10)}
_SAMPLES = 16


def _eighths(channels: float) -> int:
    """Return a number of channels that eight divides, at most a tenth below it."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def _v1(width: float) -> Iterator[nn.Module]:
    channels = int(32 * width)
    yield ConvNorm(3, channels, 3, 2, activation=nn.ReLU6)
    for out, stride, blocks in mobilenet_v1.STAGES:
        for block in range(blocks):
            made = int(out * width)
            yield mobilenet_v1.Separable(channels, made, stride if block == 0 else 1)
            channels = made
    yield Classifier(channels, classes=2)


def _v2(width: float) -> Iterator[nn.Module]:
    channels = _eighths(32 * width)
    yield ConvNorm(3, channels, 3, 2, activation=nn.ReLU6)
    for expansion, out, stride, blocks in mobilenet_v2.STAGES:
        for block in range(blocks):
            made = _eighths(out * width)
            wide, first = channels * expansion, stride if block == 0 else 1
            yield InvertedResidual(channels, wide, made, 3, first, nn.ReLU6)
            channels = made
    yield ConvNorm(channels, 1280, 1, activation=nn.ReLU6)
    yield Classifier(1280, classes=10)


def _dscnn() -> Iterator[nn.Module]:
    yield nn.ZeroPad2d((1, 1, 4, 5))
    yield nn.Sequential(nn.Conv2d(1, 64, (10, 4), 2, bias=False), nn.BatchNorm2d(64), nn.ReLU())
    for _ in range(4):
        yield mobilenet_v1.Separable(64, 64, 1)
    yield Classifier(64, classes=12)


def _small() -> Iterator[nn.Module]:
    yield ConvNorm(3, 8, 3, 2, activation=nn.ReLU6)
    yield InvertedResidual(8, 24, 8, 3, 1, nn.ReLU6)
    yield InvertedResidual(8, 24, 16, 5, 2, nn.ReLU6)
    yield Classifier(16, classes=5)


_MADE: dict[str, Callable[[], Iterator[nn.Module]]] = {
    "mobilenet_v1": lambda: _v1(0.25),
    "mobilenet_v2": lambda: _v2(0.35),
    "dscnn": _dscnn,
    "small": _small,
}
NAMES = tuple(SHAPES)
SHAPES["small"] = (1, 3, 17, 15)


@cache
def file(name: str, dtype: str = "float32") -> bytes:
    """Return a network as a file, in float32 or, of int8 weights and uint8 images, "int8"."""
    if dtype == "int8":
        rng = np.random.default_rng(0)
        data = rng.standard_normal((_SAMPLES, *SHAPES[name][1:]), dtype=np.float32)
        return quantize(file(name), data, calibration="minmax").model.SerializeToString()
    torch.manual_seed(0)
    network = randomized(nn.Sequential(*_MADE[name]()), SHAPES[name]).eval()
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own age
        torch.onnx.export(
            network, (torch.zeros(SHAPES[name]),), content, dynamo=False, opset_version=17,
            input_names=["image"], output_names=["scores"],
        )  # fmt: skip
    return content.getvalue()
