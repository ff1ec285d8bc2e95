"""Causal convolution channels-first, one time of each row: vectors over channels.

Weights (C, K) and states (C, S) have the taps of a channel side by side.  Some of them are loaded
as vectors, as they lie, and then taken apart into a vector of channels for each tap; the same for
all rows of a task where these are weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from tvm import tirx
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.programs.causal_rows import Row, Sequences, over_channels, wide
from depthwise.programs.direct import spread, vector

Expr: TypeAlias = Any

_MOST_APART = 8
"""The taps of a channel that are loaded as vectors; more are loaded one by one."""


class OneTime:
    """What a task computes of rows, vector by vector of channels."""

    def __init__(self, sequences: Sequences) -> None:
        self._of, self._spec = sequences, sequences.spec
        self._arrays = sequences.arrays

    def tasks(self, first: Expr, last: Expr, begin: Expr, end: Expr) -> None:
        """Write the rows from `first` to `last`, of each the channels from `begin` to `end`."""
        for channel, lanes in over_channels(self._of, begin, end):
            taps = self._spec.kernel
            weight = Lines(self._arrays["weight"], channel * taps, taps, lanes)
            bias = self._bias(channel, lanes)
            with T.serial(first, last) as number:
                row = self._of.row(number)
                self._vector(row, channel, lanes, weight, bias)

    def _bias(self, channel: Expr, lanes: int) -> Expr:
        if self._spec.bias:
            return T.Bind(self._arrays["bias"][vector(channel, lanes)])
        return spread(tirx.const(0, self._spec.element.tvm), lanes)

    def _vector(self, row: Row, channel: Expr, lanes: int, weight: Lines, bias: Expr) -> None:
        """Write neighbouring channels of a row."""
        spec = self._spec
        new = T.Bind(self._arrays["x"][vector(row.x + channel, lanes)])
        old = None
        if spec.state:
            start = T.Bind(row.state + channel * spec.state)
            old = Lines(self._arrays["state"], start, spec.state, lanes)
        total = bias
        for k in range(spec.kernel):
            time = spec.state - spec.dilation * (spec.kernel - 1 - k)
            read = new if k == spec.kernel - 1 else old.of(time) if old else None
            if read is not None:
                total = T.Bind(total + read * weight.of(k))
        sums = T.alloc_buffer((lanes,), spec.element.tvm, scope="local")
        T.buffer_store(sums, total, [vector(0, lanes)])
        if old:
            with T.If(row.writes > 0), T.Then():
                old.push(new)
        with T.vectorized(0, lanes) as lane:
            value = self._of.activated(sums[lane])
            T.buffer_store(self._arrays["y"], value, [row.y + channel + lane])


class Lines:
    """Lines of so many elements, one for each of neighbouring channels."""

    def __init__(self, array: Any, start: Expr, size: int, lanes: int) -> None:
        self._array, self._start, self._size, self._lanes = array, start, size, lanes
        self._lie: list[Expr] = []
        if size <= _MOST_APART:
            self._lie = [
                T.Bind(array[vector(start + lanes * part, lanes)]) for part in range(size)
            ]

    def of(self, number: int) -> Expr:
        """Return a vector of the element of that number of each line."""
        if not self._lie:
            return T.Bind(self._array[self._place(number)])
        return self._shuffled(self._lie, [c * self._size + number for c in range(self._lanes)])

    def _place(self, number: Expr) -> Expr:
        if self._lanes == 1:
            return self._start + number
        return tirx.Ramp(self._start + number, self._size, self._lanes)

    def _shuffled(self, values: list[Expr], order: list[int]) -> Expr:
        """Return some elements of vectors that are numbered as they follow each other."""
        if self._lanes == 1:
            return values[order[0]]
        used = sorted({at // self._lanes for at in order})
        where = {part: place * self._lanes for place, part in enumerate(used)}
        chosen = [where[at // self._lanes] + at % self._lanes for at in order]
        return T.Bind(tirx.Shuffle([values[part] for part in used], chosen))

    def push(self, new: Expr) -> None:
        """Write each line without its first element, with a new one behind the others."""
        size, lanes = self._size, self._lanes
        if not self._lie:
            with T.serial(wide(0), wide(size - 1)) as number:
                T.buffer_store(self._array, self._array[self._place(number + 1)], [self._place(number)])
            T.buffer_store(self._array, new, [self._place(size - 1)])
            return
        for part in range(size):
            places = range(part * lanes, (part + 1) * lanes)
            order = [
                size * lanes + at // size if at % size == size - 1 else at + 1 for at in places
            ]
            value = self._shuffled([*self._lie, new], order)
            T.buffer_store(self._array, value, [vector(self._start + part * lanes, lanes)])
