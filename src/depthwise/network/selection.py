"""Some channels of a value, computed by themselves: what makes them, cut down to these.

A product that makes queries, keys and values as one becomes one for each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import numpy as np

from depthwise.network.graph import Graph, Node, Value
from depthwise.network.operators import (
    Activate,
    BatchNorm,
    Binary,
    Convolution,
    Linear,
    Operator,
    Permute,
    Reshape,
    Unary,
)
from depthwise.problem.arrays import Array


class Selection:
    """Makes values that hold some channels of others.

    Args:
        graph: the network.
        before: the node before which it computes them.
    """

    def __init__(self, graph: Graph, before: Node) -> None:
        self._graph, self._before = graph, before

    def of(self, value: Value, axis: int, channels: Array) -> Value | None:
        """Return some channels of a value; None where all have to be computed for them.

        Args:
            value: any.
            axis: that of its channels.
            channels: their numbers, in the order that is wanted; one may be there twice.
        """
        size = cast("tuple[int, ...]", value.shape)[axis]
        if len(channels) == size and np.array_equal(channels, np.arange(size)):
            return value
        node = value.maker
        rule = None if node is None else _RULES.get(type(node.operator))
        return None if rule is None or node is None else rule(self, node, axis, channels)

    def linear(self, node: Node, axis: int, channels: Array) -> Value | None:
        """Return the result of the rows of a weight."""
        last = axis == len(node.output.shape or ()) - 1
        return self._weighted(node, axis, channels, node.inputs[0]) if last else None

    def convolution(self, node: Node, axis: int, channels: Array) -> Value | None:
        """Return the result of some filters; of the same channels, where each has its own."""
        how, x = cast(Convolution, node.operator), cast(Value, node.inputs[0])
        if axis != 1:
            return None
        if how.groups == 1:
            return self._weighted(node, axis, channels, x)
        outputs, inputs = (cast("tuple[int, ...]", each.shape)[1] for each in (node.output, x))
        if not how.groups == outputs == inputs:
            return None
        own = self.of(x, axis, channels)
        how = replace(how, groups=len(channels))
        return None if own is None else self._weighted(node, axis, channels, own, how)

    def batch_norm(self, node: Node, axis: int, channels: Array) -> Value | None:
        """Return the norm of the channels."""
        x = self.of(cast(Value, node.inputs[0]), axis, channels) if axis == 1 else None
        return None if x is None else self._weighted(node, axis, channels, x)

    def binary(self, node: Node, axis: int, channels: Array) -> Value | None:
        """Return the function of the channels and of a constant, or of what is for each of them."""
        rank = len(node.output.shape or ())
        made: list[Value | None] = []
        for each in cast("list[Value]", node.inputs):
            at = axis - rank + len(each.shape or ())
            if each.constant is None:
                made.append(
                    self.of(each, axis, channels) if each.sizes == node.output.sizes else None
                )
            elif at < 0 or each.constant.shape[at] == 1:
                made.append(each)
            else:
                made.append(self._constant(each, np.take(each.constant, channels, at)))
        return None if None in made else self._made(node, node.operator, made, axis, channels)

    def unary(self, node: Node, axis: int, channels: Array) -> Value | None:
        """Return the function of the channels."""
        x = self.of(cast(Value, node.inputs[0]), axis, channels)
        return None if x is None else self._made(node, node.operator, [x], axis, channels)

    def permute(self, node: Node, axis: int, channels: Array) -> Value | None:
        """Return the channels with their axes in another order."""
        permute = cast(Permute, node.operator)
        x = self.of(cast(Value, node.inputs[0]), permute.order[axis], channels)
        return None if x is None else self._made(node, permute, [x], axis, channels)

    def reshape(self, node: Node, axis: int, channels: Array) -> Value | None:
        """Return the channels in another shape, where their axis stays the first or the last."""
        x, shape = cast(Value, node.inputs[0]), cast(Reshape, node.operator).shape
        before, after = x.sizes or (), node.output.sizes or ()
        if axis == len(after) - 1 and before[-1:] == after[-1:]:
            own = len(before) - 1
        elif before[: axis + 1] == after[: axis + 1]:
            own = axis
        else:
            return None
        made = self.of(x, own, channels)
        wanted = tuple(
            len(channels) if number == axis and size > 0 else size
            for number, size in enumerate(shape)
        )
        if made is None or (shape[axis] == 0 and own != axis):
            return None
        return self._made(node, Reshape(shape=wanted), [made], axis, channels)

    def _weighted(
        self, node: Node, axis: int, channels: Array, x: Value | None, how: Operator | None = None
    ) -> Value | None:
        """Return a node's result with those rows of its constants that these channels have."""
        given: list[Value | None] = [x]
        for each in node.inputs[1:]:
            if each is not None and each.constant is None:
                return None
            given.append(each and self._constant(each, cast(Array, each.constant)[channels]))
        return self._made(node, how or node.operator, given, axis, channels)

    def _constant(self, value: Value, array: Array) -> Value:
        return self._graph.constant(np.ascontiguousarray(array), value.name)

    def _made(
        self, node: Node, operator: Operator, given: list[Value | None], axis: int, channels: Array
    ) -> Value:
        made = self._graph.insert(self._before, operator, given, like=node.output)
        made.covers = list(node.covers)
        made.output.resize(axis, len(channels))
        return made.output


_RULES: dict[type, Callable[[Selection, Node, int, Array], Value | None]] = {
    Linear: Selection.linear,
    Convolution: Selection.convolution,
    BatchNorm: Selection.batch_norm,
    Binary: Selection.binary,
    Activate: Selection.unary,
    Unary: Selection.unary,
    Permute: Selection.permute,
    Reshape: Selection.reshape,
}
