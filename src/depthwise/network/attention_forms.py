"""The forms in which models write attention: as one operator, or as products round a softmax."""

from __future__ import annotations

import string
from dataclasses import dataclass
from math import prod
from typing import TypeAlias, cast

import numpy as np

from depthwise.network.elements import MOST_ELEMENTS, extents, scaled
from depthwise.network.graph import Graph, Node, Value
from depthwise.network.operators import (
    Binary,
    Foreign,
    HeadAttention,
    Operator,
    Permute,
    Product,
    Reshape,
    Softmax,
)
from depthwise.problem.arrays import Array

Runs: TypeAlias = "tuple[str, str, str, str, str]"


def form_of(graph: Graph, node: Node) -> Form | None:
    """Return the attention that a node is, or whose softmax it is."""
    meaning = _meaning(node)
    if isinstance(meaning, Softmax):
        return _of_products(graph, node, meaning.axis)
    return _of_heads(node, meaning) if isinstance(meaning, HeadAttention) else None


@dataclass(frozen=True, eq=False)
class Form:
    """Attention as a model has it: each array with a letter for each of its axes.

    Attributes:
        node: what makes the result.
        query: the queries.
        key: the keys.
        value: the values.
        letters: those of these and of the result.
        scores: those of the scores: of images and heads, queries and keys.
        scale: of the scores.
        bias: what is added to the scores; it may be broadcast.
    """

    node: Node
    query: Value
    key: Value
    value: Value
    letters: tuple[str, str, str, str]
    scores: str
    scale: float
    bias: Array | None

    def runs(self) -> Runs | None:
        """Return the letters of heads, queries, keys, channels of keys, and of values."""
        q, k, v, y = self.letters
        heads = "".join(each for each in self.scores if each in k and each in q and each in v)
        queries = "".join(each for each in self.scores if each in q and each not in k)
        keys = "".join(each for each in self.scores if each in k and each not in q)
        depth = "".join(each for each in q if each not in self.scores)
        width = "".join(each for each in v if each not in self.scores)
        wanted = [heads + queries + depth, heads + keys + depth, heads + keys + width]
        wanted += [heads + queries + width, heads + queries + keys]
        given = [q, k, v, y, self.scores]
        fits = all(sorted(a) == sorted(b) for a, b in zip(wanted, given, strict=True))
        return (heads, queries, keys, depth, width) if fits and len(keys) == 1 else None


def _meaning(node: Node) -> Operator | None:
    return node.operator.meaning if isinstance(node.operator, Foreign) else None


def _of_heads(node: Node, meaning: HeadAttention) -> Form | None:
    """Return the form of attention that is one operator."""
    query, key, value, *masks = cast("list[Value]", node.inputs)
    if query.shape is None or any(mask.constant is None for mask in masks):
        return None
    heads = string.ascii_lowercase[: len(query.shape) - 2]
    scale = query.shape[-1] ** -0.5 if meaning.scale is None else meaning.scale
    bias = masks[0].constant if masks else None
    if bias is not None and bias.dtype == bool:
        bias = np.where(bias, 0, -np.inf)
    letters = heads + "xz", heads + "yz", heads + "yw", heads + "xw"
    return Form(node, query, key, value, letters, heads + "xy", scale, bias)


def _of_products(graph: Graph, softmax: Node, axis: int) -> Form | None:
    """Return the form of a softmax of a product behind which there is another product."""
    first, last = _scores(cast(Value, softmax.inputs[0])), _product_behind(graph, softmax)
    if first is None or last is None:
        return None
    node, scale, bias = first
    a, b, scores = _letters(cast(Product, _meaning(node)))
    if softmax.output.sizes != node.output.sizes or len(softmax.output.shape or ()) != len(scores):
        return None
    user, position, order = last
    taken = _letters(cast(Product, _meaning(user)))
    if len(taken[position]) != len(scores):
        return None
    names = {taken[position][at]: scores[axis] for at, axis in enumerate(order)}
    free = iter(each for each in string.ascii_letters if each not in a + b)
    for each in taken[1 - position]:
        names.setdefault(each, next(free))
    if any(each not in names for each in taken[2]):
        return None
    v, y = ("".join(names[each] for each in run) for run in (taken[1 - position], taken[2]))
    inputs = cast("list[Value]", node.inputs)
    sides = [(inputs[0], a), (inputs[1], b)]
    (query, q), (key, k) = sides if scores[axis] in b else sides[::-1]
    value = cast(Value, user.inputs[1 - position])
    return Form(user, query, key, value, (q, k, v, y), scores, scale, bias)


def _letters(product: Product) -> tuple[str, str, str]:
    taken, made = product.equation.split("->")
    first, second = taken.split(",")
    return first, second, made


def _scores(value: Value) -> tuple[Node, float, Array | None] | None:
    """Return the product that a value is, by what it is multiplied, and what is added to that."""
    node = value.maker
    if node is None:
        return None
    if isinstance(_meaning(node), Product):
        return node, 1.0, None
    x = node.inputs[0] if node.inputs else None
    if isinstance(node.operator, Reshape) and x is not None:
        return _scores(x)
    if (found := scaled(node)) is not None:
        factor, x = found
        before = _scores(x)
        if before is None:
            return None
        product, scale, bias = before
        return product, scale * factor, None if bias is None else bias * factor
    return _shifted(node)


def _shifted(node: Node) -> tuple[Node, float, Array | None] | None:
    """Return the same where a constant is added to scores."""
    if not isinstance(node.operator, Binary) or node.name != "add":
        return None
    for x, other in (node.inputs, node.inputs[::-1]):
        constant = None if other is None else other.constant
        if constant is not None and x is not None and x.sizes == node.output.sizes:
            before = _scores(x)
            if before is not None:
                product, scale, bias = before
                added = _as_scores(constant, x, product.output)
                if added is None:
                    return None
                return product, scale, added if bias is None else bias + added
    return None


def _as_scores(constant: Array, x: Value, scores: Value) -> Array | None:
    """Return a constant that is added to scores in another shape in that of the scores."""
    if x.sizes == scores.sizes:
        return constant
    shape, wanted = extents(x), extents(scores)
    if shape is None or wanted is None or prod(shape) > MOST_ELEMENTS:
        return None
    try:
        return np.broadcast_to(constant, shape).reshape(wanted)
    except ValueError:
        return None


def _product_behind(graph: Graph, softmax: Node) -> tuple[Node, int, list[int]] | None:
    """Return the product that alone takes a softmax, as which input, and in which order of axes."""
    value, order = softmax.output, list(range(len(softmax.output.shape or ())))
    while graph.used_once(value):
        (user,) = value.users
        if isinstance(user.operator, Permute):
            order = [order[axis] for axis in user.operator.order]
            value = user.output
        elif isinstance(_meaning(user), Product):
            return user, user.inputs.index(value), order
        else:
            return None
    return None
