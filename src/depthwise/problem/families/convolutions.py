"""Convolutions by themselves: how their lines are read, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from depthwise.problem.counting import Cost, counted, parameters
from depthwise.problem.dtypes import element
from depthwise.problem.families.family import Family, normal
from depthwise.problem.oracle import convolutions as oracle
from depthwise.problem.oracle.planes import Array
from depthwise.problem.spec import ConvSpec
from depthwise.problem.tokens import Line
from depthwise.problem.vocabulary import KINDS

if TYPE_CHECKING:
    from numpy.random import Generator

_COMMON = (
    "batch", "layout", "dtype", "bias", "activation", "chain", "pitches", "table", "real"
)  # fmt: skip
_WINDOW = ("stride", "padding", "dilation", "padding_mode")


def read(kind: str, tokens: Sequence[str], text: str) -> ConvSpec:
    """Return the convolution of a line; see `Family.read`."""
    line = Line(kind, tokens, text)
    spec = _READERS[kind](line)
    line.finish()
    return spec


def cost(spec: ConvSpec) -> Cost:
    """Return what a convolution costs."""
    return counted(spec, prod(spec.output_shape) * spec.depth, params=parameters(spec))


def random(spec: ConvSpec, rng: Generator) -> dict[str, Array]:
    """Return random data; those of quantized convolutions fill the range of their results."""
    if not spec.quantized:
        return normal(spec, rng)
    least, most = element(spec.dtype).range
    scale = 60 / (74 * 73 * spec.depth**0.5)
    found = {
        "x": rng.integers(least, most + 1, spec.input_shape),
        "weight": rng.integers(-127, 128, spec.weight_shape),
        "bias": rng.integers(-(2**12), 2**12, spec.out_channels),
        "scale": scale * rng.uniform(0.5, 1, spec.out_channels),
        "zeros": rng.integers(least // 4 + 32, most // 4 + 96, 4)[: spec.operands["zeros"][0]],
        "bounds": np.array((least, most) * 2)[: spec.operands.get("bounds", (0,))[0]],
        "factors": rng.uniform(0.3, 0.7, 2),
        "table": rng.integers(least, most + 1, 256),
        "residual": rng.integers(least, most + 1, spec.output_shape),
    }
    return {name: found[name] for name in spec.array_names}


def _depthwise(line: Line) -> ConvSpec:
    rest = line.take_any(*_COMMON, *_WINDOW, "multiplier")
    return ConvSpec.depthwise(line.take("channels"), line.take_size(), line.take("kernel"), **rest)


def _depthwise1d(line: Line) -> ConvSpec:
    rest = line.take_any(*_COMMON, *_WINDOW, "multiplier")
    channels, length = line.take("channels"), line.take("length")
    return ConvSpec.depthwise1d(channels, length, line.take("kernel"), **rest)


def _pointwise(line: Line) -> ConvSpec:
    rest = line.take_any(*_COMMON, "residual")
    channels, out_channels = line.take("channels"), line.take("out_channels")
    return ConvSpec.pointwise(channels, out_channels, line.take_size(), **rest)


def _conv(line: Line) -> ConvSpec:
    rest = line.take_any(*_COMMON, *_WINDOW, "groups")
    channels, out_channels = line.take("channels"), line.take("out_channels")
    return ConvSpec.conv(channels, out_channels, line.take_size(), line.take("kernel"), **rest)


_READERS = {
    "depthwise": _depthwise, "depthwise1d": _depthwise1d, "pointwise": _pointwise, "conv": _conv,
}  # fmt: skip

FAMILY = Family(
    specification=ConvSpec,
    kinds=KINDS,
    read=read,
    compute=oracle.compute,
    products=lambda spec: [spec.depth, *[1.0] * len(spec.chain)],
    cost=cost,
    random=random,
)
