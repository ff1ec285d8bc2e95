"""Constants of which a file of TFLite has the elements that are not zero."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tflite

from depthwise.errors import ModelError
from depthwise.problem.arrays import Array

MOST_ELEMENTS = 2**28
"""No such array has more, whatever a file says: it need have few of them."""
_DENSE = 0
"""The format of an axis of which every place is stored."""
_INDICES = {
    1: tflite.Int32Vector, 2: tflite.Uint16Vector, 3: tflite.Uint8Vector,
}  # fmt: skip
"""The tables that a vector of indices may be, by their number in the union."""


def dense(sparsity: Any, values: Array, shape: tuple[int, ...]) -> Array:
    """Return an array of its elements that are stored.

    An axis may be split into blocks, whose places are an axis of their own behind all others.  The
    axes are gone through in an order: at each place of those before, an axis has all its places, or
    those of a list that begins and ends where its segments say.

    Args:
        sparsity: the schema's table of that.
        values: what is stored, in that order.
        shape: of the array.

    Raises:
        ModelError: these do not fit together.
    """
    if math.prod(shape) > MOST_ELEMENTS:
        raise ModelError(f"a sparse array has at most {MOST_ELEMENTS} elements; got {shape}")
    order = _whole(sparsity.TraversalOrderAsNumpy())
    blocked = _whole(sparsity.BlockMapAsNumpy())
    if sorted(order) != list(range(len(shape) + len(blocked))):
        raise ModelError(f"axes are gone through once each; got {order} for {shape}")
    if sparsity.DimMetadataLength() != len(order):
        raise ModelError(f"each axis is described; got {sparsity.DimMetadataLength()} for {order}")
    expanded = _expanded(sparsity, order, blocked, shape)
    places = np.zeros((1, 0), np.int64)
    for level, axis in enumerate(order):
        places = _along(sparsity.DimMetadata(level), places, expanded[axis])
    if len(places) != len(values):
        raise ModelError(f"each place has a value; got {len(values)} for {len(places)}")
    made = np.zeros(expanded, values.dtype)
    made[tuple(places[:, order.index(axis)] for axis in range(len(order)))] = values
    return _merged(made, blocked, shape)


def _expanded(
    sparsity: Any, order: list[int], blocked: list[int], shape: tuple[int, ...]
) -> list[int]:
    """Return the size of each axis, those of blocks behind all others."""
    sizes = list(shape)
    for number, axis in enumerate(blocked):
        described = sparsity.DimMetadata(order.index(len(shape) + number))
        size = described.DenseSize()
        if not 0 <= axis < len(shape) or size < 1 or sizes[axis] % size:
            raise ModelError(f"blocks divide an axis of {shape}; got blocks of {size} on {axis}")
        sizes[axis] //= size
        sizes.append(size)
    return sizes


def _along(described: Any, places: Array, size: int) -> Array:
    """Return the places at which an axis is stored, for each place of the axes before."""
    if described.Format() == _DENSE:
        if described.DenseSize() != size:
            raise ModelError(f"an axis of {size} is stored whole; got {described.DenseSize()}")
        along = np.tile(np.arange(size), len(places))
        return np.column_stack([np.repeat(places, size, axis=0), along])
    segments = _indices(described.ArraySegmentsType(), described.ArraySegments())
    along = _indices(described.ArrayIndicesType(), described.ArrayIndices())
    counts = np.diff(segments)
    fits = len(counts) == len(places) and (counts >= 0).all() and segments[0] == 0
    if not fits or segments[-1] != len(along) or (len(along) and along.max() >= size):
        raise ModelError(f"the places of an axis of {size} are listed; got {len(along)} of others")
    return np.column_stack([np.repeat(places, counts, axis=0), along])


def _indices(kind: int, union: Any) -> Array:
    vector = _INDICES[kind]()
    vector.Init(union.Bytes, union.Pos)
    return np.asarray(vector.ValuesAsNumpy(), np.int64)


def _merged(made: Array, blocked: list[int], shape: tuple[int, ...]) -> Array:
    """Return an array with the places within blocks beside the blocks."""
    order: list[int] = []
    for axis in range(len(shape)):
        order += [axis, *(len(shape) + n for n, each in enumerate(blocked) if each == axis)]
    whole: Array = made.transpose(order).reshape(shape)
    return whole


def _whole(array: Any) -> list[int]:
    return [] if np.ndim(array) == 0 else [int(each) for each in array]
