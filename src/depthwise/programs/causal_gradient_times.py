"""Gradients of a causal convolution channels-first: vectors over the time of one channel.

A block of time is computed in two windows in the first cache: x with what lies before it, and the
gradients of sums, with those of later times behind.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from tvm import tirx
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.programs.causal_gradient_rows import Gradients, each_tap
from depthwise.programs.causal_rows import wide
from depthwise.programs.direct import spread, vector
from depthwise.programs.pixel_runs import across
from depthwise.schedule import causal_gradient as rule

Expr: TypeAlias = Any
Place: TypeAlias = tuple[Any, Any]
"""An array, and where in it something begins."""


class AlongTime:
    """What a task computes, channel by channel."""

    def __init__(self, of: Gradients) -> None:
        self._of, self._conv = of, of.spec.conv
        self._arrays, self._y = of.arrays, of.arrays["y"]
        self._lanes = of.target.lanes(of.spec.dtype)
        self._block = rule.times_of_a_block(of.spec, self._lanes)
        self._before, self._taps = self._conv.before, self._conv.kernel

    def task(self, begin: Expr, end: Expr) -> None:
        """Write the channels from `begin` to `end` of all rows."""
        size = self._block + self._before
        self._x = T.alloc_buffer((size,), self._of.dtype, scope="local")
        self._grad = T.alloc_buffer((size,), self._of.dtype, scope="local")
        self._sums = T.alloc_buffer(
            ((self._taps + 1) * self._lanes,), self._of.dtype, scope="local"
        )
        with T.serial(begin, end) as channel:
            for k in range(self._taps + 1):
                nothing = spread(self._of.zero(), self._lanes)
                T.buffer_store(self._sums, nothing, [self._sum(k)])
            with T.serial(wide(0), self._of.header["rows"]) as number:
                self._row(self._of.row(number), channel)
            self._store_sums(channel)

    def _sum(self, k: Any) -> Expr:
        return vector(k * self._lanes, self._lanes)

    def _weight(self, channel: Expr, k: Any) -> Expr:
        return self._arrays["weight"][channel * self._taps + k]

    def _store_sums(self, channel: Expr) -> None:
        """Write the gradients of the weights of a channel, and of its bias."""
        start = self._of.header["weights"]
        for k in range(self._taps + self._conv.bias):
            total = across(T.Bind(self._sums[self._sum(k)]), self._lanes)
            at = start + channel * self._taps + k
            if k == self._taps:
                at = start + self._conv.channels * self._taps + channel
            T.buffer_store(self._y, total, [at])

    def _row(self, row: rule.Row, channel: Expr) -> None:
        block, before = self._block, self._before
        self._fill(self._grad, wide(0), wide(before))
        self._fill(self._grad, wide(block), wide(block + before))
        blocks = T.Bind((row.length + (block - 1)) // block)
        with T.serial(wide(0), blocks) as done:
            start = T.Bind((blocks - 1 - done) * block)
            count = T.Bind(T.min(row.length - start, wide(block)))
            with T.If(done > 0), T.Then():
                self._copy(self._grad, wide(block), self._grad, wide(0), wide(before))
            with T.If(tirx.all(start >= before, count == block)):
                with T.Then():
                    self._inside(row, channel, start)
                with T.Else():
                    self._at_an_end(row, channel, start, count)
        if self._conv.state:
            self._gradient_of_state(row, channel)

    def _inside(self, row: rule.Row, channel: Expr, start: Expr) -> None:
        """Write a block whose taps all lie in x, vector by vector from its end."""
        x = T.Bind(row.x + channel * self._of.header["x_step"] + start - self._before)
        grad = T.Bind(row.grad + channel * self._of.header["grad_step"] + start)
        to = T.Bind(row.y + channel * self._of.header["y_step"] + start)
        made = T.alloc_buffer((self._lanes,), self._of.dtype, scope="local")
        last = self._block - self._lanes
        with T.serial(wide(0), wide(self._block // self._lanes)) as done:
            at = T.Bind(last - done * self._lanes)
            of_x, of_grad = (self._arrays["x"], x), (self._arrays["grad"], grad)
            self._gradients_of_sums(channel, at, of_x, of_grad)
            self._sum_of_taps(channel, at, made)
            value = made[vector(0, self._lanes)]
            T.buffer_store(self._y, value, [vector(to + at, self._lanes)])

    def _at_an_end(self, row: rule.Row, channel: Expr, start: Expr, count: Expr) -> None:
        """Write a block at either end of a row, in windows."""
        self._bring(row, channel, start, count)
        vectors = T.Bind((count + (self._lanes - 1)) // self._lanes)
        with T.serial(wide(0), vectors) as number:
            at, begin = number * self._lanes, wide(0)
            self._gradients_of_sums(channel, at, (self._x, begin), (self._grad, begin))
        self._gradients_of_x(row, channel, start, count)

    def _bring(self, row: rule.Row, channel: Expr, start: Expr, count: Expr) -> None:
        """Write both windows of a block; zeros stand behind the last times of a row."""
        x, block, before = self._arrays["x"], self._block, self._before
        of_x = T.Bind(row.x + channel * self._of.header["x_step"] + start)
        of_grad = T.Bind(row.grad + channel * self._of.header["grad_step"] + start)
        with T.serial(wide(0), wide(before)) as i:
            T.buffer_store(
                self._x, self._old(row, channel, start - before + i, of_x - before + i), [i]
            )
        self._copy(self._x, wide(before), x, of_x, count)
        self._copy(self._grad, wide(0), self._arrays["grad"], of_grad, count)
        with T.If(count < block), T.Then():
            self._fill(self._x, before + count, wide(before + block))
            self._fill(self._grad, count, wide(block))

    def _old(self, row: rule.Row, channel: Expr, time: Expr, at: Expr) -> Expr:
        """Return the element at a time of a sequence that may lie before it."""
        old = self._of.zero()
        if self._conv.state:
            state = row.state + channel * self._conv.state + self._conv.state
            old = self._arrays["state"][state + time]
        return tirx.if_then_else(time >= 0, self._arrays["x"][at], old)

    def _gradients_of_sums(self, channel: Expr, at: Expr, of_x: Place, of_grad: Place) -> None:
        """Write those of a vector of times, and add to those of the weights what they are.

        Args:
            channel: of which channel.
            at: the first of the times.
            of_x: where what the first tap reads lies for the first time of the block.
            of_grad: where the gradients of results lie.
        """
        conv, lanes, here = self._conv, self._lanes, vector(0, self._lanes)
        (x, x_begin), (grads, grad_begin) = of_x, of_grad

        def of_tap(k: Any) -> Expr:
            return x[vector(x_begin + at + k * conv.dilation, lanes)]

        grad = T.alloc_buffer((lanes,), self._of.dtype, scope="local")
        T.buffer_store(grad, grads[vector(grad_begin + at, lanes)], [here])
        if conv.activation:
            first = self._arrays["bias"][channel] if conv.bias else self._of.zero()
            total = T.alloc_buffer((lanes,), self._of.dtype, scope="local")
            T.buffer_store(total, spread(first, lanes), [here])
            for k in each_tap(self._taps):
                product = of_tap(k) * spread(self._weight(channel, k), lanes)
                T.buffer_store(total, total[here] + product, [here])
            with T.vectorized(wide(0), wide(lanes)) as lane:
                T.buffer_store(grad, self._of.through(grad[lane], total[lane]), [lane])
        T.buffer_store(self._grad, grad[here], [vector(at, lanes)])
        for k in each_tap(self._taps):
            product = grad[here] * of_tap(k)
            T.buffer_store(self._sums, self._sums[self._sum(k)] + product, [self._sum(k)])
        if conv.bias:
            place = self._sum(self._taps)
            T.buffer_store(self._sums, self._sums[place] + grad[here], [place])

    def _gradients_of_x(self, row: rule.Row, channel: Expr, start: Expr, count: Expr) -> None:
        """Write the gradients of the x of a block, whole vectors and what is left of one."""
        lanes = self._lanes
        to = T.Bind(row.y + channel * self._of.header["y_step"] + start)
        made = T.alloc_buffer((lanes,), self._of.dtype, scope="local")
        whole = T.Bind(count // lanes)
        with T.serial(wide(0), whole) as number:
            at = T.Bind(number * lanes)
            self._sum_of_taps(channel, at, made)
            T.buffer_store(self._y, made[vector(0, lanes)], [vector(to + at, lanes)])
        with T.If(whole * lanes < count), T.Then():
            self._sum_of_taps(channel, whole * lanes, made)
            self._copy(self._y, to + whole * lanes, made, wide(0), count - whole * lanes)

    def _sum_of_taps(self, channel: Expr, at: Expr, made: Any) -> None:
        conv, lanes = self._conv, self._lanes
        T.buffer_store(made, spread(self._of.zero(), lanes), [vector(0, lanes)])
        for k in each_tap(self._taps):
            later = (self._taps - 1 - k) * conv.dilation
            product = self._grad[vector(at + later, lanes)] * spread(
                self._weight(channel, k), lanes
            )
            T.buffer_store(made, made[vector(0, lanes)] + product, [vector(0, lanes)])

    def _gradient_of_state(self, row: rule.Row, channel: Expr) -> None:
        """Write the gradient of a state from the gradients of the first sums."""
        conv, unread = self._conv, self._conv.state - self._before
        to = T.Bind(row.of_state + channel * conv.state)
        with T.serial(wide(0), wide(unread)) as i:
            T.buffer_store(self._y, self._of.zero(), [to + i])
        made = T.alloc_buffer((1,), self._of.dtype, scope="local")
        with T.serial(wide(0), wide(self._before)) as i:
            T.buffer_store(made, self._of.zero(), [0])
            with T.serial(wide(0), wide(self._taps)) as k:
                time = i - k * conv.dilation
                with T.If(time >= 0), T.Then():
                    product = self._weight(channel, k) * self._grad[time]
                    T.buffer_store(made, made[0] + product, [0])
            T.buffer_store(self._y, made[0], [to + unread + i])

    def _fill(self, array: Any, start: Expr, stop: Expr) -> None:
        with T.serial(start, stop) as i:
            T.buffer_store(array, self._of.zero(), [i])

    def _copy(self, to: Any, at: Expr, source: Any, start: Expr, count: Expr) -> None:
        with T.serial(wide(0), count) as i:
            T.buffer_store(to, source[start + i], [at + i])
