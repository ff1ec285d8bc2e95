"""Pools of channels-last images, written with their schedule.

Vectors run over channels, some at a time; the taps of a window are taken into them one by one.  The
tasks are runs of rows of the output.
"""

from __future__ import annotations

import math
from math import prod
from typing import Any, TypeAlias

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.machine.target import Target
from depthwise.problem.dtypes import element
from depthwise.problem.pools import PoolSpec
from depthwise.programs import define_pools
from depthwise.programs.build import SYMBOL, TASKS, Program
from depthwise.programs.direct import spread, vector
from depthwise.programs.pixel_runs import MOST_TASKS, largest, pieces
from depthwise.programs.quantized_numbers import of, rounded
from depthwise.schedule.plan import Plan
from depthwise.schedule.window import Axis, axes

Expr: TypeAlias = Any
Taps: TypeAlias = "tuple[Expr, Expr]"
"""The first tap of a window that is on the image, and the first one behind those."""

_TAPS_OF_A_TASK = 16384


def programs(spec: PoolSpec, plan: Plan, target: Target) -> tuple[Program]:
    """Return the one program of a pool."""
    del plan
    sums = spec.kind == "avgpool"
    lanes = target.lanes(spec.element.accumulator if sums else spec.dtype)
    function = _Pool(spec, lanes).function()
    definition = function if spec.operands else define_pools.define(spec)
    return (Program({SYMBOL: definition}, {SYMBOL: function}, target),)


class _Pool:
    def __init__(self, spec: PoolSpec, lanes: int) -> None:
        self._spec = spec
        self._rows, self._columns = axes(spec.window)
        self._pieces = list(pieces(spec.window.channels, lanes))
        self._sums = spec.kind == "avgpool"
        self._kept = spec.element.accumulator if self._sums else spec.element.tvm
        self._numbers: dict[str, list[Expr]] = {}

    def function(self) -> Any:
        """Return the function of the problem's arrays and a run of tasks."""
        spec = self._spec
        rows = spec.batch * self._rows.targets
        work = prod(spec.output_shape) * prod(spec.window.kernel)
        tasks = max(1, min(MOST_TASKS, rows, work // _TAPS_OF_A_TASK))
        with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
            T.func_name("main")
            T.func_attr({TASKS: tasks})
            shapes = {"x": spec.input_shape, **spec.operands, "y": spec.output_shape}
            x, *others, y = (
                T.arg(name, T.Buffer((prod(shape),), element(spec.dtype_of(name)).tvm))
                for name, shape in shapes.items()
            )
            first, last = T.arg("first", T.int32()), T.arg("last", T.int32())
            for array, (name, (size,)) in zip(others, spec.operands.items(), strict=True):
                self._numbers[name] = [T.Bind(array[at]) for at in range(size)]
            with T.serial(first, last) as task:
                begin, end = T.Bind(rows * task // tasks), T.Bind(rows * (task + 1) // tasks)
                with T.serial(begin, end) as row:
                    self._row(x, y, row)
        return builder.get()

    def _row(self, x: Any, y: Any, number: Expr) -> None:
        """Write a row of the output: the columns at either border apart, whose taps are counted."""
        image, row = T.Bind(number // self._rows.targets), T.Bind(number % self._rows.targets)
        taps = _on_image(self._rows, row)
        top = image * self._rows.sources + row * self._rows.stride - self._rows.before
        whole = self._columns.whole()
        for some in (range(whole.start), whole, range(whole.stop, self._columns.targets)):
            with T.serial(some.start, some.stop) as column:
                inside = some is whole
                across = (0, self._columns.taps) if inside else _on_image(self._columns, column)
                self._pixel(x, y, (top, number, column), taps, across)

    def _pixel(
        self, x: Any, y: Any, at: tuple[Expr, Expr, Expr], rows: Taps, columns: Taps
    ) -> None:
        """Write a pixel of the output.

        Args:
            x: the input.
            y: the output.
            at: the row of x, of all images, that its first tap is on, though that may not exist;
                its row of y, of all images; and its column.
            rows: the taps of a column of its window.
            columns: those of a row.
        """
        (top, row, column), window = at, self._spec.window
        left = column * self._columns.stride - self._columns.before
        target = T.Bind((row * self._columns.targets + column) * window.channels)
        count = (rows[1] - rows[0]) * (columns[1] - columns[0])
        for first, number, width in self._pieces:
            with T.serial(0, number) as step:
                channel = first + step * width
                found = T.alloc_buffer((width,), self._kept, scope="local")
                here = vector(0, width)
                T.buffer_store(found, spread(self._start(count), width), [here])
                with T.serial(*rows) as r, T.serial(*columns) as s:
                    below, right = r * self._rows.dilation, s * self._columns.dilation
                    pixel = (top + below) * self._columns.sources + left + right
                    value = T.Bind(x[vector(pixel * window.channels + channel, width)])
                    kept = tirx.Cast(of(self._kept, width), value)
                    T.buffer_store(found, self._with(found[here], kept), [here])
                result = self._result(found[here], count, width)
                T.buffer_store(y, result, [vector(target + channel, width)])

    def _start(self, count: Expr) -> Expr:
        """Return what a window of so many pixels begins with."""
        zero = tirx.const(0, self._kept)
        if self._sums:
            return zero - count * self._numbers["zeros"][0] if self._numbers else zero
        if self._spec.element.is_integer:
            return tirx.min_value(self._kept)
        least = tirx.const(-math.inf, self._kept)
        whole = prod(self._spec.window.kernel)
        return tirx.Select(count < whole, zero, least) if self._spec.padded else least

    def _with(self, found: Expr, value: Expr) -> Expr:
        """Return what is found with a tap more."""
        return found + value if self._sums else largest(found, value)

    def _result(self, found: Expr, count: Expr, width: int) -> Expr:
        if not self._sums:
            return found
        taps = prod(self._spec.window.kernel) if self._spec.padded else count
        if not self._numbers:
            return found / spread(tirx.Cast(self._kept, taps), width)
        (scale,), (_, zero), bounds = self._numbers.values()
        factor = T.Bind(scale / tirx.Cast("float32", taps))
        mean = tirx.Cast(of("float32", width), found) * spread(factor, width)
        return tirx.Cast(of(self._spec.element.tvm, width), rounded(mean, width, (zero, *bounds)))


def _on_image(axis: Axis, target: Expr) -> Taps:
    """Return which taps of a window are on the image along an axis."""
    start = T.Bind(target * axis.stride - axis.before)
    first = (tirx.max(-start, 0) + (axis.dilation - 1)) // axis.dilation
    last = (axis.sources - 1 - start) // axis.dilation + 1
    return T.Bind(first), T.Bind(tirx.min(last, axis.taps))
