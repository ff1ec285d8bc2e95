"""Means of pixels and norms of channels as kernels."""

from __future__ import annotations

from typing import Any, cast

from depthwise.network.absorb import place
from depthwise.network.draft import Draft
from depthwise.network.graph import Graph, Node, Value
from depthwise.network.operators import ChannelNorm, LayerNorm, Mean, Reshape
from depthwise.problem.dtypes import DTYPES
from depthwise.problem.pixels import PixelSpec


def stage_pixels(graph: Graph) -> None:
    """Make kernels of the means and norms that no block has taken in."""
    for node in list(graph.nodes):
        if isinstance(node.operator, Mean):
            _mean(graph, node, node.operator)
        elif isinstance(node.operator, (ChannelNorm, LayerNorm)):
            _norm(graph, node, node.operator.epsilon)


def _mean(graph: Graph, node: Node, operator: Mean) -> None:
    x = cast(Value, node.inputs[0])
    spec = _spec(x, kind="mean")
    if spec is None or x.shape is None or len(x.shape) != 4:
        return
    draft = Draft(spec=spec, operands={})
    if operator.keeps_axes:
        place(graph, node, draft, x)
        return
    made = graph.insert(node, draft, [x], like=node.output)
    value, x_sizes = made.output, cast("tuple[int | str, ...]", x.sizes)
    value.shape, value.sizes = (*x.shape[:2], 1, 1), (*x_sizes[:2], 1, 1)
    made.covers, made.before_us = list(node.covers), node.before_us
    flat = graph.insert(node, Reshape(shape=(0, -1)), [value], like=node.output)
    node.covers, node.before_us = [], 0.0
    graph.stand_in(node, flat)


def _norm(graph: Graph, node: Node, epsilon: float) -> None:
    x = cast(Value, node.inputs[0])
    ranks = (4,) if isinstance(node.operator, ChannelNorm) else (2,)
    spec = _spec(x, kind="norm", epsilon=epsilon)
    weight, bias = node.constant(1), node.constant(2)
    if spec is None or weight is None or bias is None or len(x.shape or ()) not in ranks:
        return
    if weight.dtype == bias.dtype == x.dtype:
        place(graph, node, Draft(spec=spec, operands={"weight": weight, "bias": bias}), x)


def _spec(x: Value, **fields: Any) -> PixelSpec | None:
    """Return the problem of an image, or None where it is no image of a type that we compute."""
    if x.shape is None or len(x.shape) not in (2, 4) or x.dtype not in DTYPES or 0 in x.shape:
        return None
    batch, channels, height, width = x.shape if len(x.shape) == 4 else (*x.shape, 1, 1)
    return PixelSpec(
        batch=batch, channels=channels, height=height, width=width, dtype=x.dtype, **fields
    )
