"""Pixels in another order, moved at once: as they lie channels-last, with one copy.

Models cut images into patches by changes of shape and order of (N, C, H, W), each of which is a
copy where channels lie last.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TypeAlias

import numpy as np

from depthwise.network.elements import extents, moved, moves_of, numbers
from depthwise.network.graph import AS_IT_LIES, Graph, Node, Value
from depthwise.network.images import TO_NCHW, TO_NHWC
from depthwise.network.operators import Permute, Reshape
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
        if last:
            _straighten(graph, node)
    graph.drop_unused(why=AS_IT_LIES)


def _straighten(graph: Graph, node: Node) -> None:
    moves: list[Permute | Reshape] = []
    source = node.output
    for move, before in moves_of(node.output):
        if not isinstance(move, (Permute, Reshape)):
            break
        moves.append(move)
        source = before
    is_open = any(isinstance(s, str) for x in (source, node.output) for s in (x.sizes or ())[1:])
    index = numbers(source) if len(moves) >= _FEWEST and not is_open else None
    for move in reversed(moves):
        index = None if index is None else moved(move, index)
    ranks = [len(value.shape or ()) for value in (source, node.output)]
    if index is None or 4 not in ranks or min(ranks) < 3:
        return
    for first in (1, -1)[ranks[0] != 4 :]:
        for last in (1, -1)[ranks[1] != 4 :]:
            steps = _steps(_pixels(source, index, first, last)) if 1 in (first, last) else None
            if steps is not None and len(steps) > 1:
                _put(graph, node, source, steps, (first == 1, last == 1))
                return


def _pixels(source: Value, index: Array, first: int, last: int) -> Array | None:
    """Return which pixel each is, where each has its channels in their order.

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
    if own.shape[-1] != channels:
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
