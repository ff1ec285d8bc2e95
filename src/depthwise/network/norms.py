"""Sums, means and norms that are written out, found and called by the name of what they compute.

Exporters write them as the reductions and the arithmetic that they are, between changes of shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import numpy as np

from depthwise.network.absorb import keeps_type
from depthwise.network.graph import Graph, Node, Value
from depthwise.network.operators import (
    CHANNELS,
    Binary,
    ChannelNorm,
    GroupNorm,
    LayerNorm,
    Operator,
    Reduce,
    Reshape,
    Unary,
)
from depthwise.problem.arrays import Array

_SQUARED = {"mean": "meansquare", "sum": "sumsquare"}
_NORMS = (LayerNorm, ChannelNorm, GroupNorm)


def name_norms(graph: Graph) -> None:
    """Rewrite reductions of reductions, of squares, and norms, as one operator each."""
    for node in list(graph.nodes):
        rule = _RULES.get(type(node.operator)) if len(node.outputs) == 1 else None
        if rule is not None and node.output.maker is node:
            rule(graph, node)
    graph.drop_unused()


def _put(graph: Graph, node: Node, operator: Operator, *inputs: Value | None) -> Node:
    """Put an operator in the place of a node and of what only served it."""
    made = graph.insert(node, operator, inputs, like=node.output)
    graph.stand_in(node, made)
    graph.drop_unused(into=made)
    return made


def _maker(value: Value | None, name: str) -> Node | None:
    """Return the node that makes a value, where it is one of this name."""
    maker = None if value is None else value.maker
    return maker if maker is not None and maker.name == name else None


def _reduction(graph: Graph, node: Node) -> None:
    """Reduce along the axes of both, where what is reduced is a reduction; take in a square."""
    x, operator = cast(Value, node.inputs[0]), cast(Reduce, node.operator)
    maker = x.maker
    if maker is None or not graph.used_once(x):
        return
    inner = maker.operator
    plain = operator.function in ("mean", "sum", "max")
    if isinstance(inner, Reduce) and plain and inner.function == operator.function:
        if inner.keeps_axes == operator.keeps_axes:
            first, axes = cast(Value, maker.inputs[0]), {*inner.axes}
            left = [a for a in range(len(first.shape or ())) if inner.keeps_axes or a not in axes]
            both = tuple(sorted(axes | {left[axis] for axis in operator.axes}))
            _put(graph, node, replace(operator, axes=both), first)
    elif (squared := _square_of(x)) is not None and operator.function in _SQUARED:
        _put(graph, node, replace(operator, function=_SQUARED[operator.function]), squared)


def _square_of(value: Value | None) -> Value | None:
    """Return what a value is the square of."""
    if (square := _maker(value, "square")) is not None:
        return square.inputs[0]
    product = _maker(value, "mul")
    if product is not None and product.inputs[0] is product.inputs[1]:
        return product.inputs[0]
    return None


def _root(graph: Graph, node: Node) -> None:
    """Call the root of a sum of squares by its name."""
    sums = _maker(node.inputs[0], "sumsquare")
    if node.name == "sqrt" and sums is not None and graph.used_once(sums.output):
        made = replace(cast(Reduce, sums.operator), function="l2")
        _put(graph, node, made, sums.inputs[0])


def _binary(graph: Graph, node: Node) -> None:
    if node.name == "div":
        _written_out(graph, node)
    elif node.name in ("mul", "add"):
        _scaled(graph, node)


def _written_out(graph: Graph, node: Node) -> None:
    """Find (x - mean) / sqrt(meansquare(x - mean) + epsilon)."""
    apart, root = node.inputs[0], _maker(node.inputs[1], "sqrt")
    total = None if root is None else _maker(root.inputs[0], "add")
    difference = _maker(apart, "sub")
    if total is None or difference is None:
        return
    for variance, epsilon in (total.inputs, total.inputs[::-1]):
        found = _maker(variance, "meansquare")
        constant = None if epsilon is None else epsilon.constant
        mean = _maker(difference.inputs[1], "mean")
        if found is None or mean is None or constant is None or constant.size != 1:
            continue
        x, its = difference.inputs[0], cast(Reduce, mean.operator)
        alike = found.operator == replace(its, function="meansquare") and its.keeps_axes
        if alike and found.inputs[0] is apart and mean.inputs[0] is x and x is not None:
            _name(graph, node, x, its.axes, float(constant.reshape(())))
            return


def _name(graph: Graph, node: Node, x: Value, axes: tuple[int, ...], epsilon: float) -> None:
    """Put a norm of some axes in the place of a node, where there is one by a name."""
    rank, sizes = len(x.shape or ()), x.sizes or ()
    operators: dict[tuple[int, ...], tuple[Operator, int | str]] = {}
    if rank > 1:
        operators[tuple(range(1, rank))] = GroupNorm(groups=1, epsilon=epsilon), sizes[1]
    if rank == 4:
        operators[CHANNELS] = ChannelNorm(epsilon=epsilon), sizes[1]
    if rank > 2 and isinstance(sizes[1], int):
        each = GroupNorm(groups=sizes[1], epsilon=epsilon)
        operators[tuple(range(2, rank))] = each, sizes[1]
    if rank > 1:
        operators[rank - 1,] = LayerNorm(epsilon=epsilon), sizes[-1]
    operator, channels = operators.get(axes, (None, ""))
    if operator is None or not isinstance(channels, int) or x.dtype is None:
        return
    ones = np.ones(channels, x.dtype)
    arrays = [graph.constant(ones, "ones"), graph.constant(0 * ones, "zeros")]
    _put(graph, node, operator, x, *arrays)


def _reshaping(graph: Graph, node: Node) -> None:
    """Find a norm of groups between changes of shape: to (N, groups, ...) and back."""
    middle = node.inputs[0]
    norm = None if middle is None or not graph.used_once(middle) else middle.maker
    if norm is None or not isinstance(norm.operator, GroupNorm):
        return
    groups = norm.inputs[0]
    before = None if groups is None else groups.maker
    if before is None or not isinstance(before.operator, Reshape):
        return
    x, arrays = before.inputs[0], [norm.constant(position) for position in (1, 2)]
    if x is None or x.sizes is None or x.sizes != node.output.sizes or len(x.sizes) < 2:
        return
    (batch, channels, *_), inside = x.sizes, cast(Value, groups).sizes or ()
    each, operator = [array for array in arrays if array is not None], norm.operator
    if inside[:2] != (batch, operator.groups) or len(each) < len(arrays):
        return
    if not isinstance(channels, int) or any(len(array) != operator.groups for array in each):
        return
    wide = [
        graph.constant(array.repeat(channels // operator.groups), "of groups") for array in each
    ]
    _put(graph, node, operator, x, *wide)


def _scaled(graph: Graph, node: Node) -> None:
    """Let a norm take in factors or summands for each channel behind it."""
    for made, other in (node.inputs, node.inputs[::-1]):
        norm = None if made is None or not graph.used_once(made) else made.maker
        if norm is None or not isinstance(norm.operator, _NORMS) or not keeps_type(node):
            continue
        numbers = _for_each_channel(norm, other)
        weight, bias = norm.constant(1), norm.constant(2)
        if numbers is None or weight is None or bias is None:
            continue
        if made is None or made.sizes != node.output.sizes:
            continue
        if node.name == "mul":
            weight, bias = weight * numbers, bias * numbers
        else:
            bias = bias + numbers
        values = [graph.constant(array, "of channels") for array in (weight, bias)]
        _put(graph, node, norm.operator, norm.inputs[0], *values)
        return


def _for_each_channel(norm: Node, value: Value | None) -> Array | None:
    """Return a constant with one element for each weight of a norm, or None."""
    constant, shape = None if value is None else value.constant, norm.output.shape or ()
    axis = len(shape) - 1 if isinstance(norm.operator, LayerNorm) else 1
    if constant is None or constant.ndim > len(shape):
        return None
    sizes = (1,) * (len(shape) - constant.ndim) + constant.shape
    wanted = tuple(size if place == axis else 1 for place, size in enumerate(shape))
    if sizes != wanted and math.prod(sizes) != 1:
        return None
    return np.broadcast_to(constant.reshape(-1), (shape[axis],))


_RULES: dict[type, Callable[[Graph, Node], None]] = {
    Reduce: _reduction,
    Unary: _root,
    Binary: _binary,
    Reshape: _reshaping,
}
