"""Pixels in another order, moved at once: as they lie channels-last, with one copy.

Models cut images into patches by changes of shape and order of (N, C, H, W), each of which is a
copy where channels lie last, or take every second pixel, four times, and put them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TypeAlias, cast

import numpy as np

from depthwise.network.elements import extents, moved, moves_of, numbers
from depthwise.network.graph import AS_IT_LIES, Graph, Node, Value
from depthwise.network.images import TO_NCHW, TO_NHWC
from depthwise.network.operators import Concat, Operator, Permute, Reshape, Slice
from depthwise.problem.arrays import Array

_FEWEST = 3
"""The moves of which there are none fewer that have the same result."""
Steps: TypeAlias = "list[tuple[int, int]]"
"""How many pixels lie how far from each other, from the outermost to the innermost axis."""


def straighten(graph: Graph) -> None:
    """Let what brings the pixels of images into another order do so channels-last."""
    for node in list(graph.nodes):
        last = isinstance(node.operator, (Permute, Reshape)) and not all(
            isinstance(user.operator, (Permute, Reshape)) for user in node.output.users
        )
        found = _moved_of(node.output) if last else _put_together(node)
        if found is not None:
            _straighten(graph, node, *found)
    graph.drop_unused(why=AS_IT_LIES)


def _moved_of(value: Value) -> tuple[Value, Array] | None:
    """Return what a value is in another order, and the numbers of its elements there."""
    moves: list[Operator] = []
    source = value
    for move, before in moves_of(value):
        if not isinstance(move, (Permute, Reshape)):
            break
        moves.append(move)
        source = before
    index = _index(source, moves, value) if len(moves) >= _FEWEST else None
    return None if index is None else (source, index)


def _put_together(node: Node) -> tuple[Value, Array] | None:
    """Return the same of parts that are cut out of one value, some by steps, and concatenated."""
    operator = node.operator
    if not isinstance(operator, Concat):
        return None
    ways = [_way(cast(Value, x)) for x in node.inputs]
    shared = [value for value, _ in ways[0] if all(value in dict(way) for way in ways[1:])]
    steps = [
        isinstance(move, Slice) and move.step > 1 for way in ways for _, m in way for move in m
    ]
    if not shared or not any(steps):
        return None
    parts = [_index(shared[-1], dict(way)[shared[-1]], node.output) for way in ways]
    if any(part is None for part in parts):
        return None
    return shared[-1], np.concatenate(cast("list[Array]", parts), operator.axis)


def _way(value: Value) -> list[tuple[Value, list[Operator]]]:
    """Return what a value is moved of, the latest first, each with the moves, the last first."""
    found: list[tuple[Value, list[Operator]]] = [(value, [])]
    for move, before in moves_of(value):
        if isinstance(move, float):
            break
        found.append((before, [*found[-1][1], move]))
    return found


def _index(source: Value, moves: Sequence[Operator], value: Value) -> Array | None:
    """Return the numbers of a source's elements moved; None where sizes but the first are open.

    Args:
        source: the value.
        moves: the last first.
        value: what is made of it.
    """
    is_open = any(isinstance(size, str) for x in (source, value) for size in (x.sizes or ())[1:])
    index = None if is_open else numbers(source)
    for move in reversed(moves):
        index = None if index is None else moved(move, index)
    return index


def _straighten(graph: Graph, node: Node, source: Value, index: Array) -> None:
    ranks = [len(value.shape or ()) for value in (source, node.output)]
    one_copy = not isinstance(node.operator, Concat)  # where both have channels last
    if (one_copy and 4 not in ranks) or not {3, 4}.issuperset(ranks):
        return
    for first in (1, -1)[ranks[0] != 4 :]:
        for last in (1, -1)[ranks[1] != 4 :]:
            straight = one_copy and 1 not in (first, last)
            steps = None if straight else _steps(_pixels(source, index, first, last))
            if steps is not None and len(steps) > 1:
                _put(graph, node, source, steps, (first == 1, last == 1))
                return


def _pixels(source: Value, index: Array, first: int, last: int) -> Array | None:
    """Return which pixel each is, where each, or each of some in one, has its channels in order.

    Args:
        source: whose pixels are moved.
        index: the numbers of its elements, moved.
        first: the axis of its channels.
        last: that axis afterwards.
    """
    shape = extents(source) or ()
    channels = shape[first]
    behind = prod(shape[2:]) if first == 1 else 1
    pixel = index // (behind * channels) * behind + index % behind
    own = np.moveaxis(pixel * channels + index // behind % channels, last, -1)
    if own.shape[-1] % channels:
        return None
    rows = own.reshape(-1, channels)
    wanted = rows[:, :1] + np.arange(channels)
    return rows[:, 0] // channels if np.array_equal(rows, wanted) else None


def _steps(pixels: Array | None) -> Steps | None:
    """Return pixels as steps from one to the next along a few axes; None where they are no such."""
    if pixels is None:
        return None
    found: Steps = []
    while len(pixels) > 1:
        step = int(pixels[1] - pixels[0])
        ends = np.flatnonzero(np.diff(pixels) != step)
        count = int(ends[0]) + 1 if len(ends) else len(pixels)
        if len(pixels) % count:
            return None
        rows = pixels.reshape(-1, count)
        if not np.array_equal(rows, rows[:, :1] + step * np.arange(count)):
            return None
        found.insert(0, (count, step))
        pixels = rows[:, 0]
    distance = 1
    for count, step in sorted(found, key=lambda each: each[1]):
        if step != distance:
            return None
        distance *= count
    return found


def _put(graph: Graph, node: Node, source: Value, steps: Steps, planes: tuple[bool, bool]) -> None:
    """Put moves of pixels with their channels in the place of those that lead to a node.

    Args:
        graph: the network.
        node: the last of them.
        source: what they move.
        steps: see `Steps`.
        planes: whether the source, and the result, have channels on their second axis.
    """
    sizes = node.output.sizes or ()
    wanted = [-1 if isinstance(size, str) else size for size in sizes]
    if wanted.count(-1) > 1:
        return
    order = sorted(range(len(steps)), key=lambda axis: -steps[axis][1])
    channels = (source.shape or ())[1 if planes[0] else -1]
    apart = (-1, *(steps[axis][0] for axis in order[1:]), channels)
    back = (*(order.index(axis) for axis in range(len(steps))), len(steps))
    together = [wanted[axis] for axis in TO_NHWC] if planes[1] else wanted
    moves: Sequence[Permute | Reshape] = [
        *[Permute(order=TO_NHWC)] * planes[0], Reshape(shape=apart), Permute(order=back),
        Reshape(shape=tuple(together)), *[Permute(order=TO_NCHW)] * planes[1],
    ]  # fmt: skip
    value = source
    for move in moves:
        value = _moved(graph, node, value, move)
    value.shape, value.sizes = node.output.shape, sizes
    last = value.maker
    assert last is not None
    graph.stand_in(node, last)


def _moved(graph: Graph, node: Node, value: Value, move: Permute | Reshape) -> Value:
    """Return a value moved, before a node; an open size stays that of its first axis alone."""
    made = graph.insert(node, move, [value], like=value).output
    shape, sizes = value.shape or (), value.sizes or ()
    if isinstance(move, Permute):
        made.shape = tuple(shape[axis] for axis in move.order)
        made.sizes = tuple(sizes[axis] for axis in move.order)
        return made
    made.shape = tuple(move.sizes(shape))
    is_open = any(isinstance(size, str) for size in sizes)
    made.sizes = tuple(
        f"{made.name}.{axis}" if size < 0 and is_open else made.shape[axis]
        for axis, size in enumerate(move.shape)
    )
    return made
