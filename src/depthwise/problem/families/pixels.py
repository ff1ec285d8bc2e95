"""Sums, means and norms of pixels: how their lines are read, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from depthwise.errors import ParseError
from depthwise.problem.counting import moved
from depthwise.problem.families.family import Family
from depthwise.problem.oracle import pixels as oracle
from depthwise.problem.pixels import PIXEL_KINDS, REDUCTIONS, PixelSpec
from depthwise.problem.tokens import Line

_CHANNELS = "channels"


def _read(kind: Any, tokens: Sequence[str], text: str) -> PixelSpec:
    given = [token for token in tokens if token != _CHANNELS]
    if len(tokens) - len(given) > 1:
        raise ParseError(f"{_CHANNELS} is given once: {text}")
    fields = Line(kind, given, text).fields
    if _CHANNELS in tokens:
        fields["over"] = _CHANNELS
    size = fields.pop("size", None)
    sizes = {} if size is None else {"height": size, "width": size}
    if fields.pop("layout", None) != PixelSpec.layout:
        raise ParseError(f"{kind} is of nhwc images: {text}")
    try:
        return PixelSpec(kind=kind, **sizes, **fields)
    except TypeError:
        raise ParseError(
            f"{kind} has c, hw or h and w, n, g, dtype, eps, channels: {text}"
        ) from None


def _products(spec: PixelSpec) -> list[float]:
    pixels = spec.height * spec.width
    if spec.kind == "groupnorm":
        return [pixels * spec.channels // spec.groups]
    over_pixels = spec.kind in REDUCTIONS and spec.over == "pixels"
    return [pixels if over_pixels else spec.channels]


FAMILY = Family(
    specification=PixelSpec,
    kinds=PIXEL_KINDS,
    read=_read,
    compute=oracle.compute,
    products=_products,
    cost=moved,
)
