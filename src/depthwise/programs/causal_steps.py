"""Causal convolution channels-first, one time of each row: vectors over channels.

Weights (C, K) and states (C, S) have the taps of a channel side by side.  Some of them are loaded
as vectors, as they lie, and then taken apart into a vector of channels for each tap; the same for
all rows of a task where these are weights.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from tvm import tirx
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.programs.causal_lines import Lines
from depthwise.programs.causal_rows import Row, Sequences, over_channels
from depthwise.programs.direct import spread, vector

Expr: TypeAlias = Any


class OneTime:
    """What a task computes of rows, vector by vector of channels."""

    def __init__(self, sequences: Sequences) -> None:
        self._of, self._spec = sequences, sequences.spec
        self._arrays = sequences.arrays

    def tasks(self, first: Expr, last: Expr, begin: Expr, end: Expr) -> None:
        """Write the rows from `first` to `last`, of each the channels from `begin` to `end`."""
        for channel, lanes in over_channels(self._spec, self._of.target, begin, end):
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
            with T.If(row.to_end > 0), T.Then():
                old.push(new)
        with T.vectorized(0, lanes) as lane:
            value = self._of.activated(sums[lane])
            T.buffer_store(self._arrays["y"], value, [row.y + channel + lane])
