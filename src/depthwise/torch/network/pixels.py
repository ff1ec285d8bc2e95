"""Means of pixels and norms of channels as stages."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from depthwise.problem.pixels import PixelSpec
from depthwise.torch.dtypes import DTYPES
from depthwise.torch.network.absorb import place
from depthwise.torch.network.draft import Draft
from depthwise.torch.network.operators import (
    arguments,
    channel_norm,
    is_mean_of_pixels,
    name_of,
    shape_of,
)
from depthwise.torch.network.simplify import aten, insert, replace
from depthwise.torch.network.tracing import Trace


def stage_pixels(trace: Trace) -> None:
    """Make stages of the means and norms that no block has taken in."""
    for node in list(trace.graph.nodes):
        if is_mean_of_pixels(node):
            _mean(node)
        elif node.target is channel_norm:
            _norm(trace, node, *node.args)
        elif name_of(node) == "layer_norm" and len(shape_of(node)) == 2:
            given = arguments(node)
            _norm(trace, node, given["input"], given["weight"], given["bias"], given["eps"])


def _mean(node: fx.Node) -> None:
    x: Any = node.args[0]
    spec = _spec(x, kind="mean")
    if spec is None:
        return
    made = place(node, Draft(spec, {}), x)
    if len(shape_of(node)) == 2:
        flat = insert(node, aten.flatten.using_ints, made, 1)
        flat.meta |= {"shape": shape_of(node), "dtype": node.meta["dtype"]}
        node.replace_all_uses_with(flat)
    replace(node, made)


def _norm(trace: Trace, node: fx.Node, x: Any, weight: Any, bias: Any, eps: Any) -> None:
    spec = _spec(x, kind="norm", epsilon=float(eps))
    arrays = [trace.constants.get(each) for each in (weight, bias)]
    given = [
        array is not None or each is None
        for array, each in zip(arrays, (weight, bias), strict=True)
    ]
    if spec is None or not all(given):
        return
    dtype = x.meta["dtype"]
    ones = torch.ones(spec.channels, dtype=dtype)
    operands: dict[str, Tensor] = {
        name: default if array is None else array
        for name, array, default in zip(("weight", "bias"), arrays, (ones, 0 * ones), strict=True)
    }
    if all(array.dtype == dtype for array in operands.values()):
        replace(node, place(node, Draft(spec, operands), x))


def _spec(x: Any, **fields: Any) -> PixelSpec | None:
    """Return the problem of an image, or None where it is no image of a type that we compute."""
    shape, dtype = shape_of(x), x.meta.get("dtype")
    if len(shape) not in (2, 4) or dtype not in DTYPES or 0 in shape:
        return None
    batch, channels, height, width = shape if len(shape) == 4 else (*shape, 1, 1)
    size: dict[str, Any] = {"batch": batch, "channels": channels, "height": height, "width": width}
    return PixelSpec(**size, dtype=DTYPES[dtype], **fields)
