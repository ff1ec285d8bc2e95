"""What is concatenated, cut or added along pixels, rows or columns, computed as along channels.

An array (A, B, C) in the order of its elements is A pixels of B * C channels: what is concatenated
or cut along B is a run of these, and what is the same for each A is a number for each of them.
"""

from __future__ import annotations

from math import prod
from typing import cast

import numpy as np

from depthwise.network.graph import Graph, Node, Value
from depthwise.network.operators import Binary, Concat, Foreign, Operator, Reshape, Select, Slice

_CHANNELS = 1
"""Their axis of (pixels, channels)."""


class Flattening:
    """Computes nodes of a graph on (pixels, channels), each array brought there once."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._flat: dict[tuple[Value, int], Value] = {}
        """Arrays with their axes from one on as channels, and those before it as pixels."""

    def put(self, node: Node) -> Value | None:
        """Put the same on (pixels, channels) in the place of a node, and return its result.

        None where it computes something else, or where a size is open that has to be known.
        """
        operator = node.operator.meaning if isinstance(node.operator, Foreign) else node.operator
        if isinstance(operator, Concat):
            return self._put(node, operator.axis, Concat(axis=_CHANNELS), node.inputs)
        if isinstance(operator, Slice) and operator.step == 1:
            return self._cut(node, operator.axis, operator.start, operator.stop)
        if isinstance(operator, Select):
            size = cast("tuple[int, ...]", cast(Value, node.inputs[0]).shape)[operator.axis]
            place = operator.index % size
            return self._cut(node, operator.axis, place, place + 1)
        if isinstance(operator, Binary):
            return self._put(node, 1, operator, [self._alike(node, x) for x in node.inputs])
        return None

    def _cut(self, node: Node, axis: int, start: int, stop: int) -> Value | None:
        """Compute what is cut out of an array."""
        x = cast(Value, node.inputs[0])
        one = _channels(x, axis + 1)
        if one is None:
            return None
        cut = Slice(axis=_CHANNELS, start=start * one, stop=stop * one)
        return self._put(node, axis, cut, [x])

    def _alike(self, node: Node, x: Value | None) -> Value | None:
        """Return an operand that is as large as a node's result; a constant, as one image of it."""
        if x is None or x.sizes == node.output.sizes:
            return x
        sizes = cast("tuple[int, ...]", node.output.sizes)
        constant, behind = x.constant, _channels(node.output, 1)
        if constant is None or behind is None or constant.ndim > len(sizes):
            return None
        whole = (1,) * (len(sizes) - constant.ndim) + constant.shape
        if whole[0] != 1:
            return None
        image = np.broadcast_to(constant.reshape(whole), (1, *sizes[1:]))
        return self._graph.constant(image, x.name)

    def _put(
        self, node: Node, axis: int, operator: Operator, given: list[Value | None]
    ) -> Value | None:
        """Compute another operator, of arrays with their axes from one on as channels."""
        if not axis or any(x is None or _channels(x, axis) is None for x in given):
            return None
        inputs = [self._of(node, cast(Value, x), axis) for x in given]
        like = next(x for x in inputs if x.constant is None)
        made = self._graph.insert(node, operator, inputs, like=like)
        made.covers, made.before_us = node.covers, node.before_us
        made.output.resize(_CHANNELS, _made(operator, inputs))
        sizes = node.output.sizes or ()
        shape = tuple(-1 if isinstance(size, str) else size for size in sizes)
        back = self._graph.insert(node, Reshape(shape=shape), [made.output], like=node.output)
        self._flat[back.output, axis] = made.output
        node.covers, node.before_us = [], 0.0
        self._graph.stand_in(node, back)
        return back.output

    def _of(self, node: Node, x: Value, axis: int) -> Value:
        """Return an array as (pixels, channels), made before a node where there is none."""
        if (x, axis) in self._flat:
            return self._flat[x, axis]
        channels = cast(int, _channels(x, axis))
        if x.constant is not None:
            return self._graph.constant(x.constant.reshape(-1, channels), x.name)
        made = self._graph.insert(node, Reshape(shape=(-1, channels)), [x], like=x).output
        pixels = (x.sizes or ())[:axis]
        words = [size for size in pixels if isinstance(size, str)]
        word = f"{made.name}.0" if axis > 1 else words[0] if words else 0
        made.shape = prod(cast("tuple[int, ...]", x.shape)[:axis]), channels
        made.sizes = word if words else made.shape[0], channels
        self._flat[x, axis] = made
        return made


def _channels(x: Value, axis: int) -> int | None:
    """Return how many elements the axes of a value from one on have; None where that is open.

    So it is where another shape of it cannot be said: several of its other axes are open.
    """
    sizes = x.sizes or (0,)
    behind, words = sizes[axis:], [size for size in sizes if isinstance(size, str)]
    known = all(isinstance(size, int) for size in behind) and len(words) <= 1 and 0 not in sizes
    return prod(cast("tuple[int, ...]", behind)) if known else None


def _made(operator: Operator, inputs: list[Value]) -> int:
    """Return how many channels an operator makes of (pixels, channels)."""
    if isinstance(operator, Slice):
        return operator.stop - operator.start
    counts = [cast("tuple[int, ...]", x.shape)[_CHANNELS] for x in inputs]
    return sum(counts) if isinstance(operator, Concat) else counts[0]
