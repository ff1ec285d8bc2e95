"""Writer: quantized pointwise and dense convolution as a product of whole numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.programs import products
from depthwise.programs.build import SCRATCH_BYTES, SYMBOL, TASKS, Program
from depthwise.programs.dense_sums import Windows, bring, each_vector
from depthwise.programs.direct import spread, vector
from depthwise.programs.quantized import Arrays, Numbers
from depthwise.schedule import quantized_products as rule
from depthwise.schedule.form import SUM_BYTES, DotsForm
from depthwise.schedule.plan import Plan
from depthwise.schedule.stack import Stack
from depthwise.schedule.tiling import Panels

Expr: TypeAlias = Any


def programs(spec: ConvSpec, plan: Plan, target: Target) -> tuple[Program]:
    """Return the one program of a convolution."""
    function = _function(spec, plan, target)
    return (Program({SYMBOL: function}, {SYMBOL: function}, target),)


def _function(spec: ConvSpec, plan: Plan, target: Target) -> tirx.PrimFunc:
    """Return a function of the problem's arrays, of scratch memory and of a run of tasks."""
    form, stack = rule.form(spec, plan, target), Stack.of(spec)
    runs, shares = rule.tasks(spec, plan, target)
    ends = rule.ends(spec, plan)
    dots = _Dots(form, target.lanes("int32"), spec.dtype)
    near = 0
    if rule.is_brought(spec, target):
        near = stack.most_rows(ends) * stack.row + form.group
    with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
        T.func_name("main")
        T.func_attr({TASKS: runs * shares, SCRATCH_BYTES: near * dots.input_bytes})
        arrays = Arrays.declare(spec, (form.weight_shape(spec)[0], "int8"))
        scratch = T.arg("scratch", T.Buffer((near,), dots.input_type)) if near else None
        start, stop = T.arg("first", T.int32()), T.arg("last", T.int32())
        numbers = Numbers.read(arrays)
        with T.serial(start, stop) as number:
            # It is one of them already; TVM does not know, and its divisions need the range.
            task = T.Bind(T.max(T.min(number, runs * shares - 1), 0))
            run, share = T.Bind(task // shares), T.Bind(task % shares)
            first, last = products.run_of_rows(run, runs, stack.pixels, plan.tw)
            array, above = arrays["x"], 0
            if near:
                array, (above, below) = scratch, map(T.Bind, stack.rows(first, last))
                with T.If(tirx.any(number == start, share == 0)), T.Then():
                    dots.bring(spec, arrays["x"], scratch, above, below, numbers.zero_of_x)
            windows = Windows(stack, array, above, ends)
            _product(arrays, numbers, dots, windows, (first, last), (share, shares))
    return builder.get()


@dataclass(frozen=True)
class _Dots:
    """How inputs are taken, and multiplied with weights."""

    form: DotsForm
    lanes: int
    """Sums of a vector."""
    dtype: str

    @property
    def input_type(self) -> str:
        """The type of inputs that were brought."""
        return "uint8" if self.form.group == 4 else "int16"

    @property
    def input_bytes(self) -> int:
        """The bytes of one of them."""
        return 1 if self.form.group == 4 else 2

    def bring(self, spec: ConvSpec, x: Any, near: Any, first: Expr, last: Expr, zero: Expr) -> None:
        """Copy rows as they are multiplied: see `_taken`."""
        lanes = 4 * self.lanes // self.input_bytes
        pitch, whole = spec.pitch("x"), spec.pitch("x") == spec.channels
        pixels, count = (1, spec.width * spec.channels) if whole else (spec.width, spec.channels)

        def copy(image: Expr, line: Expr, to: Expr) -> None:
            begin = T.Bind((image * spec.height + line) * (spec.width * pitch))
            with T.serial(0, pixels) as pixel:
                for at, run in each_vector(count, lanes):
                    value = self._taken(x[vector(begin + pixel * pitch + at, run)], zero, run)
                    T.buffer_store(near, value, [vector(to + pixel * count + at, run)])

        bring(spec, near, first, last, lanes, copy, self._taken(tirx.Cast(x.dtype, zero), zero, 1))

    def _taken(self, value: Expr, zero: Expr, lanes: int) -> Expr:
        """Return bytes without a sign, or 16-bit differences from the zero point."""
        if self.form.group != 4:
            return tirx.Cast(_of("int16", lanes), value) - spread(tirx.Cast("int16", zero), lanes)
        if self.dtype == "uint8":
            return value
        bits = T.reinterpret(_of("uint8", lanes), value)
        return bits ^ spread(tirx.const(128, "uint8"), lanes)

    def zero(self, zero: Expr) -> Expr:
        """Return what inputs as they are taken have for their zero point."""
        if self.form.group != 4:
            return tirx.const(0, "int32")
        return zero if self.dtype == "uint8" else zero + 128

    def input(self, array: Any, at: Expr) -> Expr:
        """Return a step of a row for all lanes."""
        group, lanes = self.form.group, self.lanes
        if group == 1:
            return spread(tirx.Cast("int32", array[at]), lanes)
        return spread(T.reinterpret("int32", array[vector(at, group)]), lanes)

    def weights(self, packed: Any, at: Expr) -> Expr:
        """Return a step of a vector of columns, from a place in bytes on."""
        group, lanes = self.form.group, self.lanes
        if group == 1:
            return T.reinterpret(_of("int16", lanes), packed[vector(at, 2 * lanes)])
        return T.reinterpret(_of("int32", lanes), packed[vector(at, 4 * lanes)])

    def add(self, total: Expr, x: Expr, weights: Expr) -> Expr:
        """Return sums with a step more."""
        lanes, ints = self.lanes, _of("int32", self.lanes)
        if self.form.group == 1:
            return total + x * tirx.Cast(ints, weights)
        bits = 32 * lanes
        if self.form.group == 2:
            kind = _of("int16", 2 * lanes)
            product = T.call_llvm_pure_intrin(
                ints, _MULTIPLY_PAIRS[bits], T.reinterpret(kind, x), T.reinterpret(kind, weights)
            )
            return total + product
        bytes_of_x = T.reinterpret(_of("uint8", 4 * lanes), x)
        bytes_of_weights = T.reinterpret(_of("int8", 4 * lanes), weights)
        name = f"llvm.x86.avx512.vpdpbusd.{bits}"
        return T.call_llvm_pure_intrin(ints, name, total, bytes_of_x, bytes_of_weights)


_MULTIPLY_PAIRS = {256: "llvm.x86.avx2.pmadd.wd", 512: "llvm.x86.avx512.pmaddw.d.512"}
"""The instruction by the bits of its vectors."""


def _of(dtype: str, lanes: int) -> str:
    return dtype if lanes == 1 else f"{dtype}x{lanes}"


def _product(
    arrays: Arrays, numbers: Numbers, dots: _Dots, windows: Windows,
    pixels: tuple[Expr, Expr], share: tuple[Expr, int],
) -> None:  # fmt: skip
    """Write the loops over panels and tiles of pixels."""
    first, last = pixels
    part, parts = share
    for panel in dots.form.panels:
        begin, end = panel.count * part // parts, panel.count * (part + 1) // parts
        with T.serial(begin, end) as index:
            column = T.Bind(index * panel.width + panel.start)
            start = T.Bind(column * dots.form.column_bytes)
            starts = _starts(arrays, numbers, dots, panel, column, start)
            matrix = T.Bind(start + panel.width * SUM_BYTES)
            with T.serial(0, (last - first + (panel.rows - 1)) // panel.rows) as tile:
                top = T.Bind(T.min(first + tile * panel.rows, last - panel.rows))
                sums = _Sums(dots, panel, starts)
                sums.add_all(arrays["weight"], windows, top, matrix, arrays.spec)
                sums.store(arrays, numbers, top, column)


def _starts(
    arrays: Arrays, numbers: Numbers, dots: _Dots, panel: Panels, column: Expr, start: Expr
) -> Any:
    """Return what the sums of a panel begin with: biases, less what the zero point adds."""
    starts = T.alloc_buffer((panel.width,), "int32", scope="local")
    zero, lanes = T.Bind(dots.zero(numbers.zero_of_x)), dots.lanes
    for at in range(0, panel.width, lanes):
        there = vector(start + at * SUM_BYTES, SUM_BYTES * lanes)
        own = T.reinterpret(_of("int32", lanes), arrays["weight"][there])
        value = tirx.const(0, "int32") - spread(zero, lanes) * own
        T.buffer_store(starts, value, [vector(at, lanes)])
        used = min(lanes, panel.used - at)
        if arrays.spec.bias and used > 0:
            biased = starts[vector(at, used)] + arrays["bias"][vector(column + at, used)]
            T.buffer_store(starts, biased, [vector(at, used)])
    return starts


class _Sums:
    """The sums of a tile, in registers."""

    def __init__(self, dots: _Dots, panel: Panels, starts: Any) -> None:
        self._dots, self._panel = dots, panel
        self._sums = T.alloc_buffer((panel.rows * panel.width,), "int32", scope="local")
        for at, _, column in self._vectors():
            T.buffer_store(self._sums, starts[vector(column, dots.lanes)], [at])

    def _vectors(self) -> list[tuple[Expr, int, int]]:
        """Return the index of each vector with its row and its column."""
        panel, lanes = self._panel, self._dots.lanes
        return [
            (vector(row * panel.width + column, lanes), row, column)
            for row in range(panel.rows)
            for column in range(0, panel.width, lanes)
        ]

    def add_all(
        self, packed: Any, windows: Windows, top: Expr, matrix: Expr, spec: ConvSpec
    ) -> None:
        """Add all products."""
        form, width = self._dots.form, self._panel.width
        begins = windows.begins(top, self._panel.rows)
        step_bytes = width * form.group * (1 if form.group == 4 else 2)

        def add(turn: Expr, distance: Expr) -> None:
            with T.serial(0, form.steps) as step:
                at = matrix + (turn * form.steps + step) * step_bytes
                self._step(packed, at, windows.array, begins, distance + step * form.group)

        _turns(spec, windows.stack, form.turns, add)

    def _step(self, packed: Any, at: Expr, array: Any, begins: list[Expr], distance: Expr) -> None:
        dots, lanes = self._dots, self._dots.lanes
        per_column = dots.form.group * (1 if dots.form.group == 4 else 2)
        weights = {
            column: T.Bind(dots.weights(packed, at + column * per_column))
            for column in range(0, self._panel.width, lanes)
        }
        far = tirx.Cast("int64", distance)
        inputs = {}
        for place, row, column in self._vectors():
            if row not in inputs:
                inputs[row] = T.Bind(dots.input(array, begins[row] + far))
            total = dots.add(self._sums[place], inputs[row], weights[column])
            T.buffer_store(self._sums, total, [place])

    def store(self, arrays: Arrays, numbers: Numbers, top: Expr, column: Expr) -> None:
        """Finish the sums of the columns that exist."""
        for _, row, at in self._vectors():
            used = min(self._dots.lanes, self._panel.used - at)
            if used > 0:
                total = self._sums[vector(row * self._panel.width + at, used)]
                arrays.finish(numbers, total, column + at, top + row, used)


def _turns(spec: ConvSpec, stack: Stack, turns: int, add: Callable[[Expr, Expr], None]) -> None:
    """Write the loops over the runs of a window, `add(turn, distance from the window's first)`."""
    rows, columns = spec.kernel[0], turns // spec.kernel[0]
    down, right = spec.dilation[0] * stack.row, spec.dilation[1] * spec.channels
    if turns == 1:
        add(0, 0)
        return
    with T.serial(0, rows) as row, T.serial(0, columns) as column:
        add(row * columns + column, row * down + column * right)
