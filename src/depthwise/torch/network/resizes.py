"""Images in another size as torch knows them: what they are where a kernel computes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import fx

from depthwise.network.graph import Value
from depthwise.network.operators import Resize
from depthwise.network.resizes import target_of
from depthwise.torch.network.operators import arguments

Find: TypeAlias = Callable[[Any], "Value | None"]


def meaning(value: Find, node: fx.Node, name: str) -> Resize | None:
    """Return what a node is, where a kernel may compute it."""
    if name not in _WAYS:
        return None
    given, made = arguments(node), value(node)
    x = value(given.get("input", given.get("self")))
    before, after = (() if each is None else each.sizes or () for each in (x, made))
    if len(before) != 4 or len(after) != 4:
        return None
    factors = given.get("scale_factors")
    if given.get("scales_h") is not None:
        factors = [given["scales_h"], given["scales_w"]]
    if factors is not None and not all(isinstance(each, float) for each in factors):
        return None
    target = target_of(before[2:], after[2:], factors)
    if target is None:
        return None
    kind, coordinates, rounding = _WAYS[name]
    corners = "align_corners" if given.get("align_corners") else coordinates
    how: dict[str, Any] = {"kind": kind, "coordinates": corners, "rounding": rounding}
    how[target[0]] = target[1]
    return Resize(**how)


_WAYS = {
    "upsample_nearest2d": ("nearest", "asymmetric", "floor"),
    "_upsample_nearest_exact2d": ("nearest", "half_pixel", "prefer_ceil"),
    "upsample_bilinear2d": ("linear", "half_pixel", "floor"),
}
