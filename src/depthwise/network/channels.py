"""Concatenation, slices and shuffles of channels as kernels: each result gathered from its images.

What lies between the images that something computes and those that something takes is followed
channel by channel, so that a concatenation that is shuffled and split is one copy for each part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from depthwise.network.absorb import is_ours, is_wanted, place
from depthwise.network.draft import Draft
from depthwise.network.graph import NO_CHANGE, Graph, Node, Value
from depthwise.network.operators import Concat, Permute, Reshape, Slice
from depthwise.problem.arrays import Array
from depthwise.problem.dtypes import DTYPES, QUANTIZED
from depthwise.problem.gathers import MOST_RUNS, GatherSpec, Run
from depthwise.problem.parse import LONGEST

_GROUPS_SWAPPED = (0, 2, 1, 3, 4)
_FEW_RUNS = 5


def stage_channels(graph: Graph) -> bool:
    """Make kernels of what gathers channels of images that kernels make or take; say if any was."""
    _nest(graph)
    changed = False
    for node in list(graph.nodes):
        if node in graph.nodes and len(node.outputs) == 1 and _is_taken(graph, node):
            changed = _stage(graph, node) or changed
    return changed


def _nest(graph: Graph) -> None:
    """Make concatenations of more images than a kernel gathers those of concatenations."""
    for node in list(graph.nodes):
        while isinstance(node.operator, Concat) and len(node.inputs) > MOST_RUNS:
            some = cast("list[Value]", node.inputs[:MOST_RUNS])
            inner = graph.insert(node, node.operator, some, like=node.output)
            axis = node.operator.axis
            sizes = [cast("tuple[int, ...]", value.shape)[axis] for value in some]
            inner.output.resize(axis, sum(sizes))
            for value in some:
                value.users.remove(node)
            node.inputs[:MOST_RUNS] = [inner.output]
            inner.output.users.append(node)


@dataclass(frozen=True, eq=False)
class _Origin:
    """Where the channels of a value come from: for each, the image and the channel in it."""

    images: tuple[Value, ...]
    image: Array
    channel: Array

    def at(self, order: Array | slice) -> _Origin:
        """Return the origin of some of the channels."""
        return _Origin(self.images, self.image[order], self.channel[order])


def _is_image(value: Value | None) -> bool:
    if value is None or value.shape is None:
        return False
    sizes = value.sizes or ()
    known = len(sizes) in (2, 4) and 0 not in value.shape
    return known and value.dtype in DTYPES + QUANTIZED and isinstance(sizes[1], int)


def _is_taken(graph: Graph, node: Node) -> bool:
    """Whether a node gathers channels for something that computes."""
    value = node.output
    if not _is_image(value) or _before(value) is None:
        return False
    return graph.is_output(value) or not all(_passes_on(user) for user in value.users)


def _passes_on(node: Node) -> bool:
    """Whether a node does no more than hand on channels."""
    if isinstance(node.operator, Reshape) and len(node.output.sizes or ()) == 5:
        return all(
            isinstance(swap.operator, Permute)
            and all(_is_image(each.output) and _shuffled(each.output) for each in swap.output.users)
            for swap in node.output.users
        )
    return len(node.outputs) == 1 and _is_image(node.output) and _before(node.output) is not None


def _before(value: Value) -> list[Value] | None:
    """Return the images whose channels a value gathers; None where it computes otherwise."""
    maker = value.maker
    if maker is None:
        return None
    images = [cast(Value, x) for x in maker.inputs]
    if isinstance(maker.operator, (Concat, Slice)):
        along_channels = maker.operator.axis == 1
        return images if along_channels and all(map(_is_image, images)) else None
    found = _shuffled(value)
    return None if found is None else [found[0]]


def _shuffled(value: Value) -> tuple[Value, int] | None:
    """Return the image that a value is with its channels shuffled, and in how many groups."""
    back = value.maker
    swap = _input_maker(back) if back is not None and isinstance(back.operator, Reshape) else None
    apart = _input_maker(swap) if swap and swap.operator == Permute(order=_GROUPS_SWAPPED) else None
    if apart is None or not isinstance(apart.operator, Reshape):
        return None
    x, sizes = cast(Value, apart.inputs[0]), apart.output.sizes
    if not _is_image(x) or x.sizes != value.sizes or sizes is None or x.sizes is None:
        return None
    fits = len(sizes) == 5 and (sizes[0], *sizes[3:]) == (x.sizes[0], *x.sizes[2:])
    groups = sizes[1]
    return (x, groups) if fits and isinstance(groups, int) else None


def _input_maker(node: Node | None) -> Node | None:
    x = node.inputs[0] if node is not None else None
    return None if x is None else x.maker


def _origin(value: Value) -> _Origin:
    """Return where the channels of an image come from."""
    before = _before(value)
    if before is None:
        return _itself(value)
    maker = cast(Node, value.maker)
    if isinstance(maker.operator, Slice):
        cut = maker.operator
        return _origin(before[0]).at(slice(cut.start, cut.stop, cut.step))
    parts = [_in_few_runs(x) for x in before]
    if isinstance(maker.operator, Concat):
        return _joined(parts)
    channels = cast("tuple[int, ...]", value.shape)[1]
    _, groups = cast("tuple[Value, int]", _shuffled(value))
    return parts[0].at(np.arange(channels).reshape(groups, -1).T.ravel())


def _in_few_runs(value: Value) -> _Origin:
    """Return the origin of an image, or the image itself where it is made of many runs.

    (It is gathered then: what is gathered of it is simpler, and no channel is copied more than it
    is in the model.)
    """
    found = _origin(value)
    picks = picked(found.image, found.channel)
    return found if len(picks) <= _FEW_RUNS and max(map(len, picks)) == 1 else _itself(value)


def _itself(value: Value) -> _Origin:
    channels = cast("tuple[int, ...]", value.shape)[1]
    return _Origin((value,), np.zeros(channels, int), np.arange(channels))


def _joined(parts: list[_Origin]) -> _Origin:
    images = tuple(dict.fromkeys(image for part in parts for image in part.images))
    numbers = [[images.index(image) for image in part.images] for part in parts]
    image = [np.take(own, part.image) for own, part in zip(numbers, parts, strict=True)]
    channel = [part.channel for part in parts]
    return _Origin(images, np.concatenate(image), np.concatenate(channel))


def _stage(graph: Graph, node: Node) -> bool:
    """Put a kernel in the place of what gathers the channels of a value, where it is worth it."""
    value, origin = node.output, _origin(node.output)
    used = [image for number, image in enumerate(origin.images) if number in origin.image]
    if not (any(map(is_ours, used)) or is_wanted(value)):
        return False
    if not all(_goes_with(image, value) for image in used):
        return False
    numbers = np.array([used.index(image) if image in used else -1 for image in origin.images])
    picks = picked(numbers[origin.image], origin.channel)
    if max(len(used), sum(map(len, picks))) > MOST_RUNS:
        node.reason = f"channels are gathered from at most {MOST_RUNS} runs"
        return False
    channels = tuple(cast("tuple[int, ...]", image.shape)[1] for image in used)
    if picks == ((Run(0, 0, channels[0]),),):
        graph.replace(value, used[0])
        graph.drop_unused(why=NO_CHANGE)
    else:
        batch, _, height, width = (*cast("tuple[int, ...]", value.shape), 1, 1)[:4]
        spec = GatherSpec(
            images=channels, picks=picks, height=height, width=width, batch=batch,
            dtype=cast(str, value.dtype),
        )  # fmt: skip
        if len(str(spec)) > LONGEST:
            node.reason = f"what channels are gathered from is said in {LONGEST} characters"
            return False
        made = place(graph, node, Draft(spec=spec, operands={}), *used)
        for image in used:
            if _before(image) is not None:
                _stage(graph, cast(Node, image.maker))
        graph.drop_unused(into=made)
    return True


def _goes_with(image: Value, value: Value) -> bool:
    """Whether a value is as many images of as many pixels as another, of the same type."""
    (batch, _, *sides), (own, _, *others) = image.sizes or (), value.sizes or ()
    return (batch, sides, image.dtype) == (own, others, value.dtype)


def picked(image: Array, channel: Array) -> tuple[tuple[Run, ...], ...]:
    """Return channels as runs, and as runs that go in turn, the longest first in each place.

    Args:
        image: the number of the image of each channel.
        channel: which one it is there.
    """
    found, at = [], 0
    while at < len(image):
        ways = [_in_turn(image, channel, at, runs) for runs in range(1, MOST_RUNS + 1)]
        ways = ways[:1] + [pick for pick in ways if pick[0].count > 1]
        pick = max(ways, key=lambda pick: (sum(run.count for run in pick), -len(pick)))
        found.append(pick)
        at += sum(run.count for run in pick)
    return tuple(found)


def _in_turn(image: Array, channel: Array, at: int, runs: int) -> tuple[Run, ...]:
    """Return so many runs, of which each has every so many-th channel from one on."""
    rows = (len(image) - at) // runs
    if not rows:
        return (Run(int(image[at]), int(channel[at]), int(channel[at]) + 1),)
    end = at + rows * runs
    images, channels = (each[at:end].reshape(rows, runs) for each in (image, channel))
    if rows > 1 and (channels[1] != channels[0] + 1).any():
        rows = 1  # as most often, and it would take long to look at all of them
        images, channels = images[:1], channels[:1]
    goes_on = (images == images[0]) & (channels == channels[0] + np.arange(rows)[:, None])
    ends = np.flatnonzero(~goes_on.all(axis=1))
    count = int(ends[0]) if len(ends) else rows
    return tuple(
        Run(int(number), int(first), int(first) + count)
        for number, first in zip(images[0], channels[0], strict=True)
    )
