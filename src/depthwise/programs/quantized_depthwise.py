"""Writer: quantized depthwise convolution from lines in which rows are woven."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.programs.build import SCRATCH_BYTES, SYMBOL, TASKS, Program
from depthwise.programs.define import source
from depthwise.programs.dense_sums import each_vector
from depthwise.programs.direct import spread, vector
from depthwise.programs.dots import Dots
from depthwise.programs.quantized import Arrays, End, Numbers
from depthwise.programs.quantized_numbers import of
from depthwise.programs.quantized_words import LOW, halves
from depthwise.programs.smlad_rows import Row
from depthwise.schedule import quantized_depthwise as rule
from depthwise.schedule.form import INT_BYTES, TapsForm
from depthwise.schedule.plan import Plan
from depthwise.schedule.quantized_depthwise import Weaving

Expr: TypeAlias = Any

_UNROLLED_STEPS = 400
"""Of a tile; more take seconds to compile."""


def programs(spec: ConvSpec, plan: Plan, target: Target) -> tuple[Program]:
    """Return the one program of a convolution."""
    function = _function(spec, plan, target)
    return (Program({SYMBOL: function}, {SYMBOL: function}, target),)


def _function(spec: ConvSpec, plan: Plan, target: Target) -> tirx.PrimFunc:
    """Return a function of the problem's arrays, of scratch memory and of a run of tasks."""
    weaving, form = Weaving(spec, plan, target), rule.form(spec, plan, target)
    dots = Dots(target, weaving.group, spec.dtype)
    near = (weaving.kept_lines * weaving.line + weaving.lanes) * weaving.group
    with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
        T.func_name("main")
        T.func_attr({TASKS: weaving.tasks, SCRATCH_BYTES: near * dots.bytes})
        arrays = Arrays.declare(spec, (form.weight_shape(spec)[0], "int8"))
        scratch = T.arg("scratch", T.Buffer((near,), dots.input_type))
        start, stop = T.arg("first", T.int32()), T.arg("last", T.int32())
        numbers, nothing = Numbers.read(arrays, target), T.Bind(T.max(0 - start, 0))
        with T.serial(start, stop) as number:
            # It is one of them already; TVM does not know, and its divisions need the range.
            task = T.Bind(T.max(T.min(number, weaving.tasks - 1), 0))
            place, rest = T.Bind(task % weaving.strip), T.Bind(task // weaving.strip)
            block, rest = T.Bind(rest % weaving.blocks), T.Bind(rest // weaving.blocks)
            strip, image = T.Bind(rest % weaving.strips), T.Bind(rest // weaving.strips)
            panels = _cut(weaving.panels, block, weaving.blocks)
            lines = Lines.of(weaving, dots, arrays["x"], scratch, numbers, image, panels, nothing)
            tile = T.Bind(strip * weaving.strip + place)
            with _if(tile < weaving.tiles, weaving.tiles % weaving.strip != 0):
                lines.bring(tile, tirx.any(number == start, place == 0))
                rows = Rows(weaving, form, dots, arrays, numbers, lines)
                rows.tiles(image, tile, panels)
    return builder.get()


@contextmanager
def _if(condition: Expr, is_open: bool) -> Iterator[None]:
    """Write what holds under a condition, which is left out where it is always true."""
    if not is_open:
        yield
        return
    with T.If(condition), T.Then():
        yield


def _cut(count: int, part: Expr, parts: int) -> tuple[Expr, Expr]:
    return T.Bind(part * count // parts), T.Bind((part + 1) * count // parts)


@dataclass(frozen=True)
class Lines:
    """Rows of a block of channels of an image, woven, in scratch memory."""

    weaving: Weaving
    dots: Dots
    x: Any
    array: Any
    zero: Expr
    image: Expr
    channel: Expr
    """The first output channel."""
    nothing: Expr
    """Zero, which the compiler does not know."""

    @classmethod
    def of(
        cls, weaving: Weaving, dots: Dots, x: Any, scratch: Any, numbers: Numbers,
        image: Expr, panels: tuple[Expr, Expr], nothing: Expr,
    ) -> Lines:  # fmt: skip
        """Return the lines of the channels of some panels."""
        beyond = weaving.spec.out_channels - weaving.channels
        channel = T.Bind(T.min(panels[0] * weaving.lanes, beyond))
        return cls(weaving, dots, x, scratch, numbers.zero_of_x, image, channel, nothing)

    def slot(self, tile: Expr, step: Expr) -> Expr:
        """Return where the line of a step of a line of tiles begins, in elements."""
        weaving = self.weaving
        if not weaving.spacing:
            return step * weaving.line
        line = tile * weaving.new_lines + step * weaving.lines_apart
        return line % weaving.kept_lines * weaving.line

    def bring(self, tile: Expr, is_first: Expr) -> None:
        """Weave the lines that a line of tiles reads and the one before it did not."""
        weaving = self.weaving
        known = 0
        if weaving.spacing:
            known = T.Bind(tirx.Select(is_first, 0, weaving.kept_lines - weaving.new_lines))
        apart = weaving.spacing or weaving.step_rows
        with T.serial(0, weaving.kept_lines - known) as number:
            line = T.Bind(number + known)
            slot = line
            if weaving.spacing:
                slot = (tile * weaving.new_lines + line) % weaving.kept_lines
            to = T.Bind(slot * weaving.line)
            self._weave(T.Bind(tile * weaving.advance + line * apart), to)

    def _weave(self, row: Expr, to: Expr) -> None:
        """Weave the rows of a step from a padded one on."""
        weaving, spec, axis = self.weaving, self.weaving.spec, self.weaving.rows
        last = axis.inputs + sum(weaving.above) - 1
        begins, conditions = [], []
        for number in range(weaving.group):
            padded = T.Bind(T.min(row + number * axis.dilation, last))
            at, inside = source(spec.padding_mode, padded, axis.inputs, weaving.above)
            at = tirx.max(tirx.min(at, axis.inputs - 1), 0) if inside else at
            begins.append(T.Bind(self._image + at * self._strides[0]))
            conditions.append(T.Bind(tirx.all(*inside)) if inside else None)
        before, behind = weaving.beside
        begin = T.Bind(to + before * weaving.channels)
        known = [each for each in conditions if each is not None]
        if known:
            with T.If(tirx.all(*known)):
                with T.Then():
                    self._columns(begins, [None] * weaving.group, begin)
                with T.Else():
                    self._columns(begins, conditions, begin)
        else:
            self._columns(begins, conditions, begin)
        self._pad(to, 0, before)
        self._pad(to, before + weaving.columns.inputs, behind)

    @property
    def _image(self) -> Expr:
        spec = self.weaving.spec
        return self.image * (spec.height * spec.width * spec.pitch("x"))

    @property
    def _strides(self) -> tuple[int, int]:
        """Elements of x from row to row, and from column to column."""
        spec = self.weaving.spec
        strides = spec.width * spec.pitch("x"), spec.pitch("x")
        return strides[::-1] if self.weaving.turned else strides

    def _columns(self, begins: list[Expr], conditions: list[Expr | None], to: Expr) -> None:
        """Weave rows column by column, or as one run where columns lie side by side."""
        weaving = self.weaving
        spec, count, pixels = weaving.spec, weaving.channels, weaving.columns.inputs
        if count == self._strides[1] == spec.out_channels:
            count, pixels = count * pixels, 1
        lanes = self.dots.lanes * (2 if weaving.group == 1 else 1)
        many = count // self._most_woven * self._most_woven if self._most_woven else 0
        with T.serial(0, pixels) as pixel:
            if spec.multiplier > 1:
                with T.serial(0, count) as each:
                    channel = (self.channel + each) // spec.multiplier
                    self._weave_run(begins, conditions, pixel, channel, to + pixel * count + each)
                return
            for first, end, most in ((0, many, self._most_woven), (many, count, lanes)):
                for start, run in each_vector(end - first, most) if end > first else ():
                    at = start + first
                    there = to + pixel * count + at
                    self._weave_run(begins, conditions, pixel, self.channel + at, there, run)

    @property
    def _most_woven(self) -> int:
        """Elements of a row that are woven with those of others in one go; 0: no more than sums."""
        if self._of_words:
            return 4
        return _VECTOR_BYTES if self._on_neon else 0

    @property
    def _on_neon(self) -> bool:
        return self.dots.target.isa == "neon" and self.weaving.group == 4

    @property
    def _of_words(self) -> bool:
        return self.dots.target.dots == "words"

    def _weave_run(
        self, begins: list[Expr], conditions: list[Expr | None], pixel: Expr, channel: Expr,
        to: Expr, lanes: int = 1,
    ) -> None:  # fmt: skip
        dots, values = self.dots, []
        fours = self._of_words and lanes == 4
        for begin, inside in zip(begins, conditions, strict=True):
            at = vector(begin + pixel * self._strides[1] + channel, lanes)
            value = self.x[at]
            if fours:
                value = T.reinterpret("int32", value)
            if inside is not None and fours:
                nothing = (self.zero & 0xFF) * 0x01010101
                value = tirx.Select(inside, value, nothing)
            elif inside is not None:
                nothing = spread(tirx.Cast(dots.dtype, self.zero), lanes)
                value = tirx.Select(spread(inside, lanes), value, nothing)
            values.append(T.Bind(value))
        count = lanes * len(values)
        if self._on_neon and lanes == _VECTOR_BYTES:
            for number, some in enumerate(_woven_whole(values, dots.dtype)):
                at = to * 4 + number * lanes
                T.buffer_store(self.array, dots.taken(some, lanes), [vector(at, lanes)])
            return
        if fours:
            for number, pair in enumerate(_pairs_of_four(values, dots.dtype)):
                T.buffer_store(self.array, pair, [vector((to + number) * 2, 2)])
            return
        if len(values) == 2:
            taken = paired(values, lanes)
        else:
            taken = dots.taken(woven(values, dots.dtype, lanes, self.nothing), count)
        T.buffer_store(self.array, taken, [vector(to * len(values), count)])

    def _pad(self, to: Expr, first: int, count: int) -> None:
        """Write the padding of a line that has its columns."""
        weaving, array = self.weaving, self.array
        pixel = weaving.channels * weaving.group
        lanes = 4 * self.dots.lanes // self.dots.bytes
        if weaving.spec.padding_mode == "zeros":
            value = T.Bind(self.dots.taken(tirx.Cast(self.dots.dtype, self.zero), 1))
            for at, run in each_vector(count * pixel, lanes):
                place = vector((to + first * weaving.channels) * weaving.group + at, run)
                T.buffer_store(array, spread(value, run), [place])
            return
        begin = T.Bind(to * weaving.group)
        with T.serial(0, count) as pad:
            mode, inputs = weaving.spec.padding_mode, weaving.columns.inputs
            column, _ = source(mode, first + pad, inputs, weaving.beside)
            source_pixel = T.Bind(begin + (weaving.beside[0] + column) * pixel)
            for at, run in each_vector(pixel, lanes):
                value = array[vector(source_pixel + at, run)]
                T.buffer_store(array, value, [vector(begin + (first + pad) * pixel + at, run)])


_VECTOR_BYTES = 16
"""Of NEON."""


def _woven_whole(values: list[Expr], dtype: str) -> list[Expr]:
    """Return the elements of four vectors of NEON in turn: those of two, and pairs of these."""

    def zipped(one: Expr, other: Expr, lanes: int) -> list[Expr]:
        order = [lane + number * lanes for lane in range(lanes) for number in range(2)]
        return [T.Bind(tirx.Shuffle([one, other], order[at : at + lanes])) for at in (0, lanes)]

    rows = (values[:2], values[2:])
    first, second = (zipped(one, other, _VECTOR_BYTES) for one, other in rows)
    found = []
    for one, other in zip(first, second, strict=True):
        low, high = (T.reinterpret("int16x8", each) for each in (one, other))
        found += zipped(low, high, _VECTOR_BYTES // 2)
    return [T.reinterpret(of(dtype, _VECTOR_BYTES), each) for each in found]


def _pairs_of_four(values: list[Expr], dtype: str) -> list[Expr]:
    """Return the elements of two vectors of four bytes in turn, as pairs of 16-bit numbers."""
    first, second = (halves(each, dtype) for each in values)
    pairs = []
    for low, high in zip(first, second, strict=True):
        pairs += [(low & LOW) | (high << 16), (high & ~LOW) | ((low >> 16) & LOW)]
    return [T.reinterpret("int16x2", pairs[number]) for number in (0, 2, 1, 3)]


def paired(values: list[Expr], lanes: int) -> Expr:
    """Return the elements of two vectors of bytes in turn, as 16-bit numbers.

    Each pair is made where it lies, in 32 bits: other orders move bytes from one half of a vector
    to the other.
    """
    first, second = (tirx.Cast(of("int32", lanes), each) for each in values)
    low, high = (spread(tirx.const(each), lanes) for each in (0xFFFF, 16))
    return T.reinterpret(of("int16", 2 * lanes), (first & low) | (second << high))


_ORDER_BYTES = {8: "llvm.x86.avx2.pshuf.b", 16: "llvm.x86.avx512.pshuf.b.512"}
"""The instruction by how many numbers of 32 bits a vector has."""


def woven(values: list[Expr], dtype: str, lanes: int, nothing: Expr) -> Expr:
    """Return the elements of vectors in turn: the first of each, the second of each, ...

    Whole vectors of bytes are woven in blocks of four, and then byte by byte in each block, in an
    order that LLVM does not know: from one that it does it makes three times as many instructions.
    """
    count = len(values)
    if count == 1:
        return values[0]
    if count != 4 or lanes not in _ORDER_BYTES:
        order = [number * lanes + lane for lane in range(lanes) for number in range(count)]
        return tirx.Shuffle(values, order)
    size, blocks = lanes * count, lanes // 4
    words = T.reinterpret(of("int32", lanes), tirx.Shuffle(values, list(range(size))))
    apart = [number * blocks + block for block in range(blocks) for number in range(count)]
    bytes_apart = T.reinterpret(of("int8", size), tirx.Shuffle([words], apart))
    place = tirx.Ramp(tirx.Cast("int8", nothing), tirx.const(1, "int8"), size)
    three, two = (spread(tirx.const(value, "int8"), size) for value in (3, 2))
    order = ((place >> two) & three) | ((place & three) << two)
    kind = of("int8", size)
    return T.reinterpret(
        of(dtype, size),
        T.call_llvm_pure_intrin(kind, _ORDER_BYTES[lanes], bytes_apart, order),
    )


@dataclass(frozen=True)
class Rows:
    """What a line of tiles computes."""

    weaving: Weaving
    form: TapsForm
    dots: Dots
    arrays: Arrays
    numbers: Numbers
    lines: Lines

    def tiles(self, image: Expr, tile: Expr, panels: tuple[Expr, Expr]) -> None:
        """Write the loops over columns and channels."""
        weaving, (first, last) = self.weaving, panels
        if weaving.in_rows:
            self._whole_rows(image, tile, panels)
            return
        vectors, width = weaving.vectors, weaving.width
        slots = None
        if not self._rolled:
            slots = [T.Bind(self.lines.slot(tile, step)) for step in range(weaving.steps)]
        count = -(-weaving.columns.outputs // width)
        with T.serial(0, count) as number:
            column = T.Bind(T.min(number * width, weaving.columns.outputs - width))
            with T.serial(0, (last - first + (vectors - 1)) // vectors) as turn:
                panel = T.Bind(T.min(first + turn * vectors, last - vectors))
                sums = _Sums(self, [_Panel.of(self, panel + each) for each in range(vectors)])
                sums.add_all(tile, column, slots)
                sums.store(image, tile, column)

    def _whole_rows(self, image: Expr, tile: Expr, panels: tuple[Expr, Expr]) -> None:
        """Write the loops over channels and rows."""
        weaving, spec, arrays = self.weaving, self.weaving.spec, self.arrays
        assert self.numbers.own is not None
        zero, least, most = self.numbers.own
        bounds = [tirx.Cast("float32", bound - zero) for bound in (least, most)]
        ends = [int(end) for end in spec.element.range]
        slots = [T.Bind(self.lines.slot(tile, step)) for step in range(weaving.steps)]
        rows = T.min(weaving.height, weaving.rows.outputs - tile * weaving.height)
        with T.serial(*panels) as number:
            panel = _Panel.of(self, number)
            floats = [arrays["scale"][panel.channel], T.reinterpret("float32", panel.starts[0])]
            lines = [T.address_of(self.lines.array[(slot + panel.place) * 2]) for slot in slots]
            with T.serial(0, rows) as row:
                pixel = (image * spec.out_height + tile * weaving.height + row) * spec.out_width
                address = {
                    "weights": T.address_of(arrays["weight"][panel.weights + row * 4]),
                    "first": lines[0], "second": lines[1],
                    "y": T.address_of(arrays["y"][pixel * spec.pitch("y") + panel.channel]),
                }  # fmt: skip
                with T.If(tirx.all(least == ends[0], most == ends[1])):
                    for block, whole in ((T.Then, True), (T.Else, False)):
                        with block():
                            self._row(whole).write(
                                self.lines.array.data, address, [*floats, *bounds], zero
                            )

    def _row(self, whole: bool) -> Row:
        weaving, spec = self.weaving, self.weaving.spec
        return Row(
            weaving.columns.outputs, weaving.columns.stride, weaving.channels * 4, spec.pitch("y"),
            weaving.height * 4, spec.dtype, whole,
        )  # fmt: skip

    @property
    def _rolled(self) -> bool:
        """Whether steps are a loop."""
        weaving = self.weaving
        tile = weaving.height * weaving.width * weaving.vectors
        return weaving.steps * tile > _UNROLLED_STEPS

    @contextmanager
    def steps(self) -> Iterator[Any]:
        """Yield the steps, or one in a loop over them."""
        if not self._rolled:
            yield range(self.weaving.steps)
            return
        with T.serial(0, self.weaving.steps) as step:
            yield [step]

    def columns(self) -> Any:
        """Return the loop over columns of taps.

        (Unrolled, LLVM would add in another order, for which there are not registers enough.)
        """
        return T.serial(0, T.Bind(self.weaving.columns.taps + self.lines.nothing))


@dataclass(frozen=True)
class _Panel:
    """A vector of output channels."""

    channel: Expr
    """The first."""
    place: Expr
    """Its place in a pixel of a line."""
    weights: Expr
    """Where its weights begin, in bytes."""
    starts: Any
    """What its sums begin with: biases, less what the zero point adds."""

    @classmethod
    def of(cls, rows: Rows, panel: Expr) -> _Panel:
        weaving, dots, arrays = rows.weaving, rows.dots, rows.arrays
        lanes, channels = dots.lanes, weaving.spec.out_channels
        channel = T.Bind(T.min(panel * lanes, max(0, channels - lanes)))
        begin = T.Bind(panel * rows.form.vector_bytes(weaving.spec))
        starts = T.alloc_buffer((lanes,), "int32", scope="local")
        zero = spread(dots.zero(rows.numbers.zero_of_x), lanes)
        value = tirx.const(0, "int32") - zero * dots.sums(arrays["weight"], begin)
        T.buffer_store(starts, value, [vector(0, lanes)])
        if weaving.spec.bias:
            used = min(lanes, channels)
            biased = starts[vector(0, used)] + arrays["bias"][vector(channel, used)]
            T.buffer_store(starts, biased, [vector(0, used)])
        place = T.Bind(channel - rows.lines.channel)
        return cls(channel, place, T.Bind(begin + lanes * INT_BYTES), starts)


class _Sums:
    """The sums of a tile, in registers."""

    def __init__(self, rows: Rows, panels: list[_Panel]) -> None:
        self._rows, self._panels, lanes = rows, panels, rows.dots.lanes
        weaving = rows.weaving
        size = weaving.height * weaving.width * len(panels) * lanes
        self._sums = T.alloc_buffer((size,), "int32", scope="local")
        for row in range(weaving.height):
            for column in range(weaving.width):
                for number, panel in enumerate(panels):
                    value = panel.starts[vector(0, lanes)]
                    T.buffer_store(self._sums, value, [self._place(row, column, number)])

    def _place(self, row: int, column: int, panel: int, lanes: int | None = None) -> Expr:
        weaving, each = self._rows.weaving, self._rows.dots.lanes
        number = (row * weaving.width + column) * len(self._panels) + panel
        return vector(number * each, each if lanes is None else lanes)

    def add_all(self, tile: Expr, column: Expr, slots: list[Expr] | None) -> None:
        """Add all products."""
        rows = self._rows
        with rows.columns() as tap, rows.steps() as steps:
            for step in steps:
                slot = T.Bind(rows.lines.slot(tile, step)) if slots is None else slots[step]
                taps = None if slots is None else rows.weaving.taps[step]
                self._step(step, taps, tap, slot, column)

    def _step(
        self, step: Expr, taps: tuple[tuple[int, ...], ...] | None, tap: Expr, slot: Expr,
        column: Expr,
    ) -> None:  # fmt: skip
        rows, weaving, dots = self._rows, self._rows.weaving, self._rows.dots
        axis, packed = weaving.columns, rows.arrays["weight"]
        used = [
            row for row in range(weaving.height) if taps is None or any(at >= 0 for at in taps[row])
        ]
        for number, panel in enumerate(self._panels):
            first = (step * axis.taps + tap) * weaving.height
            vector_bytes = dots.lanes * dots.group * dots.bytes
            weights = {
                row: T.Bind(dots.weights(packed, panel.weights + (first + row) * vector_bytes))
                for row in used
            }
            for target in range(weaving.width):
                pixel = (column + target) * axis.stride + tap * axis.dilation
                at = (slot + pixel * weaving.channels + panel.place) * dots.group
                x = T.Bind(dots.inputs(rows.lines.array, at))
                for row in used:
                    place = self._place(row, target, number)
                    T.buffer_store(
                        self._sums, dots.add(self._sums[place], x, weights[row]), [place]
                    )

    def store(self, image: Expr, tile: Expr, column: Expr) -> None:
        """Finish the sums of the rows that exist."""
        weaving = self._rows.weaving
        outputs, height = weaving.rows.outputs, weaving.height
        for each in range(height):
            row = T.Bind(tile * height + each)
            with _if(row < outputs, outputs % height != 0):
                self._store_row(image, row, each, column)

    def _store_row(self, image: Expr, row: Expr, each: int, column: Expr) -> None:
        rows, weaving = self._rows, self._rows.weaving
        spec = weaving.spec
        used = min(rows.dots.lanes, spec.out_channels)
        ends = []
        for target in range(weaving.width):
            i, j = row, column + target
            if weaving.turned:
                i, j = j, i
            pixel = T.Bind((image * spec.out_height + i) * spec.out_width + j)
            for number, panel in enumerate(self._panels):
                total = self._sums[self._place(each, target, number, used)]
                goes_on = number > 0 and spec.out_channels % used == 0
                ends.append(End(total, panel.channel, pixel, used, goes_on))
        rows.arrays.finish_all(rows.numbers, ends, narrow=rows.dots.group > 1)
