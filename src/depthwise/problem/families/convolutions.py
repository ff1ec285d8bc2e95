"""Convolutions by themselves: how their lines are read, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from depthwise.problem.counting import Cost, counted, parameters
from depthwise.problem.families.family import Family
from depthwise.problem.oracle import convolutions as oracle
from depthwise.problem.spec import ConvSpec
from depthwise.problem.tokens import Line
from depthwise.problem.vocabulary import KINDS

_COMMON = ("batch", "layout", "dtype", "bias", "activation", "pitches")
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
    products=lambda spec: [spec.depth],
    cost=cost,
)
