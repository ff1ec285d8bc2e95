"""Causal convolution channels-first: vectors over the time of one channel after the other.

Where taps reach before a row, its first vectors are computed from a window: a copy of what lies
before it, with its first elements behind.  So are the elements behind the last whole vector, with
those before them, so that every element of a result is computed by the same instructions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from tvm import tirx
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.programs.causal_rows import UNROLLED_TAPS, Row, Sequences, wide
from depthwise.programs.direct import spread, vector

Expr: TypeAlias = Any
Place: TypeAlias = "Callable[[Expr], Expr]"

_VECTORS = 4
"""Vectors of a tile: so many sums wait for each other as rarely as they can."""


class AlongTime:
    """What a task computes of rows, channel by channel."""

    def __init__(self, sequences: Sequences) -> None:
        self._of, self._spec = sequences, sequences.spec
        self._x, self._y = (sequences.arrays[name] for name in "xy")
        self._lanes = sequences.target.lanes(self._spec.dtype)
        self._head = max(1, -(-self._spec.before // self._lanes)) * self._lanes

    def tasks(self, first: Expr, last: Expr, begin: Expr, end: Expr) -> None:
        """Write the rows from `first` to `last`, of each the channels from `begin` to `end`."""
        with T.serial(first, last) as number:
            row = self._of.row(number)
            with T.serial(begin, end) as channel:
                self._channel(row, channel)

    def _channel(self, row: Row, channel: Expr) -> None:
        spec, head, lanes = self._spec, self._head, self._lanes
        x = T.Bind(row.x + channel * self._of.header["x_step"])
        y = T.Bind(row.y + channel * self._of.header["y_step"])
        weight = T.Bind(channel * spec.kernel)
        taps = Taps(self._of, channel, weight)
        window = T.alloc_buffer((head + spec.before,), spec.element.tvm, scope="local")
        made = T.alloc_buffer((head,), spec.element.tvm, scope="local")
        old = self._before(row, x, channel)
        with T.serial(wide(0), wide(spec.before)) as i:
            T.buffer_store(window, old(i - spec.before), [i])
        with T.If(row.length >= head):
            with T.Then():
                self._copy(window, spec.before, self._x, x, head)
                self._window(taps, window, head, self._y, y)
            with T.Else():
                self._copy(window, spec.before, self._x, x, row.length)
                self._window(taps, window, head, made, wide(0))
                self._copy(self._y, y, made, wide(0), row.length)
        with T.If(row.length > head), T.Then():
            left = T.Bind(row.length - head)
            tiles = T.Bind(left // (_VECTORS * lanes))
            behind = T.Bind(head + tiles * (_VECTORS * lanes))
            with T.serial(wide(0), tiles) as tile:
                self._inside(taps, x, y, head + tile * (_VECTORS * lanes), _VECTORS)
            singles = T.Bind((row.length - behind) // lanes)
            with T.serial(wide(0), singles) as single:
                self._inside(taps, x, y, behind + single * lanes, 1)
            rest = T.Bind((row.length - behind) % lanes)
            with T.If(rest > 0), T.Then():
                start = T.Bind(row.length - rest)
                self._copy(window, wide(0), self._x, x + start - spec.before, rest + spec.before)
                self._window(taps, window, lanes, made, wide(0))
                self._copy(self._y, y + start, made, wide(0), rest)
        if spec.state:
            self._write_state(row, old, channel)

    def _before(self, row: Row, x: Expr, channel: Expr) -> Place:
        """Return what gives the element of a channel at a time that may be before the row."""
        states = self._of.arrays.get("state")
        begin = T.Bind(row.state + channel * self._spec.state) if self._spec.state else None

        def of_state(number: Expr) -> Expr:
            return states[begin + number] if states is not None else None

        return lambda time: self._of.before(row, time, lambda at: self._x[x + at], of_state)

    def _write_state(self, row: Row, old: Place, channel: Expr) -> None:
        """Write what the state is after the row; its elements move to where others were read."""
        size = self._spec.state
        begin = T.Bind(row.state + channel * size)
        with T.If(row.to_end > 0), T.Then(), T.serial(wide(0), wide(size)) as i:
            T.buffer_store(self._of.arrays["state"], old(row.to_end - size + i), [begin + i])

    def _copy(self, to: Any, at: Any, source: Any, start: Expr, count: Any) -> None:
        with T.serial(wide(0), wide(count) if isinstance(count, int) else count) as i:
            T.buffer_store(to, source[start + i], [at + i])

    def _window(self, taps: Taps, window: Any, count: int, to: Any, at: Expr) -> None:
        """Write the sums of a window to an array."""
        with T.serial(wide(0), wide(count // self._lanes)) as number:
            start = number * self._lanes
            taps.sums(lambda i: window[start + i], lambda i: (to, at + start + i), 1, self._lanes)

    def _inside(self, taps: Taps, x: Expr, y: Expr, time: Expr, vectors: int) -> None:
        """Write some vectors of sums whose taps all lie in x."""
        start, end = T.Bind(x + time - self._spec.before), T.Bind(y + time)
        if taps.shifts(self._lanes):
            taps.sums_of_shifted(self._x, T.Bind(x + time), self._y, end, vectors, self._lanes)
            return
        taps.sums(lambda i: self._x[start + i], lambda i: (self._y, end + i), vectors, self._lanes)


class Taps:
    """The taps of a channel."""

    def __init__(self, sequences: Sequences, channel: Expr, weight: Expr) -> None:
        self._of, self._spec, self._weight = sequences, sequences.spec, weight
        self._start = T.Bind(sequences.bias(channel))
        self._few = self._spec.kernel <= UNROLLED_TAPS
        self._kept = [self._tap(k) for k in range(self._spec.kernel)] if self._few else []

    def shifts(self, lanes: int) -> bool:
        """Whether what taps read is shifted in registers: to load it is to convert it, too."""
        return bool(self._spec.element.storage) and self._few and self._spec.before <= lanes > 1

    def sums_of_shifted(self, x: Any, at: Expr, y: Any, to: Expr, vectors: int, lanes: int) -> None:
        """Write some vectors of sums, of elements that are each loaded once.

        Args:
            x: the input.
            at: where in it what the last tap of the first output reads lies; a vector lies before.
            y: the output.
            to: where in it the first result lies.
            vectors: how many.
            lanes: the outputs of each.
        """
        spec, here = self._spec, vector(0, lanes)
        loaded = [T.Bind(x[vector(at + number * lanes, lanes)]) for number in range(-1, vectors)]
        sums = T.alloc_buffer((lanes,), spec.element.tvm, scope="local")
        for number in range(vectors):
            total: Expr = spread(self._start, lanes)
            for k, weight in enumerate(self._kept):
                back = spec.before - k * spec.dilation
                order = [lanes - back + lane for lane in range(lanes)]
                pair = loaded[number : number + 2]
                read = T.Bind(tirx.Shuffle(pair, order)) if back else pair[1]
                total = T.Bind(total + read * spread(weight, lanes))
            T.buffer_store(sums, total, [here])
            with T.vectorized(wide(0), wide(lanes)) as lane:
                value = self._of.activated(sums[lane])
                T.buffer_store(y, value, [to + number * lanes + lane])

    def _tap(self, k: Any) -> Expr:
        return T.Bind(self._of.arrays["weight"][self._weight + k])

    def sums(
        self, read: Place, place: Callable[[Expr], tuple[Any, Expr]], vectors: int, lanes: int
    ) -> None:
        """Write some vectors of sums.

        Args:
            read: gives the element that the first tap of an output reads.
            place: gives the array, and the place in it, of an output.
            vectors: how many.
            lanes: the outputs of each.
        """
        spec = self._spec
        sums = T.alloc_buffer((vectors * lanes,), spec.element.tvm, scope="local")
        for first in range(0, vectors * lanes, lanes):
            with T.vectorized(wide(0), wide(lanes)) as lane:
                T.buffer_store(sums, self._start, [first + lane])

        def add(weight: Expr, shift: Any) -> None:
            for first in range(0, vectors * lanes, lanes):
                with T.vectorized(wide(0), wide(lanes)) as lane:
                    product = read(first + lane + shift) * weight
                    T.buffer_store(sums, sums[first + lane] + product, [first + lane])

        if self._few:
            for k, weight in enumerate(self._kept):
                add(weight, k * spec.dilation)
        else:
            with T.serial(wide(0), wide(spec.kernel)) as k:
                add(self._tap(k), k * spec.dilation)
        for first in range(0, vectors * lanes, lanes):
            with T.vectorized(wide(0), wide(lanes)) as lane:
                array, at = place(first + lane)
                T.buffer_store(array, self._of.activated(sums[first + lane]), [at])
