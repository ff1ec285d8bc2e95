"""What values hold of earlier ones, where they are these moved, cut and scaled.

It is found by moving the numbers of the elements as a call would move the elements, so that it does
not matter in which of many ways a model spells this.  Where the batch is open, it is twice that of
the example, so that what is equal by chance in a batch of one is told apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import cast

import numpy as np

from depthwise.network.graph import Node, Value
from depthwise.network.operators import (
    Binary,
    Foreign,
    Operator,
    Permute,
    Reshape,
    Select,
    Slice,
)
from depthwise.problem.arrays import Array

MOST_ELEMENTS = 2**26
"""Of larger values it takes too long to find out."""


@dataclass(frozen=True, eq=False)
class Elements:
    """What a value holds.

    Attributes:
        source: the earlier value.
        index: of each element, its number in the source.
        scale: by what all are multiplied.
    """

    source: Value
    index: Array
    scale: float


def origins(value: Value) -> Iterator[Elements]:
    """Yield what a value holds of each earlier value, the earliest first, and lastly of itself."""
    moves = moves_of(value)
    for number in range(len(moves), -1, -1):
        source = moves[number - 1][1] if number else value
        found = _moved(source, [move for move, _ in moves[:number]][::-1])
        if found is not None:
            yield found


def moves_of(value: Value) -> list[tuple[Operator | float, Value]]:
    """Return how a value is moved, or scaled, and of what, the last first."""
    found: list[tuple[Operator | float, Value]] = []
    while (before := _before(found[-1][1] if found else value)) is not None:
        found.append(before)
    return found


def numbers(value: Value) -> Array | None:
    """Return the numbers of a value's elements in its shape; None where that is not known."""
    shape = extents(value)
    if shape is None or prod(shape) > MOST_ELEMENTS:
        return None
    return np.arange(prod(shape)).reshape(shape)


def extents(value: Value) -> tuple[int, ...] | None:
    """Return the shape of a value, sizes that are open twice as large as in the example."""
    if value.shape is None or value.sizes is None:
        return None
    return tuple(
        size if isinstance(size, int) else 2 * known
        for size, known in zip(value.sizes, value.shape, strict=True)
    )


def move_of(node: Node) -> Operator | None:
    """Return how a node moves the elements of its first input; None where it computes otherwise."""
    operator = node.operator
    meaning = operator.meaning if isinstance(operator, Foreign) else operator
    found = len(node.outputs) == 1 and isinstance(meaning, (Permute, Reshape, Slice, Select))
    return meaning if found else None


def moved(move: Operator, array: Array) -> Array | None:
    """Return an array moved so; None where it cannot be."""
    try:
        if isinstance(move, Permute):
            return np.transpose(array, move.order)
        if isinstance(move, Reshape):
            return array.reshape(move.sizes(array.shape))
        if isinstance(move, Slice):
            return np.take(array, range(move.start, move.stop, move.step), move.axis)
        taken: Array = np.take(array, cast(Select, move).index, cast(Select, move).axis)
        return taken
    except (ValueError, LookupError):
        return None


def _before(value: Value) -> tuple[Operator | float, Value] | None:
    """Return the value that another is moved or scaled, and how."""
    node = value.maker
    x = node.inputs[0] if node is not None and node.inputs else None
    if node is None or x is None:
        return None
    if (move := move_of(node)) is not None:
        return (move, x) if x.constant is None else None
    return scaled(node)


def scaled(node: Node) -> tuple[float, Value] | None:
    """Return the value that a node multiplies by a number, and the number."""
    if not isinstance(node.operator, Binary) or node.name != "mul":
        return None
    for x, other in (node.inputs, node.inputs[::-1]):
        constant = None if other is None else other.constant
        if x is None or x.constant is not None or x.sizes != node.output.sizes:
            continue
        if constant is not None and constant.size == 1 and x.dtype == node.output.dtype:
            return float(constant.reshape(())), x
    return None


def _moved(source: Value, moves: list[Operator | float]) -> Elements | None:
    index, scale = numbers(source), 1.0
    for move in moves:
        if isinstance(move, float):
            scale *= move
        elif index is not None:
            index = moved(move, index)
    return None if index is None else Elements(source, index, scale)
