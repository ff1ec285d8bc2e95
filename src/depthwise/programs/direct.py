"""Depthwise sums over channels-last pixels, written with their schedule.

A tile is some neighbouring targets of a row; its sums stay in registers while all taps are added,
for one vector of channels after the other.  Tiles at the border leave out the taps that read
outside.  The next row is fetched ahead, what will be written to included, where data come from far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from tvm import tirx
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.programs.fetching import fetch_pixels
from depthwise.programs.pixel_runs import vectors
from depthwise.schedule.window import Axis, Cover, cover

Expr: TypeAlias = Any

_MOST_TAPS, _MOST_BORDER_STEPS = 64, 4000
"""Taps of a row, and multiply-adds of the tiles at its border, that are unrolled."""
_MOST_PARTS = 8
"""Parts whose code is written one after another; more of them would take long to compile."""


@dataclass(frozen=True)
class Pixels:
    """Channels-last memory."""

    buffer: Any
    origin: Expr
    """Where row 0 begins, which may lie before the memory."""
    row: int
    """Elements from row to row."""
    pixel: int
    """Elements from pixel to pixel."""

    def at(self, row: Expr, column: Expr) -> Expr:
        """Return where a pixel begins."""
        return self.origin + row * self.row + column * self.pixel

    def after(self, channels: int) -> Pixels:
        """Return the same without the first channels."""
        return Pixels(self.buffer, self.origin + channels, self.row, self.pixel)


@dataclass(frozen=True)
class Parts:
    """The pixels of some parts that lie one behind another."""

    first: Pixels
    count: int = 1
    size: int = 0
    """Elements from part to part."""

    def after(self, channels: int) -> Parts:
        """Return the same without the first channels of each."""
        return replace(self, first=self.first.after(channels))

    def each(self) -> Iterator[tuple[Expr, Pixels]]:
        """Write the code of each part, or a loop where there are many; yield number and pixels."""
        for number in in_turn(self.count):
            yield number, replace(self.first, origin=self.first.origin + number * self.size)


def in_turn(count: int) -> Iterator[Expr]:
    """Yield the number of each part, or of all in a loop where there are many."""
    if count <= _MOST_PARTS:
        yield from range(count)
    else:
        with T.serial(0, count) as number:
            yield number


@dataclass(frozen=True)
class Vectors:
    """Neighbouring channels."""

    count: Expr
    lanes: int

    def each(self) -> Any:
        """Return the loop over the vectors."""
        return T.serial(0, self.count)

    def run(self, at: Expr) -> Expr:
        """Return the index of a vector."""
        return vector(at, self.lanes)


def share(channels: int, lanes: int, run: Expr, runs: int) -> Iterator[tuple[Expr, Vectors]]:
    """Yield the first channel, and the vectors, of one of so many runs of all channels."""
    for start, (count, width) in vectors(channels, lanes):
        begin, end = T.Bind(count * run // runs), T.Bind(count * (run + 1) // runs)
        yield T.Bind(begin * width + start), Vectors(end - begin, width)


def vector(at: Expr, lanes: int) -> Expr:
    """Return the index of so many neighbours."""
    return tirx.Ramp(at, 1, lanes) if lanes > 1 else at


def spread(value: Expr, lanes: int) -> Expr:
    """Return a vector of which every element is a value."""
    return tirx.Broadcast(value, lanes) if lanes > 1 else value


def zero(dtype: str, lanes: int) -> Expr:
    """Return a vector of zeros."""
    return spread(tirx.const(0, dtype), lanes)


@dataclass(frozen=True)
class Direct:
    """The sums of rows of targets."""

    rows: Axis
    columns: Axis
    width: int
    """About how many targets a tile has."""
    dtype: str
    ahead: int
    """The lanes of the vectors during which the next row is fetched ahead; none where it is 0."""

    def row(
        self,
        target: Pixels,
        row: Expr,
        sources: Parts,
        weights: Callable[[Expr, Any, Expr], tuple[Any, Expr]],
        vectors: Vectors,
    ) -> None:
        """Write the loops that compute one row.

        Args:
            target: where sums go.
            row: which row of it.
            sources: what they are made of: backward, a part for each output of a channel.
            weights: `weights(row of taps, tap, source)` is the array, and where in it, of the first
                channel's weight.
            vectors: the channels.
        """
        job = _Job(self, target, row, sources, weights, vectors)
        if is_long(self.columns, self.width):
            job.tested()
            return
        tiles = cover(self.columns, self.width)
        if tiles.count:
            with T.serial(0, tiles.count) as tile:
                job.tile(range(tiles.first, tiles.first + tiles.width), tile, tiles)
        for apart in tiles.apart:
            job.tile(apart, 0)


def is_long(columns: Axis, width: int) -> bool:
    """Whether a row has so many taps, or so much of a border, that unrolling takes too long."""
    tiles = cover(columns, width)
    border = sum(map(len, tiles.apart)) * columns.taps
    return columns.taps > _MOST_TAPS or border > _MOST_BORDER_STEPS


@dataclass(frozen=True)
class _Job:
    direct: Direct
    target: Pixels
    row: Expr
    sources: Parts
    weights: Callable[[Expr, Any, Expr], tuple[Any, Expr]]
    vectors: Vectors

    def tile(self, targets: range, tile: Expr, loop: Cover | None = None) -> None:
        """Write one tile: these targets, and with a loop the same so many tiles farther."""
        columns, lanes, dtype = self.direct.columns, self.vectors.lanes, self.direct.dtype
        steps = columns.steps(targets)
        shift = tile * loop.width if loop else 0
        moved = tile * loop.sources if loop else 0
        first = T.Bind(self.target.at(self.row, targets.start + shift))
        with self.vectors.each() as number:
            offset = T.Bind(number * lanes)
            if loop and lanes == self.direct.ahead:
                self._fetch(first, loop, moved, number)
            sums = T.alloc_buffer((len(targets) * lanes,), dtype, scope="local")
            at = [self.vectors.run(place * lanes) for place in range(len(targets))]
            for place in at:
                T.buffer_store(sums, zero(dtype, lanes), [place])
            for source, pixels in self.sources.each():
                with self._taps() as (tap, row):
                    begin = T.Bind(pixels.at(row, moved) + offset)
                    taps = sorted({s for pairs in steps.values() for _, s in pairs})
                    weight = {s: self._weight(tap, s, source, offset) for s in taps}
                    for column, pairs in steps.items():
                        x = T.Bind(pixels.buffer[self.vectors.run(begin + column * pixels.pixel)])
                        for place, s in pairs:
                            T.buffer_store(sums, sums[at[place]] + x * weight[s], [at[place]])
            for place, value in enumerate(at):
                self._store(sums[value], first + place * self.target.pixel, offset)

    def tested(self) -> None:
        """Write a loop over single targets whose taps are tested one by one."""
        columns, lanes, dtype = self.direct.columns, self.vectors.lanes, self.direct.dtype
        with T.serial(0, columns.targets) as target, self.vectors.each() as number:
            offset = T.Bind(number * lanes)
            sums = T.alloc_buffer((lanes,), dtype, scope="local")
            all_lanes = self.vectors.run(0)
            T.buffer_store(sums, zero(dtype, lanes), [all_lanes])
            for source, pixels in self.sources.each():
                with self._taps() as (tap, row), taps_of(columns, target) as (s, column):
                    x = pixels.buffer[self.vectors.run(pixels.at(row, column) + offset)]
                    total = sums[all_lanes] + x * self._weight(tap, s, source, offset)
                    T.buffer_store(sums, total, [all_lanes])
            self._store(sums[all_lanes], self.target.at(self.row, target), offset)

    def _taps(self) -> Any:
        return taps_of(self.direct.rows, self.row)

    def _weight(self, tap: Expr, s: Any, source: Expr, offset: Expr) -> Expr:
        buffer, at = self.weights(tap, s, source)
        return T.Bind(buffer[self.vectors.run(at + offset)])

    def _store(self, value: Expr, at: Expr, offset: Expr) -> None:
        place = self.vectors.run(at + offset)
        T.buffer_store(self.target.buffer, value, [place])

    def _fetch(self, first: Expr, loop: Cover, moved: Expr, turn: Expr) -> None:
        rows = self.direct.rows
        next_row = last_source(rows, self.row + rows.period)
        for _, source in self.sources.each():
            begin = T.Bind(source.at(next_row, moved))
            fetch_pixels(source.buffer, begin, source.pixel, loop.sources, self.vectors.lanes, turn)
        fetch_pixels(
            self.target.buffer, first + self.target.row, self.target.pixel, loop.width,
            self.vectors.lanes, turn, write=True,
        )  # fmt: skip


def last_source(axis: Axis, target: Expr) -> Expr:
    """Return the last source that a target reads, inside or not."""
    if axis.backward:
        return tirx.floordiv(target + axis.before, axis.stride)
    return target * axis.stride + ((axis.taps - 1) * axis.dilation - axis.before)


@contextmanager
def taps_of(axis: Axis, target: Expr) -> Any:
    """Loop over the taps of a target that read something, each with what it reads."""
    with T.serial(0, axis.taps) as tap:
        if axis.backward:
            distance = T.Bind(target + axis.before - tap * axis.dilation)
            source = T.Bind(tirx.floordiv(distance, axis.stride))
            takes_part = [tirx.floormod(distance, axis.stride) == 0] * (axis.stride > 1)
        else:
            source = T.Bind(target * axis.stride + tap * axis.dilation - axis.before)
            takes_part = []
        with T.If(tirx.all(source >= 0, source < axis.sources, *takes_part)), T.Then():
            yield tap, source
