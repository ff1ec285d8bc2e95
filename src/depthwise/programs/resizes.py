"""Images in another size, channels-last, written with their schedule.

Where each pixel lies is computed in whole numbers, row by row and pixel by pixel; vectors run over
channels.  The tasks are runs of rows of the result.
"""

from __future__ import annotations

from math import prod
from typing import Any, TypeAlias

from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.machine.target import Target
from depthwise.problem.resizes import ResizeSpec
from depthwise.programs import define_resizes
from depthwise.programs.build import SYMBOL, TASKS, Program
from depthwise.programs.define_resizes import between, nearest
from depthwise.programs.direct import spread, vector
from depthwise.programs.pixel_runs import MOST_TASKS, pieces
from depthwise.schedule.plan import Plan
from depthwise.schedule.resizes import places

Expr: TypeAlias = Any

_ELEMENTS_OF_A_TASK = 8192


def programs(spec: ResizeSpec, plan: Plan, target: Target) -> tuple[Program]:
    """Return the one program."""
    del plan
    function = _Writing(spec, target.lanes(spec.dtype)).function()
    return (Program({SYMBOL: define_resizes.define(spec)}, {SYMBOL: function}, target),)


class _Writing:
    def __init__(self, spec: ResizeSpec, lanes: int) -> None:
        self._spec, self._pieces = spec, list(pieces(spec.channels, lanes))
        self._rows, self._columns = places(spec, 1), places(spec, 2)

    def function(self) -> Any:
        """Return the function of the two arrays and a run of tasks."""
        spec = self._spec
        batch, height, *_ = spec.output_shape
        rows, work = batch * height, prod(spec.output_shape)
        tasks = max(1, min(MOST_TASKS, rows, work // _ELEMENTS_OF_A_TASK))
        with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
            T.func_name("main")
            T.func_attr({TASKS: tasks})
            shapes = {"X": spec.input_shape, "Y": spec.output_shape}
            x, y = (
                T.arg(name, T.Buffer((prod(shape),), spec.element.tvm))
                for name, shape in shapes.items()
            )
            first, last = T.arg("first", T.int32()), T.arg("last", T.int32())
            begin, end = T.Bind(rows * first // tasks), T.Bind(rows * last // tasks)
            write = self._nearest_row if spec.kind == "nearest" else self._linear_row
            with T.serial(begin, end) as row:
                image = T.Bind(row // height)
                write(x, y, row, image * spec.height, T.Bind(row % height))
        return builder.get()

    def _pixel(self, row: Expr, column: Expr) -> Expr:
        """Return where a pixel of the image before begins."""
        return T.Bind((row * self._spec.width + column) * self._spec.channels)

    def _target(self, row: Expr, column: Expr) -> Expr:
        return T.Bind((row * self._spec.output_shape[2] + column) * self._spec.channels)

    def _nearest_row(self, x: Any, y: Any, row: Expr, top: Expr, number: Expr) -> None:
        """Write a row, of all images, that is of a number in its image, which begins at `top`."""
        above = T.Bind(top + nearest(self._rows, self._spec.rounding, number))
        with T.serial(0, self._spec.output_shape[2]) as column:
            left = nearest(self._columns, self._spec.rounding, column)
            source, target = self._pixel(above, left), self._target(row, column)
            for first, count, width in self._pieces:
                with T.serial(0, count) as step:
                    at = first + step * width
                    value = x[vector(source + at, width)]
                    T.buffer_store(y, value, [vector(target + at, width)])

    def _linear_row(self, x: Any, y: Any, row: Expr, top: Expr, number: Expr) -> None:
        """Write a row that lies between two."""
        dtype = self._spec.element.tvm
        above, below, down = map(T.Bind, between(self._rows, number, dtype))
        with T.serial(0, self._spec.output_shape[2]) as column:
            left, right, across = map(T.Bind, between(self._columns, column, dtype))
            corners = [
                [self._pixel(top + line, side) for side in (left, right)] for line in (above, below)
            ]
            target = self._target(row, column)
            for first, count, width in self._pieces:
                with T.serial(0, count) as step:
                    at = first + step * width
                    lines = [
                        _mixed([x[vector(side + at, width)] for side in line], across, width)
                        for line in corners
                    ]
                    value = _mixed(lines, down, width)
                    T.buffer_store(y, value, [vector(target + at, width)])


def _mixed(two: list[Expr], share: Expr, width: int) -> Expr:
    """Return what lies between two vectors, so much of the second one."""
    first, second = (T.Bind(each) for each in two)
    return T.Bind(first + (second - first) * spread(share, width))
