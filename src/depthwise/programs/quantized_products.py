"""Writer: quantized pointwise and dense convolution as a product of whole numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from math import ceil
from typing import Any, TypeAlias

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.programs import products, quantized_words
from depthwise.programs.build import SCRATCH_BYTES, SYMBOL, TASKS, Program
from depthwise.programs.dense_sums import Windows, bring, copy_row
from depthwise.programs.direct import spread, vector
from depthwise.programs.dots import WORD_BYTES, Dots, add_words
from depthwise.programs.fetching import LINE_BYTES, fetch
from depthwise.programs.quantized import Arrays, End, Numbers
from depthwise.programs.quantized_numbers import of
from depthwise.schedule import quantized_products as rule
from depthwise.schedule import tiling
from depthwise.schedule.form import INT_BYTES, DotsForm
from depthwise.schedule.plan import Plan
from depthwise.schedule.stack import Stack
from depthwise.schedule.tiling import Panels

Expr: TypeAlias = Any


def programs(spec: ConvSpec, plan: Plan, target: Target) -> tuple[Program]:
    """Return the one program of a convolution."""
    if target.dots == "words":
        return quantized_words.programs(spec, plan, target)
    function = _function(spec, plan, target)
    return (Program({SYMBOL: function}, {SYMBOL: function}, target),)


def _function(spec: ConvSpec, plan: Plan, target: Target) -> tirx.PrimFunc:
    """Return a function of the problem's arrays, of scratch memory and of a run of tasks."""
    form, stack = rule.form(spec, plan, target), Stack.of(spec)
    runs, shares = rule.tasks(spec, plan, target)
    ends = rule.ends(spec, plan)
    dots = Dots(target, form.group, spec.dtype)
    read = -(-(stack.most_rows(ends) * stack.row + form.group) // LINE_BYTES) * LINE_BYTES
    near = read if rule.is_brought(spec, target) else 0
    wide = read if form.ordered else 0
    size = near * dots.bytes + wide * WORD_BYTES
    with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
        T.func_name("main")
        T.func_attr({TASKS: runs * shares, SCRATCH_BYTES: size})
        arrays = Arrays.declare(spec, (form.weight_shape(spec)[0], "int8"))
        x, packed = arrays["x"], arrays["weight"]
        scratch = words = None
        if size:
            scratch = T.arg("scratch", T.Buffer((size // dots.bytes,), dots.input_type))
        start, stop = T.arg("first", T.int32()), T.arg("last", T.int32())
        if scratch is not None and wide:
            words = T.decl_buffer((wide,), "int16", scratch.data, elem_offset=near // WORD_BYTES)
        numbers = Numbers.read(arrays, target)
        has_halves = T.Bind(_whole(packed, 0) > 0) if wide else None
        with T.serial(start, stop) as number:
            # It is one of them already; TVM does not know, and its divisions need the range.
            task = T.Bind(T.max(T.min(number, runs * shares - 1), 0))
            run, share = T.Bind(task // shares), T.Bind(task % shares)
            first, last = products.run_of_rows(run, runs, stack.pixels, plan.tw)
            above, below = map(T.Bind, stack.rows(first, last))
            is_new, zero = tirx.any(number == start, share == 0), numbers.zero_of_x
            windows, halves = Windows(stack, x, 0, ends), None
            if near:
                windows = Windows(stack, scratch, above, ends)
                with T.If(is_new), T.Then():
                    _bring(dots, spec, x, scratch, (above, below), zero)
            if wide:
                halves = Windows(stack, words, above, ends)
                with T.If(tirx.all(is_new, has_halves)), T.Then():
                    _bring(dots, spec, x, words, (above, below), zero)
            _product(arrays, numbers, dots, form, (windows, halves), (first, last), (share, shares))
    return builder.get()


def _bring(
    dots: Dots, spec: ConvSpec, x: Any, near: Any, rows: tuple[Expr, Expr], zero: Expr
) -> None:
    """Copy rows as they are taken; bytes may become 16-bit numbers."""
    lanes = 4 * dots.lanes // (1 if near.dtype == dots.input_type else WORD_BYTES) // dots.bytes

    def taken(value: Expr, lanes: int) -> Expr:
        return dots.taken(value, lanes).astype(of(near.dtype, lanes))

    nothing = taken(tirx.Cast(x.dtype, zero), 1)
    bring(spec, near, *rows, lanes, copy_row(spec, x, near, lanes, taken), nothing)


def _product(
    arrays: Arrays, numbers: Numbers, dots: Dots, form: DotsForm,
    windows: tuple[Windows, Windows | None], pixels: tuple[Expr, Expr], share: tuple[Expr, int],
) -> None:  # fmt: skip
    """Write the loops over panels and tiles of pixels, of windows of bytes, and of halves."""
    first, last = pixels
    part, parts = share
    whole, halves = windows
    fewest = min(tiling.runs_between(whole.ends))[0]
    for panel in form.panels:
        begin, end = panel.count * part // parts, panel.count * (part + 1) // parts
        with T.serial(begin, end) as index:
            column = T.Bind(index * panel.width + panel.start)
            start = T.Bind(index * form.bytes_of(panel) + form.start(panel))
            starts = _starts(arrays, numbers, dots, panel, column, start)
            steps = _Steps(arrays, whole.stack, form, panel, start, ceil(fewest / panel.rows))
            with T.serial(0, (last - first + (panel.rows - 1)) // panel.rows) as tile:
                top = T.Bind(T.min(first + tile * panel.rows, last - panel.rows))
                sums = _Sums(dots, panel, starts)
                sums.add_all(arrays["weight"], whole, halves, top, steps, tile)
                sums.store(arrays, numbers, top, column)


def _starts(
    arrays: Arrays, numbers: Numbers, dots: Dots, panel: Panels, column: Expr, start: Expr
) -> Any:
    """Return what the sums of a panel begin with: biases, less what the zero point adds."""
    starts = T.alloc_buffer((panel.width,), "int32", scope="local")
    zero, lanes = T.Bind(dots.zero(numbers.zero_of_x)), dots.lanes
    for at in range(0, panel.width, lanes):
        there = vector(start + at * INT_BYTES, INT_BYTES * lanes)
        own = T.reinterpret(of("int32", lanes), arrays["weight"][there])
        value = tirx.const(0, "int32") - spread(zero, lanes) * own
        T.buffer_store(starts, value, [vector(at, lanes)])
        used = min(lanes, panel.used - at)
        if arrays.spec.bias and used > 0:
            biased = starts[vector(at, used)] + arrays["bias"][vector(column + at, used)]
            T.buffer_store(starts, biased, [vector(at, used)])
    return starts


_BLOCK = 4
"""Steps of which inputs are loaded together, where instructions take one of them."""


class _Steps:
    """The steps of a panel: where the weights of each are, and how far its inputs."""

    def __init__(
        self, arrays: Arrays, stack: Stack, form: DotsForm, panel: Panels, start: Expr, tiles: int
    ) -> None:
        self._spec, self._stack, self.form = arrays.spec, stack, form
        self._matrix = T.Bind(start + form.matrix(panel))
        self._size = panel.width * form.step_bytes
        self._packed, self._next = arrays["weight"], T.Bind(start + form.bytes_of(panel))
        self._end = form.weight_shape(arrays.spec)[0] - 1
        self._lines = ceil(form.bytes_of(panel) / (LINE_BYTES * tiles * form.turns))
        if not form.ordered:
            return
        order = start + panel.width * INT_BYTES
        packed, count = arrays["weight"], form.turns * form.steps
        self._fitting = T.Bind(_whole(packed, order))
        self._distances = T.alloc_buffer((count,), "int32", scope="local")
        with T.serial(0, count) as place:
            number = T.Bind(_whole(packed, order + (place + 1) * INT_BYTES))
            T.buffer_store(self._distances, self._distance(number), [place])

    def _distance(self, number: Expr) -> Expr:
        """Return how far from the first of a window the inputs of a step are."""
        spec, form = self._spec, self.form
        turn, step = number // form.steps, number % form.steps
        columns = form.turns // spec.kernel[0]
        down, right = spec.dilation[0] * self._stack.row, spec.dilation[1] * spec.channels
        far = turn // columns * down + turn % columns * right if form.turns > 1 else 0
        return far + step * form.group

    def each(
        self, add: Callable[[Expr, Expr, bool], None], tile: Expr,
        add_block: Callable[[Expr, Expr], None] | None = None,
    ) -> None:  # fmt: skip
        """Write the loops: `add(where the weights are, distance, whether all pairs fit)`.

        Blocks of steps are added by `add_block(where the weights are, distance)`, if there is that.

        In the first steps of each turn, a tile begins to fetch its share of the next panel: the
        weights of a layer were not used since the last call, and are in no near cache.
        """
        form, count = self.form, self.form.turns * self.form.steps
        if form.ordered:
            for first, last in ((0, self._fitting), (self._fitting, count)):
                with T.serial(first, last) as place:
                    at = self._matrix + place * self._size
                    add(at, self._distances[place], first is not self._fitting)
            return
        blocks = form.steps // _BLOCK if add_block else 0
        ahead = min(blocks or form.steps, self._lines)
        with T.serial(0, form.turns) as turn:

            def step(number: Expr) -> None:
                at = self._matrix + (turn * form.steps + number) * self._size
                add(at, self._distance(turn * form.steps) + number * form.group, True)

            def block(number: Expr) -> None:
                assert add_block is not None
                at = self._matrix + (turn * form.steps + number * _BLOCK) * self._size
                add_block(at, self._distance(turn * form.steps) + number * (_BLOCK * form.group))

            one = block if blocks else step
            with T.serial(0, ahead) as number:
                share = (tile * form.turns + turn) * ahead + number
                there = self._next + share * LINE_BYTES
                fetch(self._packed, T.min(there, self._end))
                one(number)
            with T.serial(ahead, blocks or form.steps) as number:
                one(number)
            if blocks:
                with T.serial(blocks * _BLOCK, form.steps) as number:
                    step(number)


def _half_of_input(dots: Dots, words: Any, at: Expr) -> Expr:
    """Return a half of a step of a row for all lanes, as 16-bit numbers."""
    two = T.reinterpret("int32", words[vector(at, 2)])
    return T.reinterpret(of("int16", 2 * dots.lanes), spread(two, dots.lanes))


def _half_of_weights(dots: Dots, packed: Any, at: Expr) -> Expr:
    """Return a half of a step of a vector of columns, from a place in bytes on."""
    return tirx.Cast(of("int16", 2 * dots.lanes), packed[vector(at, 2 * dots.lanes)])


def _whole(packed: Any, at: Expr) -> Expr:
    """Return a number of 32 bits that lies in an array of bytes."""
    return T.reinterpret("int32", packed[vector(at, INT_BYTES)])


class _Sums:
    """The sums of a tile, in registers."""

    def __init__(self, dots: Dots, panel: Panels, starts: Any) -> None:
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
        self, packed: Any, whole: Windows, halves: Windows | None, top: Expr, steps: _Steps,
        tile: Expr,
    ) -> None:  # fmt: skip
        """Add all products, in this tile of the panel."""
        dots, rows = self._dots, self._panel.rows
        columns = range(0, self._panel.width, dots.lanes)
        begins = whole.begins(top, rows)
        wide = halves.begins(top, rows) if halves else []
        step, add_half = steps.form.step_bytes, partial(add_words, lanes=dots.lanes)

        def add(at: Expr, distance: Expr, fits: bool) -> None:
            far = T.Bind(tirx.Cast("int64", distance))
            if fits:
                weights = [dots.weights(packed, at + c * step) for c in columns]
                inputs = (dots.input(whole.array, begin + far) for begin in begins)
                self._add(inputs, weights, dots.add)
                return
            assert halves is not None
            for half in range(2):
                own = at + half * WORD_BYTES * self._panel.width
                weights = [_half_of_weights(dots, packed, own + c * WORD_BYTES) for c in columns]
                inputs = (
                    _half_of_input(dots, halves.array, begin + far + half * WORD_BYTES)
                    for begin in wide
                )
                self._add(inputs, weights, add_half)

        def add_block(at: Expr, distance: Expr) -> None:
            far, kind = T.Bind(tirx.Cast("int64", distance)), of("int32", _BLOCK)
            read = [whole.array[vector(begin + far, _BLOCK * dots.group)] for begin in begins]
            inputs = [T.Bind(T.reinterpret(kind, each)) for each in read]
            size = self._panel.width * step
            for number in range(_BLOCK):
                weights = [dots.weights(packed, at + number * size + c * step) for c in columns]
                spread_out = (tirx.Shuffle([each], [number] * dots.lanes) for each in inputs)
                self._add(spread_out, weights, dots.add)

        steps.each(add, tile, add_block if rule.in_blocks(dots.target) else None)

    def _add(
        self, inputs: Iterable[Expr], weights: list[Expr], add: Callable[[Expr, Expr, Expr], Expr]
    ) -> None:
        """Add a step, or a half of one, row by row."""
        weights = [T.Bind(each) for each in weights]
        columns = len(weights)
        for row, x in enumerate(inputs):
            bound = T.Bind(x)
            for column in range(columns):
                number = row * columns + column
                place = vector(number * self._dots.lanes, self._dots.lanes)
                T.buffer_store(self._sums, add(self._sums[place], bound, weights[column]), [place])

    def store(self, arrays: Arrays, numbers: Numbers, top: Expr, column: Expr) -> None:
        """Finish the sums of the columns that exist."""
        ends = []
        for _, row, at in self._vectors():
            used = min(self._dots.lanes, self._panel.used - at)
            if used > 0:
                total = self._sums[vector(row * self._panel.width + at, used)]
                goes_on = at > 0 and self._dots.target.isa == "neon"
                ends.append(End(total, column + at, top + row, used, goes_on))
        arrays.finish_all(numbers, ends, narrow=self._dots.of_bytes)
