"""Gradients of a causal convolution channels-last: vectors over channels.

Each vector of channels is computed for a block of times at once, so that the sums of the weights'
gradients stay in registers meanwhile.  The gradients of sums of a block lie in the first cache,
with those of the times behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from tvm import tirx
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.programs.causal_gradient_rows import Gradients, each_tap
from depthwise.programs.causal_lines import Lines
from depthwise.programs.causal_rows import over_channels, wide
from depthwise.programs.direct import spread, vector
from depthwise.schedule import causal_gradient as rule

Expr: TypeAlias = Any


class AcrossChannels:
    """What a task computes, vector by vector of channels."""

    def __init__(self, of: Gradients) -> None:
        self._of, self._conv = of, of.spec.conv
        self._arrays, self._y = of.arrays, of.arrays["y"]
        self._run = rule.channels_of_a_run(of.spec, of.target)
        self._block = rule.times_of_a_block(of.spec, of.target.lanes(of.spec.dtype))
        self._before, self._taps = self._conv.before, self._conv.kernel

    def task(self, begin: Expr, end: Expr) -> None:
        """Write the channels from `begin` to `end` of all rows."""
        run, taps = self._run, self._taps
        self._weights = T.alloc_buffer((taps * run,), self._of.dtype, scope="local")
        self._sums = T.alloc_buffer(((taps + 1) * run,), self._of.dtype, scope="local")
        times = self._block + self._before
        self._grad = T.alloc_buffer((times * run,), self._of.dtype, scope="local")
        for channel, lanes in self._vectors(begin, end):
            lines = Lines(self._arrays["weight"], channel * taps, taps, lanes)
            for k in each_tap(self._taps):
                at = vector(k * run + channel - begin, lanes)
                T.buffer_store(self._weights, lines.of(k), [at])
            self._clear(self._sums, 0, taps + 1, channel - begin, lanes)
        with T.serial(wide(0), self._of.header["rows"]) as number:
            self._row(self._of.row(number), begin, end)
        for channel, lanes in self._vectors(begin, end):
            self._store_sums(channel, channel - begin, lanes)

    def _vectors(self, begin: Expr, end: Expr) -> Iterator[tuple[Expr, int]]:
        yield from over_channels(self._conv, self._of.target, begin, end)

    def _clear(self, array: Any, first: int, count: int, at: Expr, lanes: int) -> None:
        with T.serial(wide(first), wide(first + count)) as line:
            nothing = spread(self._of.zero(), lanes)
            T.buffer_store(array, nothing, [vector(line * self._run + at, lanes)])

    def _store_sums(self, channel: Expr, at: Expr, lanes: int) -> None:
        """Write the gradients of the weights of a vector of channels, and of their bias."""
        taps, start = self._taps, self._of.header["weights"]
        with T.serial(wide(0), wide(taps)) as k, T.serial(wide(0), wide(lanes)) as lane:
            value = self._sums[k * self._run + at + lane]
            T.buffer_store(self._y, value, [start + (channel + lane) * taps + k])
        if self._conv.bias:
            start = start + self._conv.channels * taps + channel
            value = self._sums[vector(taps * self._run + at, lanes)]
            T.buffer_store(self._y, value, [vector(start, lanes)])

    def _row(self, row: rule.Row, begin: Expr, end: Expr) -> None:
        block, before = self._block, self._before
        for channel, lanes in self._vectors(begin, end):
            self._clear(self._grad, 0, block + before, channel - begin, lanes)
        blocks = T.Bind((row.length + (block - 1)) // block)
        with T.serial(wide(0), blocks) as done:
            start = T.Bind((blocks - 1 - done) * block)
            count = T.Bind(T.min(row.length - start, wide(block)))
            for channel, lanes in self._vectors(begin, end):
                self._block_of(row, (start, count), channel, channel - begin, lanes)
        if self._conv.state:
            for channel, lanes in self._vectors(begin, end):
                self._gradient_of_state(row, channel, channel - begin, lanes)

    def _block_of(
        self, row: rule.Row, times: tuple[Expr, Expr], channel: Expr, at: Expr, lanes: int
    ) -> None:
        """Write a vector of channels of a block: its first time, and how many they are."""
        start, count = times
        with T.serial(wide(0), wide(self._before)) as i:
            T.buffer_store(
                self._grad, self._grad[self._line(i, at, lanes)],
                [self._line(self._block + i, at, lanes)],
            )  # fmt: skip
        with T.If(start >= self._before):
            with T.Then():
                self._sums_of(row, times, channel, at, lanes, inside=True)
            with T.Else():
                self._sums_of(row, times, channel, at, lanes, inside=False)
        made = T.alloc_buffer((lanes,), self._of.dtype, scope="local")
        with T.serial(wide(0), count) as i:
            T.buffer_store(made, spread(self._of.zero(), lanes), [vector(0, lanes)])
            for k in each_tap(self._taps):
                later = i + (self._taps - 1 - k) * self._conv.dilation
                product = self._grad[self._line(later, at, lanes)] * self._weight(k, at, lanes)
                T.buffer_store(made, made[vector(0, lanes)] + product, [vector(0, lanes)])
            to = row.y + (start + i) * self._of.header["y_step"] + channel
            T.buffer_store(self._y, made[vector(0, lanes)], [vector(to, lanes)])

    def _line(self, time: Expr, at: Expr, lanes: int) -> Expr:
        """Return where the gradients of the sums of a time lie."""
        return vector(time * self._run + at, lanes)

    def _weight(self, k: Any, at: Expr, lanes: int) -> Expr:
        return self._weights[vector(k * self._run + at, lanes)]

    def _sums_of(
        self, row: rule.Row, times: tuple[Expr, Expr], channel: Expr, at: Expr, lanes: int, *,
        inside: bool,
    ) -> None:  # fmt: skip
        """Write the gradients of sums, and add to those of the weights what they are."""
        (start, count), taps, here = times, self._taps, vector(0, lanes)
        sums = T.alloc_buffer(((taps + 1) * lanes,), self._of.dtype, scope="local")
        for k in each_tap(self._taps):
            T.buffer_store(sums, spread(self._of.zero(), lanes), [vector(k * lanes, lanes)])
        T.buffer_store(sums, spread(self._of.zero(), lanes), [vector(taps * lanes, lanes)])
        total = T.alloc_buffer((lanes,), self._of.dtype, scope="local")
        grad = T.alloc_buffer((lanes,), self._of.dtype, scope="local")
        with T.serial(wide(0), count) as i:
            of_grad = row.grad + (start + i) * self._of.header["grad_step"] + channel
            T.buffer_store(grad, self._arrays["grad"][vector(of_grad, lanes)], [here])
            if self._conv.activation:
                T.buffer_store(total, self._bias(channel, lanes), [here])
                for k in each_tap(self._taps):
                    read = self._read(row, start + i, k, channel, lanes, inside=inside)
                    T.buffer_store(total, total[here] + read * self._weight(k, at, lanes), [here])
                with T.vectorized(wide(0), wide(lanes)) as lane:
                    T.buffer_store(grad, self._of.through(grad[lane], total[lane]), [lane])
            T.buffer_store(self._grad, grad[here], [self._line(i, at, lanes)])
            for k in each_tap(self._taps):
                read = self._read(row, start + i, k, channel, lanes, inside=inside)
                place = vector(k * lanes, lanes)
                T.buffer_store(sums, sums[place] + grad[here] * read, [place])
            if self._conv.bias:
                place = vector(taps * lanes, lanes)
                T.buffer_store(sums, sums[place] + grad[here], [place])
        for k in each_tap(self._taps):
            self._add(sums, k, at, lanes)
        if self._conv.bias:
            self._add(sums, taps, at, lanes)

    def _add(self, sums: Any, k: Any, at: Expr, lanes: int) -> None:
        to = vector(k * self._run + at, lanes)
        T.buffer_store(self._sums, self._sums[to] + sums[vector(k * lanes, lanes)], [to])

    def _bias(self, channel: Expr, lanes: int) -> Expr:
        if self._conv.bias:
            return self._arrays["bias"][vector(channel, lanes)]
        return spread(self._of.zero(), lanes)

    def _read(
        self, row: rule.Row, time: Expr, k: Any, channel: Expr, lanes: int, *, inside: bool
    ) -> Expr:
        """Return what a tap reads for an output: of x, or of what lies before it."""
        early = time - self._before + k * self._conv.dilation
        x = self._arrays["x"]
        of_x = x[vector(row.x + early * self._of.header["x_step"] + channel, lanes)]
        if inside:
            return of_x
        old = spread(self._of.zero(), lanes)
        if self._conv.state:
            state = row.state + (self._conv.state + early) * self._conv.channels + channel
            old = self._arrays["state"][vector(state, lanes)]
        return tirx.if_then_else(early >= 0, of_x, old)

    def _gradient_of_state(self, row: rule.Row, channel: Expr, at: Expr, lanes: int) -> None:
        """Write the gradient of a state from the gradients of the first sums."""
        conv, unread, here = self._conv, self._conv.state - self._before, vector(0, lanes)
        to = row.of_state + channel
        with T.serial(wide(0), wide(unread)) as i:
            nothing = spread(self._of.zero(), lanes)
            T.buffer_store(self._y, nothing, [vector(to + i * conv.channels, lanes)])
        made = T.alloc_buffer((lanes,), self._of.dtype, scope="local")
        with T.serial(wide(0), wide(self._before)) as i:
            T.buffer_store(made, spread(self._of.zero(), lanes), [here])
            with T.serial(wide(0), wide(self._taps)) as k:
                time = i - k * conv.dilation
                with T.If(time >= 0), T.Then():
                    product = self._grad[self._line(time, at, lanes)] * self._weight(k, at, lanes)
                    T.buffer_store(made, made[here] + product, [here])
            place = vector(to + (unread + i) * conv.channels, lanes)
            T.buffer_store(self._y, made[here], [place])
