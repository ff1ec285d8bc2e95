"""Images in one order of axes: what is computed between two permutations, computed without them."""

from __future__ import annotations

from typing import cast

from depthwise.network.draft import POINT
from depthwise.network.graph import Graph, Node, Value
from depthwise.network.operators import (
    Activate,
    Binary,
    ChannelNorm,
    Convolution,
    LayerNorm,
    Linear,
    Operator,
    Permute,
)

TO_NHWC, TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


def reorder(graph: Graph) -> None:
    """Compute on (N, C, H, W) what is computed on (N, H, W, C) between two permutations.

    Permutations move behind what can be computed before them; pairs of them vanish.
    """
    _Images(graph).reorder()


class _Images:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._nchw: dict[Value, Value] = {}
        """Permuted images, each with the one that it is the permutation of."""

    def reorder(self) -> None:
        for node in list(self._graph.nodes):
            if len(node.outputs) != 1 or len(node.output.shape or ()) != 4:
                continue
            if isinstance(node.operator, Permute):
                self._permutation(node, node.operator)
            elif made := self._on_nchw(node):
                self._permuted(node, *made)
        for value, x in self._nchw.items():
            unused = (
                value.maker is not None and not value.users and not self._graph.is_output(value)
            )
            if unused and value.maker is not None and x.maker is not None:
                x.maker.before_us += value.maker.before_us
                x.maker.covers += value.maker.covers
                self._graph.remove(value.maker)

    def _permutation(self, node: Node, permute: Permute) -> None:
        x = cast(Value, node.inputs[0])
        if permute.order == TO_NHWC:
            self._nchw[node.output] = x
        elif permute.order == TO_NCHW and x in self._nchw:
            same = self._nchw[x]
            self._graph.replace(node.output, same)
            self._graph.remove(node)
            if same.maker is not None:
                same.maker.covers += node.covers
                same.maker.before_us += node.before_us

    def _permuted(self, node: Node, operator: Operator, inputs: list[Value | None]) -> None:
        """Compute a node on (N, C, H, W), with a permutation behind it."""
        made = self._graph.insert(node, operator, inputs, like=node.output)
        made.covers, made.before_us = node.covers, node.before_us
        value, old = made.output, node.output
        assert old.shape is not None
        assert old.sizes is not None
        value.shape = tuple(old.shape[axis] for axis in TO_NCHW)
        value.sizes = tuple(old.sizes[axis] for axis in TO_NCHW)
        back = self._graph.insert(node, Permute(order=TO_NHWC), [value], like=old)
        self._nchw[back.output] = value
        node.covers, node.before_us = [], 0.0
        self._graph.stand_in(node, back)

    def _on_nchw(self, node: Node) -> tuple[Operator, list[Value | None]] | None:
        """Return the same on (N, C, H, W); None where a node stays as it is."""
        operator, x = node.operator, node.inputs[0]
        image = self._nchw.get(x) if x is not None else None
        if isinstance(operator, Binary):
            return self._binary(node, operator)
        if image is None:
            return None
        if isinstance(operator, Linear):
            return self._linear(node, image)
        if isinstance(operator, LayerNorm):
            return ChannelNorm(epsilon=operator.epsilon), [image, *node.inputs[1:]]
        if isinstance(operator, Activate):
            return operator, [image]
        return None

    def _linear(self, node: Node, image: Value) -> tuple[Convolution, list[Value | None]] | None:
        weight = node.constant(1)
        if weight is None:
            return None
        taps = self._graph.constant(weight[:, :, None, None], cast(Value, node.inputs[1]).name)
        return POINT, [image, taps, *node.inputs[2:]]

    def _binary(self, node: Node, operator: Binary) -> tuple[Binary, list[Value | None]] | None:
        """Return the function of two images, or of one and a constant for each channel."""
        operands = [self._operand(each) for each in node.inputs if each is not None]
        if None in operands or not any(x in self._nchw for x in node.inputs if x is not None):
            return None
        return operator, operands

    def _operand(self, x: Value) -> Value | None:
        if x in self._nchw:
            return self._nchw[x]
        if x.constant is None or x.constant.ndim > 1:
            return None
        return (
            x if x.constant.ndim == 0 else self._graph.constant(x.constant[:, None, None], x.name)
        )
