"""What one row of outputs adds to the gradient with respect to the weight, as loops.

A tile is some neighbouring outputs.  For one row of taps and one vector of channels after the
other, the sums of the taps come to registers, and each input that is loaded serves all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import prod
from typing import Any, TypeAlias

from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.programs.direct import Pixels, Vectors, is_long, last_source, taps_of
from depthwise.programs.fetching import fetch_pixels
from depthwise.schedule.weight_gradient import Sums
from depthwise.schedule.window import Axis, Cover, axes, cover

Expr: TypeAlias = Any


@dataclass(frozen=True)
class Row:
    """One row of outputs."""

    sums: Sums
    ahead: int
    """The lanes of the vectors during which the next row is fetched ahead; none where it is 0."""
    row: Expr
    channels: Vectors
    grad: Pixels
    inputs: Pixels
    places: Pixels
    """Where the sums of the taps lie, one behind another, then that of the gradient."""

    @cached_property
    def _axes(self) -> tuple[Axis, Axis]:
        return axes(self.sums.conv)

    @property
    def _rows(self) -> Axis:
        return self._axes[0]

    @property
    def _columns(self) -> Axis:
        return self._axes[1]

    def add(self) -> None:
        """Write the loops."""
        if is_long(self._columns, self.sums.tile):
            self._tested()
            return
        covered = cover(self._columns, self.sums.tile)
        if covered.count:
            with T.serial(0, covered.count) as tile:
                loop = range(covered.first, covered.first + covered.width)
                self._tile(loop, tile, covered)
        for apart in covered.apart:
            self._tile(apart, 0)

    def _tile(self, outputs: range, tile: Expr, loop: Cover | None = None) -> None:
        """Write one tile: these outputs, and with a loop the same so many tiles farther."""
        columns, most = self._columns, self.sums.taps
        chunks = -(-columns.taps // most)
        edges = [columns.taps * chunk // chunks for chunk in range(chunks + 1)]
        shift = tile * loop.width if loop else 0
        moved = tile * loop.sources if loop else 0
        first = T.Bind(self.grad.at(self.row, outputs.start + shift))
        if self.sums.conv.bias:
            self._add_bias(first, len(outputs))
        with taps_of(self._rows, self.row) as (tap, input_row):
            begin = T.Bind(self.inputs.at(input_row, moved))
            for start, end in pairwise(edges):
                with self.channels.each() as number:
                    offset = T.Bind(number * self.channels.lanes)
                    if loop and self.ahead == self.channels.lanes and not start:
                        self._fetch(outputs.start + shift, moved, loop, tap, number)
                    self._add_taps(outputs, range(start, end), tap, first, begin, offset)

    def _add_taps(
        self, outputs: range, taps: range, tap: Expr, first: Expr, begin: Expr, offset: Expr
    ) -> None:
        columns, lanes, run = self._columns, self.channels.lanes, self.channels.run
        steps = {
            column: pairs
            for column, all_pairs in columns.steps(outputs).items()
            if (pairs := [pair for pair in all_pairs if pair[1] in taps])
        }
        used = sorted({s for pairs in steps.values() for _, s in pairs})
        sums = T.alloc_buffer(
            (max(1, len(used)) * lanes,), self.sums.conv.element.tvm, scope="local"
        )
        at = {s: run(number * lanes) for number, s in enumerate(used)}
        place = tap * columns.taps
        memory = {s: T.Bind(self.places.at(0, place + s) + offset) for s in used}
        for s in used:
            T.buffer_store(sums, self.places.buffer[run(memory[s])], [at[s]])
        needed = sorted({j for pairs in steps.values() for j, _ in pairs})
        grads = {j: self._load(self.grad, first + j * self.grad.pixel + offset) for j in needed}
        for column, pairs in steps.items():
            x = self._load(self.inputs, begin + column * self.inputs.pixel + offset)
            for j, s in pairs:
                T.buffer_store(sums, sums[at[s]] + grads[j] * x, [at[s]])
        for s in used:
            T.buffer_store(self.places.buffer, sums[at[s]], [run(memory[s])])

    def _tested(self) -> None:
        """Write a loop over single outputs whose taps are tested one by one."""
        columns, run = self._columns, self.channels.run
        with T.serial(0, columns.outputs) as output:
            first = T.Bind(self.grad.at(self.row, output))
            if self.sums.conv.bias:
                self._add_bias(first, 1)
            with (
                taps_of(self._rows, self.row) as (tap, row),
                taps_of(columns, output) as (s, column),
                self.channels.each() as number,
            ):
                offset = T.Bind(number * self.channels.lanes)
                x = self._load(self.inputs, self.inputs.at(row, column) + offset)
                at = T.Bind(self.places.at(0, tap * columns.taps + s) + offset)
                grad = self._load(self.grad, first + offset)
                T.buffer_store(
                    self.places.buffer, self.places.buffer[run(at)] + grad * x, [run(at)]
                )

    def _add_bias(self, first: Expr, outputs: int) -> None:
        run = self.channels.run
        with self.channels.each() as number:
            offset = T.Bind(number * self.channels.lanes)
            at = T.Bind(self.places.at(0, prod(self.sums.conv.kernel)) + offset)
            total = self.places.buffer[run(at)]
            for output in range(outputs):
                total = total + self._load(self.grad, first + output * self.grad.pixel + offset)
            T.buffer_store(self.places.buffer, total, [run(at)])

    def _load(self, pixels: Pixels, at: Expr) -> Expr:
        return T.Bind(pixels.buffer[self.channels.run(at)])

    def _fetch(self, output: Expr, moved: Expr, loop: Cover, tap: Expr, turn: Expr) -> None:
        rows = self._rows
        lanes = self.channels.lanes
        last = last_source(rows, self.row + 1)
        for row in range(rows.stride):
            fetch_pixels(
                self.inputs.buffer, self.inputs.at(last - row, moved), self.inputs.pixel,
                loop.sources, lanes, turn, rows.taps, tap,
            )  # fmt: skip
        fetch_pixels(
            self.grad.buffer, self.grad.at(self.row + 1, output), self.grad.pixel, loop.width,
            lanes, turn, rows.taps, tap,
        )  # fmt: skip
