"""A graph without what changes nothing, with images in one order of axes and formulas by name."""

from __future__ import annotations

import numpy as np

from depthwise.network.attention import find_attention
from depthwise.network.formulas import name_formulas
from depthwise.network.graph import AS_IT_LIES, Graph, Node, Value
from depthwise.network.images import reorder
from depthwise.network.norms import name_norms
from depthwise.network.operators import (
    Binary,
    Foreign,
    Identity,
    Pad,
    Permute,
    Repeat,
    Reshape,
)
from depthwise.network.sequences import widen
from depthwise.network.straight import straighten
from depthwise.network.turned import turn
from depthwise.problem.dtypes import is_real


def simplify(graph: Graph) -> None:
    """Drop what does nothing, name what is written out, and bring images to (N, C, H, W)."""
    graph.drop_unused()
    for node in list(graph.nodes):
        if _does_nothing(node):
            graph.bypass(node)
    _as_sums_and_products(graph)
    _without_repeats(graph)
    name_formulas(graph)
    name_norms(graph)
    widen(graph)
    turn(graph)
    find_attention(graph)
    turn(graph)
    straighten(graph)
    reorder(graph)
    graph.drop_unused(why=AS_IT_LIES)


def _does_nothing(node: Node) -> bool:
    operator, x = node.operator, node.inputs[0] if node.inputs else None
    if x is None or x.constant is not None:
        return False
    if isinstance(operator, Pad):
        return operator.padding == ((0, 0), (0, 0))
    if isinstance(operator, Permute):
        return operator.order == tuple(range(len(operator.order)))
    if isinstance(operator, Reshape):
        return x.sizes is not None and x.sizes == node.output.sizes
    return isinstance(operator, Identity)


def _without_repeats(graph: Graph) -> None:
    """Let functions of two elements take what is repeated for them, which they do themselves."""
    for node in graph.nodes:
        if not isinstance(node.operator, Binary) or len(node.inputs) != len(_OPERANDS):
            continue
        for position, other in _OPERANDS:
            beside = node.inputs[other]
            if beside is None or beside.sizes != node.output.sizes:
                continue
            while (x := _repeated(node.inputs[position])) is not None:
                graph.retake(node, position, x)


_OPERANDS = (0, 1), (1, 0)


def _repeated(value: Value | None) -> Value | None:
    """Return what a value is the repetition of."""
    maker = None if value is None else value.maker
    operator = None if maker is None else maker.operator
    ours = isinstance(operator, Foreign) and isinstance(operator.meaning, Repeat)
    return maker.inputs[0] if maker is not None and ours else None


def _as_sums_and_products(graph: Graph) -> None:
    """Rewrite x - constant as x + -constant and x / constant as x * (1 / constant)."""
    for node in graph.nodes:
        constant = node.constant(1)
        if constant is None or not is_real(constant.dtype) or not isinstance(node.operator, Binary):
            continue
        if node.name == "sub":
            made, value = "add", -constant
        elif node.name == "div" and np.all(constant != 0):
            made, value = "mul", (1 / constant.astype(np.float64)).astype(constant.dtype)
        else:
            continue
        given = node.inputs[1]
        assert given is not None
        graph.retake(node, 1, graph.constant(value, f"{given.name}'"))
        node.operator = Binary(function=made)
