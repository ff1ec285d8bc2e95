"""Causal convolution channels-last: vectors over channels.

A task first brings the weights of its channels into the order of vectors.  Then it goes through
blocks of time, and through the vectors of channels of each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.programs.causal_lines import Lines
from depthwise.programs.causal_rows import UNROLLED_TAPS, Row, Sequences, over_channels, wide
from depthwise.programs.direct import vector
from depthwise.schedule import causal as rule

Expr: TypeAlias = Any

_TIMES_OF_A_BLOCK = 16
_TIMES_OF_A_TILE = 4


class AcrossChannels:
    """What a task computes of rows, vector by vector of channels."""

    def __init__(self, sequences: Sequences) -> None:
        self._of, self._spec = sequences, sequences.spec
        self._arrays = sequences.arrays
        self._most = rule.channels_of_a_run(self._spec, sequences.target)
        self._weights: Any = None

    def tasks(self, first: Expr, last: Expr, begin: Expr, end: Expr) -> None:
        """Write the rows from `first` to `last`, of each the channels from `begin` to `end`."""
        self._bring_weights(begin, end)
        with T.serial(first, last) as number:
            row = self._of.row(number)
            blocks = T.Bind((row.length + (_TIMES_OF_A_BLOCK - 1)) // _TIMES_OF_A_BLOCK)
            with T.serial(wide(0), blocks) as block:
                start = T.Bind(block * _TIMES_OF_A_BLOCK)
                stop = T.Bind(T.min(start + _TIMES_OF_A_BLOCK, row.length))
                for channel, lanes in over_channels(self._spec, self._of.target, begin, end):
                    self._block(Vector(self._of, row, channel, begin, lanes), start, stop)
            if self._spec.state:
                with T.If(row.to_end > 0), T.Then():
                    for channel, lanes in over_channels(self._spec, self._of.target, begin, end):
                        Vector(self._of, row, channel, begin, lanes).write_state()

    def _bring_weights(self, begin: Expr, end: Expr) -> None:
        """Write the weights of the channels, tap by tap, to where the vectors find them."""
        taps, weight = self._spec.kernel, self._arrays["weight"]
        self._weights = T.alloc_buffer((taps * self._most,), self._spec.element.tvm, scope="local")
        for channel, lanes in over_channels(self._spec, self._of.target, begin, end):
            lines, at = Lines(weight, channel * taps, taps, lanes), channel - begin
            if taps > UNROLLED_TAPS:
                with T.serial(wide(0), wide(taps)) as k:
                    to = vector(k * self._most + at, lanes)
                    T.buffer_store(self._weights, lines.of(k), [to])
            for k in range(taps) if taps <= UNROLLED_TAPS else ():
                to = vector(k * self._most + at, lanes)
                T.buffer_store(self._weights, lines.of(k), [to])

    def _block(self, channels: Vector, start: Expr, stop: Expr) -> None:
        """Write some times of a vector: those whose taps reach before the row, then the others."""
        inside = T.Bind(T.min(T.max(start, self._spec.before - channels.row.before), stop))
        with T.serial(start, inside) as time:
            self._sums(channels, time, channels.before, 1)
        tiles = T.Bind((stop - inside) // _TIMES_OF_A_TILE)
        with T.serial(wide(0), tiles) as tile:
            self._sums(channels, inside + tile * _TIMES_OF_A_TILE, channels.of_x, _TIMES_OF_A_TILE)
        with T.serial(inside + tiles * _TIMES_OF_A_TILE, stop) as time:
            self._sums(channels, time, channels.of_x, 1)

    def _sums(self, channels: Vector, time: Expr, read: Read, times: int) -> None:
        """Write the sums of some times."""
        spec, lanes = self._spec, channels.lanes
        sums = T.alloc_buffer((times * lanes,), spec.element.tvm, scope="local")
        for at in range(times):
            with T.vectorized(wide(0), wide(lanes)) as lane:
                start = self._of.bias(channels.channel + lane)
                T.buffer_store(sums, start, [at * lanes + lane])

        def add(k: Any) -> None:
            for at in range(times):
                with T.vectorized(wide(0), wide(lanes)) as lane:
                    weight = self._weights[
                        k * self._most + channels.channel - channels.begin + lane
                    ]
                    shift = at - spec.before + k * spec.dilation
                    value = sums[at * lanes + lane] + read(time + shift, lane) * weight
                    T.buffer_store(sums, value, [at * lanes + lane])

        if spec.kernel <= UNROLLED_TAPS:
            for k in range(spec.kernel):
                add(k)
        else:
            with T.serial(wide(0), wide(spec.kernel)) as k:
                add(k)
        for at in range(times):
            with T.vectorized(wide(0), wide(lanes)) as lane:
                value = self._of.activated(sums[at * lanes + lane])
                T.buffer_store(self._arrays["y"], value, [channels.y(time + at) + lane])


Read: TypeAlias = "Callable[[Expr, Expr], Expr]"
"""Gives an element of x, or of what lies before it, by its time and its lane."""


@dataclass(frozen=True)
class Vector:
    """Neighbouring channels of a row."""

    of: Sequences
    row: Row
    channel: Expr
    """The first."""
    begin: Expr
    """The first channel of the task."""
    lanes: int

    def of_x(self, time: Expr, lane: Expr) -> Expr:
        """Return an element of x."""
        at = self.row.x + time * self.of.header["x_step"] + self.channel
        return self.of.arrays["x"][at + lane]

    def before(self, time: Expr, lane: Expr) -> Expr:
        """Return an element that may lie before the row."""
        return self.of.before(
            self.row, time, lambda at: self.of_x(at, lane), lambda number: self._state(number, lane)
        )

    def y(self, time: Expr) -> Expr:
        """Return where the results of a time begin."""
        return self.row.y + time * self.of.header["y_step"] + self.channel

    def _state(self, number: Expr, lane: Expr) -> Expr:
        return self.of.arrays["state"][self._place(number, lane)]

    def _place(self, number: Expr, lane: Expr) -> Expr:
        """Return where an element of the state lies."""
        return self.row.state + number * self.of.spec.channels + self.channel + lane

    def write_state(self) -> None:
        """Write what the state is after the row; its elements move to where others were read."""
        size = self.of.spec.state
        with T.serial(wide(0), wide(size)) as i, T.vectorized(wide(0), wide(self.lanes)) as lane:
            value = self.before(self.row.to_end - size + i, lane)
            T.buffer_store(self.of.arrays["state"], value, [self._place(i, lane)])
