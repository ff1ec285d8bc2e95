"""A network that is streamed, called as one that takes whole arrays: `depthwise run --chunk`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from depthwise.errors import ArrayError
from depthwise.network.network import Network
from depthwise.network.prepare import Told
from depthwise.problem.arrays import Array


class Streamed:
    """Cuts arrays into chunks, streams them, and puts the results one behind the other.

    Args:
        net: the network, which has states.
        chunk: how many elements a chunk has along the axis; None is all of them.
        axis: of the inputs and outputs; inputs without it, or of another size, are given whole.

    Attributes:
        inputs: what it takes: the network's inputs but the states.
        outputs: what it returns: the outputs but the states.

    Raises:
        ModelError: no states are known.
    """

    def __init__(self, net: Network, chunk: int | None, axis: int) -> None:
        self._net, self._chunk, self._axis = net, chunk, axis
        self._stream = net.stream()
        self.inputs, self.outputs = self._stream.inputs, self._stream.outputs

    def __call__(self, *arrays: Array) -> Any:
        """Return what is streamed for arrays, from the first chunk to the last."""
        self._stream.reset()
        results = [
            made if isinstance(made, tuple) else (made,)
            for made in (self._stream(*chunk) for chunk in self._chunks(arrays))
        ]
        whole = [self._together(parts) for parts in zip(*results, strict=True)]
        return whole[0] if len(whole) == 1 else tuple(whole)

    def prepare(self, *arrays: Array, step: Told = lambda _: None) -> None:
        """Compile what the first chunk needs; see `Network.prepare`."""
        self._stream.reset()
        first = next(self._chunks(arrays))
        self._net.prepare(*self._stream.taken(first), step=step)

    def _chunks(self, arrays: Sequence[Array]) -> Iterator[list[Array]]:
        """Yield the arrays of each chunk.

        Raises:
            ArrayError: the first input has no such axis, or no elements.
        """
        shape = arrays[0].shape if arrays else ()
        if not -len(shape) <= self._axis < len(shape) or not shape[self._axis]:
            raise ArrayError(
                f"the first input is cut into chunks along an axis that it has (--axis); got "
                f"axis {self._axis} of {shape}"
            )
        axis = self._axis % len(shape)
        size = shape[axis]
        for begin in range(0, size, self._chunk or size):
            where = (*[slice(None)] * axis, slice(begin, begin + (self._chunk or size)))
            yield [
                np.ascontiguousarray(each[where])
                if each.ndim > axis and each.shape[axis] == size
                else each
                for each in arrays
            ]

    def _together(self, parts: Sequence[Array]) -> Array:
        """Return the results of all chunks as one.

        Raises:
            ArrayError: they have no such axis.
        """
        if len(parts) == 1:
            return parts[0]
        if not -parts[0].ndim <= self._axis < parts[0].ndim:
            raise ArrayError(
                f"the results of chunks are put together along an axis that they have (--axis); "
                f"got axis {self._axis} of {parts[0].shape}"
            )
        return np.concatenate(parts, self._axis)
