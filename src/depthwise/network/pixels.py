"""Sums, means and norms of pixels as kernels."""

from __future__ import annotations

from typing import Any, cast

from depthwise.network.absorb import draft_of, is_taken, place
from depthwise.network.draft import Draft
from depthwise.network.graph import Graph, Node, Value
from depthwise.network.operators import (
    CHANNELS,
    PIXELS,
    ChannelNorm,
    GroupNorm,
    LayerNorm,
    Reduce,
    Reshape,
)
from depthwise.problem.dtypes import DTYPES
from depthwise.problem.pixels import PixelSpec


def stage_pixels(graph: Graph) -> bool:
    """Make kernels of what no block has taken in; whether there was any."""
    found = False
    for node in list(graph.nodes):
        operator = node.operator
        if isinstance(operator, Reduce):
            found |= _reduction(graph, node, operator)
        elif isinstance(operator, (ChannelNorm, LayerNorm)):
            found |= _norm(graph, node, kind="norm", epsilon=operator.epsilon)
        elif isinstance(operator, GroupNorm) and is_beside_kernels(node):
            groups, epsilon = operator.groups, operator.epsilon
            found |= _norm(graph, node, kind="groupnorm", epsilon=epsilon, groups=groups)
    return found


def is_beside_kernels(node: Node) -> bool:
    """Whether a kernel makes the image that a node takes, or takes the one that it makes.

    What an engine makes lies otherwise in memory.
    """
    return is_taken(node.output) or draft_of(node.inputs[0]) is not None


def _reduction(graph: Graph, node: Node, operator: Reduce) -> bool:
    x = cast(Value, node.inputs[0])
    rank = len(x.shape or ())
    of_pixels = rank == 4 and operator.axes == PIXELS
    if not of_pixels and not (rank in (2, 4) and operator.axes == CHANNELS):
        return False
    if not (of_pixels and operator.function == "mean") and not is_beside_kernels(node):
        return False
    if not of_pixels and not operator.keeps_axes:
        return False
    spec = _spec(x, kind=operator.function, over="pixels" if of_pixels else "channels")
    if spec is None:
        return False
    draft = Draft(spec=spec, operands={})
    if operator.keeps_axes:
        place(graph, node, draft, x)
        return True
    made = graph.insert(node, draft, [x], like=node.output)
    value, shape, sizes = made.output, x.shape or (), x.sizes or ()
    value.shape, value.sizes = (*shape[:2], 1, 1), (*sizes[:2], 1, 1)
    made.covers, made.before_us = list(node.covers), node.before_us
    flat = graph.insert(node, Reshape(shape=(0, -1)), [value], like=node.output)
    node.covers, node.before_us = [], 0.0
    graph.stand_in(node, flat)
    return True


def _norm(graph: Graph, node: Node, **fields: Any) -> bool:
    x = cast(Value, node.inputs[0])
    rank = 2 if isinstance(node.operator, LayerNorm) else 4
    spec = _spec(x, **fields)
    weight, bias = node.constant(1), node.constant(2)
    if spec is None or weight is None or bias is None or len(x.shape or ()) != rank:
        return False
    if not weight.dtype == bias.dtype == x.dtype:
        return False
    place(graph, node, Draft(spec=spec, operands={"weight": weight, "bias": bias}), x)
    return True


def _spec(x: Value, **fields: Any) -> PixelSpec | None:
    """Return the problem of an image, or None where it is no image of a type that we compute."""
    if x.shape is None or len(x.shape) not in (2, 4) or x.dtype not in DTYPES or 0 in x.shape:
        return None
    batch, channels, height, width = x.shape if len(x.shape) == 4 else (*x.shape, 1, 1)
    return PixelSpec(
        batch=batch, channels=channels, height=height, width=width, dtype=x.dtype, **fields
    )
