"""Softmax over the channels behind a kernel, as what it is made of: each of that is a kernel."""

from __future__ import annotations

from typing import cast

from depthwise.network.absorb import draft_of
from depthwise.network.graph import Graph, Node, Value
from depthwise.network.operators import (
    CHANNELS,
    Binary,
    Foreign,
    Operator,
    Reduce,
    Reshape,
    Softmax,
    Unary,
)
from depthwise.problem.dtypes import DTYPES


def stage_softmax(graph: Graph) -> bool:
    """Write it as exp(x - largest) / sum where a kernel makes x; whether there was any."""
    found = False
    for node in list(graph.nodes):
        if _is_of_channels(node):
            _write_out(graph, node)
            found = True
    return found


def _is_of_channels(node: Node) -> bool:
    operator = node.operator
    meaning = operator.meaning if isinstance(operator, Foreign) else None
    if not isinstance(meaning, Softmax) or (meaning.axis,) != CHANNELS:
        return False
    x = cast(Value, node.inputs[0])
    is_image = x.shape is not None and len(x.shape) in (2, 4) and x.dtype in DTYPES
    return is_image and _is_made_by_kernel(x)


def _is_made_by_kernel(x: Value) -> bool:
    """Whether a kernel makes an image, or what (N, C) is another shape of."""
    maker = x.maker
    if maker is not None and isinstance(maker.operator, Reshape) and len(x.shape or ()) == 2:
        return draft_of(maker.inputs[0]) is not None
    return draft_of(x) is not None


def _write_out(graph: Graph, node: Node) -> None:
    x = cast(Value, node.inputs[0])

    def made(operator: Operator, *inputs: Value) -> Value:
        value = graph.insert(node, operator, inputs, like=node.output).output
        if isinstance(operator, Reduce):
            value.resize(1, 1)
        return value

    largest = made(Reduce(function="max", axes=CHANNELS), x)
    powers = made(Unary(function="exp"), made(Binary(function="sub"), x, largest))
    total = made(Reduce(function="sum", axes=CHANNELS), powers)
    result = made(Binary(function="div"), powers, total)
    graph.stand_in(node, cast(Node, result.maker))
