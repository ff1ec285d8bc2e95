"""Writer: the same products where two 16-bit numbers are multiplied and added at a time (SMLAD).

There are registers for few sums and no vectors, and memory is short.  So a task goes through its
pixels a few at a time: their windows are copied to scratch memory, as 16-bit numbers side by side,
and multiplied with all weights.  Weights stay bytes, of which one instruction takes the even ones
and one the odd ones of four; so the middle ones of four have changed places in the form.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.programs import products, smlad
from depthwise.programs.build import SCRATCH_BYTES, SYMBOL, TASKS, Program
from depthwise.programs.define import source
from depthwise.programs.direct import vector
from depthwise.programs.dots import add_words
from depthwise.programs.quantized import Arrays, End, Numbers
from depthwise.schedule import quantized_products as rule
from depthwise.schedule.form import INT_BYTES, DotsForm
from depthwise.schedule.plan import Plan
from depthwise.schedule.stack import Stack
from depthwise.schedule.tiling import Panels

Expr: TypeAlias = Any

_HALVES = 2
"""Of four bytes, as pairs of 16-bit numbers."""


def programs(spec: ConvSpec, plan: Plan, target: Target) -> tuple[Program]:
    """Return the one program of a convolution."""
    function = _function(spec, plan, target)
    return (Program({SYMBOL: function}, {SYMBOL: function}, target),)


def _function(spec: ConvSpec, plan: Plan, target: Target) -> tirx.PrimFunc:
    """Return a function of the problem's arrays, of scratch memory and of a run of tasks."""
    form, stack = rule.form(spec, plan, target), Stack.of(spec)
    runs, _ = rule.tasks(spec, plan, target)
    rows, window = form.panels[0].rows, form.steps * _HALVES
    size = rows * window
    with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
        T.func_name("main")
        T.func_attr({TASKS: runs, SCRATCH_BYTES: size * INT_BYTES})
        arrays = Arrays.declare(spec, (form.weight_shape(spec)[0], "int32"))
        scratch = T.arg("scratch", T.Buffer((size,), "int32"))
        start, stop = T.arg("first", T.int32()), T.arg("last", T.int32())
        words = T.decl_buffer((size * _HALVES,), "int16", scratch.data)
        numbers = Numbers.read(arrays, target)
        with T.serial(start, stop) as number:
            task = T.Bind(T.max(T.min(number, runs - 1), 0))
            first, last = products.run_of_rows(task, runs, stack.pixels, plan.tw)
            with T.serial(0, (last - first + (rows - 1)) // rows) as tile:
                top = T.Bind(T.min(first + tile * rows, last - rows))
                with T.serial(0, rows) as row:
                    _Window(arrays, words, row, rows).bring(top + row, numbers)
                for panel in form.panels:
                    with T.serial(0, panel.count) as index:
                        sums = _Sums(arrays, numbers, form, panel, index)
                        sums.add_all(scratch)
                        sums.store(top)
    return builder.get()


class _Window:
    """The window of a pixel, in scratch memory, four elements of each row of a tile in turn."""

    def __init__(self, arrays: Arrays, words: Any, row: Expr, rows: int) -> None:
        self._spec, self._x, self._words = arrays.spec, arrays["x"], words
        self._row, self._rows = row, rows

    def _place(self, at: Expr) -> Expr:
        """Return where an element of the window lies."""
        return (at // 4 * self._rows + self._row) * 4 + at % 4

    def bring(self, pixel: Expr, numbers: Numbers) -> None:
        """Copy it, tap by tap, or row by row where the taps of a row lie side by side."""
        spec = self._spec
        rows, columns = spec.out_height, spec.out_width
        line = T.Bind(pixel // columns)
        image, row = T.Bind(line // rows * spec.height), line % rows * spec.stride[0]
        column = T.Bind(pixel % columns * spec.stride[1])
        taps, joined = spec.kernel[1], self._are_joined
        with T.serial(0, spec.kernel[0]) as tap:
            at, above = source(
                spec.padding_mode, row + tap * spec.dilation[0], spec.height, spec.padding[0]
            )
            begin = T.Bind((image + at) * spec.width)
            to = T.Bind(tap * (taps * spec.channels))
            if joined:
                self._whole_row(begin, column, above, to, numbers)
            else:
                self._taps(begin, column, above, to, numbers)

    @property
    def _are_joined(self) -> bool:
        """Whether the taps of a row are copied in one go, but for those at the border."""
        spec = self._spec
        one = spec.kernel[1] == 1 or spec.dilation[1] == 1
        return one and spec.pitch("x") == spec.channels and spec.padding_mode == "zeros"

    def _whole_row(
        self, begin: Expr, column: Expr, above: list[Expr], to: Expr, numbers: Numbers
    ) -> None:
        spec = self._spec
        first = column - spec.padding[1][0]
        inside = [*above]
        if spec.padding[1] != (0, 0):
            inside += [first >= 0, first + spec.kernel[1] <= spec.width]
        if not inside:
            self._copy((begin + first) * spec.channels, to, spec.kernel[1] * spec.channels)
            return
        with T.If(tirx.all(*inside)):
            with T.Then():
                self._copy((begin + first) * spec.channels, to, spec.kernel[1] * spec.channels)
            with T.Else():
                self._taps(begin, column, above, to, numbers)

    def _taps(
        self, begin: Expr, column: Expr, above: list[Expr], to: Expr, numbers: Numbers
    ) -> None:
        spec, channels = self._spec, self._spec.channels
        with T.serial(0, spec.kernel[1]) as tap:
            at, beside = source(
                spec.padding_mode, column + tap * spec.dilation[1], spec.width, spec.padding[1]
            )
            there = T.Bind(to + tap * channels)
            inside = [*above, *beside]
            if not inside:
                self._copy((begin + at) * spec.pitch("x"), there, channels)
                return
            with T.If(tirx.all(*inside)):
                with T.Then():
                    self._copy((begin + at) * spec.pitch("x"), there, channels)
                with T.Else(), T.serial(0, channels) as channel:
                    nothing = tirx.Cast("int16", numbers.zero_of_x)
                    T.buffer_store(self._words, nothing, [self._place(there + channel)])

    def _copy(self, begin: Expr, to: Expr, count: int) -> None:
        """Copy neighbours, four at a time where windows hold whole fours of them."""
        begin, whole = T.Bind(begin), count // 4 if self._spec.channels % 4 == 0 else 0
        with T.serial(0, whole) as four:
            even, odd = halves(self._x[vector(begin + four * 4, 4)], self._spec.dtype)
            low = (even & LOW) | (odd << 16)
            high = (odd & ~LOW) | ((even >> 16) & LOW)
            first = T.Bind(self._place(to + four * 4))
            for number, word in enumerate((low, high)):
                place = vector(first + number * 2, 2)
                T.buffer_store(self._words, T.reinterpret("int16x2", word), [place])
        with T.serial(whole * 4, count) as at:
            value = tirx.Cast("int16", self._x[begin + at])
            T.buffer_store(self._words, value, [self._place(to + at)])


LOW = tirx.const(0xFFFF, "int32")


def halves(elements: Expr, dtype: str) -> tuple[Expr, Expr]:
    """Return the even and the odd ones of four bytes as pairs of 16-bit numbers."""
    word = T.Bind(T.reinterpret("int32", elements))
    bits = T.reinterpret("uint32", word)
    turned = T.reinterpret("int32", (bits >> 8) | (bits << 24))
    name = f"llvm.arm.{'s' if dtype == 'int8' else 'u'}xtb16"
    even, odd = (T.Bind(T.call_llvm_pure_intrin("int32", name, each)) for each in (word, turned))
    return even, odd


class _Sums:
    """The sums of a tile, in registers."""

    def __init__(
        self, arrays: Arrays, numbers: Numbers, form: DotsForm, panel: Panels, index: Expr
    ) -> None:
        self._arrays, self._numbers, self._form, self._panel = arrays, numbers, form, panel
        self._packed = arrays["weight"]
        size, first = form.bytes_of(panel) // INT_BYTES, form.start(panel) // INT_BYTES
        self._start = T.Bind(index * size + first)
        self._column = T.Bind(index * panel.width + panel.start)
        self._sums = T.alloc_buffer((panel.rows * panel.width,), "int32", scope="local")
        for column in range(panel.width):
            first = T.Bind(self._first(column))
            for row in range(panel.rows):
                T.buffer_store(self._sums, first, [row * panel.width + column])

    def _first(self, column: int) -> Expr:
        """Return what sums begin with: the bias, less what the zero point adds."""
        own = self._packed[self._start + column] * self._numbers.zero_of_x
        if self._arrays.spec.bias and column < self._panel.used:
            return self._arrays["bias"][self._column + column] - own
        return tirx.const(0, "int32") - own

    def add_all(self, scratch: Any) -> None:
        """Add all products."""
        form, panel = self._form, self._panel
        matrix = T.Bind(self._start + form.matrix(panel) // INT_BYTES)
        if (panel.rows, panel.width) == (smlad.ROWS, smlad.COLUMNS):
            x, weights = T.address_of(scratch[0]), T.address_of(self._packed[matrix])
            smlad.add_tile(self._sums, x, weights, form.steps, scratch.data)
            return
        with T.serial(0, form.steps) as step:
            weights = []
            for column in range(panel.width):
                at = matrix + step * panel.width + column
                weights.append(halves(self._packed[at], "int8"))
            for row in range(panel.rows):
                for half in range(_HALVES):
                    x = T.Bind(scratch[(step * panel.rows + row) * _HALVES + half])
                    for column in range(panel.width):
                        place = [row * panel.width + column]
                        total = add_words(self._sums[place[0]], x, weights[column][half], 1)
                        T.buffer_store(self._sums, total, place)

    def store(self, top: Expr) -> None:
        """Finish the sums of the columns that exist."""
        panel = self._panel
        ends = [
            End(self._sums[row * panel.width + at], self._column + at, top + row, 1)
            for row in range(panel.rows)
            for at in range(panel.used)
        ]
        self._arrays.finish_all(self._numbers, ends, narrow=False)
