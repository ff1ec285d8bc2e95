"""Queries, keys and values, cut into heads in whatever way, as channels of the pixels of images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from depthwise.network.elements import Elements, extents, origins
from depthwise.network.graph import Value
from depthwise.problem.arrays import Array


@dataclass(frozen=True, eq=False)
class Side:
    """Queries, keys or values as channels of the pixels of an image.

    Attributes:
        source: what holds them.
        axis: that of its channels: the last, or the one behind the first.
        images: of each run of a product, which image it is of.
        count: the pixels of an image.
        channels: (heads, channels of a head), the number of each.
        scale: by what they are multiplied.
    """

    source: Value
    axis: int
    images: Array
    count: int
    channels: Array
    scale: float


def sides(
    value: Value, letters: str, runs: Sequence[str], heads: tuple[int, ...]
) -> Iterator[Side]:
    """Yield an array as channels of pixels of earlier values.

    Args:
        value: the array.
        letters: of its axes.
        runs: the letters of heads, pixels and channels.
        heads: the extents of those of heads, where arrays that lack some are broadcast.
    """
    order = [letters.index(each) for run in runs for each in run]
    for elements in origins(value):
        index = elements.index.transpose(order)
        rest = index.shape[len(heads) :]
        pixels, channels = prod(rest[: len(runs[1])]), prod(rest[len(runs[1]) :])
        index = np.broadcast_to(index, (*heads, *rest)).reshape(-1, pixels, channels)
        for axis in dict.fromkeys((len(elements.source.shape or ()) - 1, 1)):
            found = _side(elements, index, axis)
            if found is not None:
                yield found


def _side(elements: Elements, index: Array, axis: int) -> Side | None:
    """Return the side that elements (heads of all images, pixels, channels of a head) are."""
    shape = extents(elements.source) or ()
    if not 0 < axis < len(shape) or shape[1:] != (elements.source.sizes or ())[1:]:
        return None
    behind, count = prod(shape[axis + 1 :]), index.shape[1]
    channel = index // behind % shape[axis]
    pixel = index // (behind * shape[axis]) * behind + index % behind
    images = pixel[:, 0, 0] // count
    wanted = images[:, None] * count + np.arange(count)
    if not (pixel == wanted[:, :, None]).all():
        return None
    own, heads = np.unique(images, return_counts=True)
    if len(own) * count * shape[axis] != prod(shape) or len(set(heads)) != 1:
        return None
    order = np.argsort(images, kind="stable")
    by_image = channel[order].reshape(len(own), heads[0], count, -1)
    if not (by_image == by_image[:1, :, :1]).all():
        return None
    return Side(elements.source, axis, images, count, by_image[0, :, 0], elements.scale)
