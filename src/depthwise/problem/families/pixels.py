"""Means and norms of pixels: how their lines are read, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from depthwise.errors import ParseError
from depthwise.problem.counting import moved
from depthwise.problem.families.family import Family
from depthwise.problem.oracle import pixels as oracle
from depthwise.problem.pixels import PixelKind, PixelSpec
from depthwise.problem.tokens import Line


def _read(kind: Any, tokens: Sequence[str], text: str) -> PixelSpec:
    fields = Line(kind, tokens, text).fields
    size = fields.pop("size", None)
    sizes = {} if size is None else {"height": size, "width": size}
    if fields.pop("layout", None) != PixelSpec.layout:
        raise ParseError(f"{kind} is of nhwc images: {text}")
    try:
        return PixelSpec(kind=kind, **sizes, **fields)
    except TypeError:
        raise ParseError(f"{kind} has c, hw or h and w, n, dtype, eps: {text}") from None


def _products(spec: PixelSpec) -> list[float]:
    return [spec.height * spec.width if spec.kind == "mean" else spec.channels]


FAMILY = Family(
    specification=PixelSpec,
    kinds=get_args(PixelKind),
    read=_read,
    compute=oracle.compute,
    products=_products,
    cost=moved,
)
