"""Rows of pixels with images first: (N, L, C) where a model has (L, N, C) for a while.

What takes each pixel for itself is computed before the axes change places, which then do so for
nothing: they change back behind it.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from depthwise.network.elements import Elements, extents, moves_of, origins
from depthwise.network.graph import AS_IT_LIES, Graph, Node, Value
from depthwise.network.operators import Binary, Linear, Permute, Reshape, reshaped

_TURNED = Permute(order=(1, 0, 2))


def turn(graph: Graph) -> None:
    """Compute on (N, L, C) what a model computes on (L, N, C), which it made of it."""
    for node in list(graph.nodes):
        x = _rows(node)
        if x is None or not any(move == _TURNED for move, _ in moves_of(x)):
            continue
        for found in origins(x):
            if isinstance(node.operator, (Permute, Reshape)):
                again = found.source is not x and found.source.sizes == x.sizes
                if again and _is_in_order(found):
                    graph.replace(x, found.source)
                    break
            elif _is_turned(found):
                _before(graph, node, x, found.source)
                break
    graph.drop_unused(why=AS_IT_LIES)


def _rows(node: Node) -> Value | None:
    """Return what a node takes pixel by pixel; of one that moves them, the result."""
    operator = node.operator
    if isinstance(operator, (Permute, Reshape)):
        return node.output
    if isinstance(operator, Linear):
        fixed = all(x is None or x.constant is not None for x in node.inputs[1:])
        return node.inputs[0] if fixed else None
    if isinstance(operator, Binary):
        for x, other in (node.inputs, node.inputs[::-1]):
            constant = None if other is None else other.constant
            if constant is not None and constant.size == (1, *constant.shape)[-1]:
                return x if x is not None and x.sizes == node.output.sizes else None
    return None


def _is_in_order(found: Elements) -> bool:
    return found.scale == 1 and np.array_equal(found.index.ravel(), np.arange(found.index.size))


def _is_turned(found: Elements) -> bool:
    """Whether elements are those of (N, L, C) in the order of (L, N, C)."""
    shape = extents(found.source) or ()
    if found.scale != 1 or len(shape) != 3 or found.index.shape[-1:] != shape[-1:]:
        return False
    wanted = np.arange(found.index.size).reshape(shape).transpose(_TURNED.order)
    return np.array_equal(found.index.ravel(), wanted.ravel())


def _before(graph: Graph, node: Node, x: Value, rows: Value) -> None:
    """Compute a node on rows before they are turned."""
    inputs = [rows if each is x else each for each in node.inputs]
    made = graph.insert(node, node.operator, inputs, like=node.output)
    value, channels = made.output, cast("tuple[int, ...]", node.output.shape)[-1]
    value.shape = (*cast("tuple[int, ...]", rows.shape)[:2], channels)
    value.sizes = (*cast("tuple[int | str, ...]", rows.sizes)[:2], channels)
    back = graph.insert(node, _TURNED, [value], like=value).output
    back.shape = tuple(value.shape[axis] for axis in _TURNED.order)
    back.sizes = tuple(value.sizes[axis] for axis in _TURNED.order)
    if back.sizes != node.output.sizes:
        flat = reshaped(back.sizes, node.output.sizes) or Reshape(shape=(-1, channels))
        back = graph.insert(node, flat, [back], like=node.output).output
    graph.replace(node.output, back)
    made.covers, made.before_us = node.covers, node.before_us
    graph.remove(node)
