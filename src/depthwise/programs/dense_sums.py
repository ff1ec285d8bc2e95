"""Windows of channels-last images as the rows of a product, written with its schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.problem.spec import ConvSpec
from depthwise.problem.vocabulary import Pair
from depthwise.programs import products
from depthwise.programs.build import SCRATCH_BYTES, TASKS
from depthwise.programs.define import source
from depthwise.programs.direct import spread, vector
from depthwise.programs.pixel_runs import vectors
from depthwise.schedule import tiling
from depthwise.schedule.stack import Stack
from depthwise.schedule.tiling import Panels, packed_columns

Expr: TypeAlias = Any


def function(
    spec: ConvSpec, panels: tuple[Panels, ...], tile: int, tasks: Pair, lanes: int
) -> tirx.PrimFunc:
    """Return the program of a convolution in one group.

    Args:
        spec: the convolution.
        panels: the columns of the product, and the tiles of their rows.
        tile: pixels that runs of pixels are multiples of.
        tasks: into how many runs the pixels, and the panels, are cut.
        lanes: elements of a vector.
    """
    runs, shares = tasks
    stack = Stack.of(spec)
    ends = tiling.ends(stack.pixels, tile, runs)
    near = stack.most_rows(ends) * stack.row if _is_brought(spec) else 0
    with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
        T.func_name("main")
        T.func_attr({TASKS: runs * shares, SCRATCH_BYTES: near * spec.element.computed.bytes})
        operands = products.Operands.declare(spec, packed_columns(panels))
        scratch = T.arg("scratch", T.Buffer((near,), spec.element.tvm)) if near else None
        start, stop = T.arg("first", T.int32()), T.arg("last", T.int32())
        with T.serial(start, stop) as number:
            # It is one of them already; TVM does not know, and its divisions need the range.
            task = T.Bind(T.max(T.min(number, runs * shares - 1), 0))
            run, share = T.Bind(task // shares), T.Bind(task % shares)
            first, last = products.run_of_rows(run, runs, stack.pixels, tile)
            array, above = operands.x, 0
            if near:
                array, (above, below) = scratch, map(T.Bind, stack.rows(first, last))
                with T.If(tirx.any(number == start, share == 0)), T.Then():
                    copy = copy_row(spec, operands.x, scratch, lanes)
                    bring(spec, scratch, above, below, lanes, copy)
            rows = Windows(stack, array, above, ends).rows
            terms = terms_of(spec, T.min(start, 0))
            products.windows(
                operands, panels, first, last, terms, lanes, rows, (share, shares),
                fewest=min(tiling.runs_between(ends))[0],
            )  # fmt: skip
    return builder.get()


@dataclass(frozen=True)
class Windows:
    """The windows of pixels as rows of a matrix."""

    stack: Stack
    array: Any
    """Where the images are, or some of their rows."""
    above: Expr
    """How many rows are missing before these."""
    ends: list[int]
    """Where runs of pixels begin and end."""

    def rows(self, pixel: Expr, count: int) -> list[Callable[[Expr], Expr]]:
        """Make those of so many neighbouring pixels ready."""
        return [self._from(begin) for begin in self.begins(pixel, count)]

    def begins(self, pixel: Expr, count: int) -> list[Expr]:
        """Return where those of so many neighbouring pixels begin.

        (In 64 bits, so that it is the beginning that becomes an address, and not each element.)
        """
        missing = self.above * self.stack.row
        begins = self._begins(pixel, count)
        return [T.Bind(tirx.Cast("int64", begin - missing)) for begin in begins]

    def _from(self, begin: Expr) -> Callable[[Expr], Expr]:
        return lambda distance: self.array[begin + tirx.Cast("int64", distance)]

    def _begins(self, pixel: Expr, count: int) -> list[Expr]:
        """Return where the windows of neighbouring pixels begin."""
        columns, step = self.stack.outputs[1], self.stack.steps[1]
        here = self._begin(pixel)
        if self.stack.is_even or all(end % count == 0 for end in (columns, *self.ends)):
            return [here + number * step for number in range(count)]
        if count > columns:
            return [self._begin(pixel + number) for number in range(count)]
        column = T.Bind(pixel % columns)
        next_line = T.Bind(self._begin(pixel - column + columns) + (column - columns) * step)
        return [
            tirx.Select(column < columns - number, here, next_line) + number * step
            for number in range(count)
        ]

    def _begin(self, pixel: Expr) -> Expr:
        stack, columns = self.stack, self.stack.outputs[1]
        row = stack.first_row(pixel // columns)
        return T.Bind(row * stack.row + pixel % columns * stack.steps[1])


def _is_brought(spec: ConvSpec) -> bool:
    """Whether rows are copied to scratch memory: padded, side by side, widened."""
    return (
        bool(spec.element.storage)
        or spec.padding != ((0, 0), (0, 0))
        or spec.pitch("x") != spec.channels
    )


def terms_of(spec: ConvSpec, nothing: Expr) -> products.Terms:
    """Return the loops over what a window holds, those joined that go on where others end.

    Args:
        spec: the convolution.
        nothing: zero, which the compiler does not know.  It is added to the turns of the outermost
            of several loops: unrolled whole, they would have all weights of a panel brought into
            registers, and from there to the stack, before the first tile.
    """
    row = spec.padded_width * spec.channels
    (kh, kw), (dh, dw) = spec.kernel, spec.dilation
    found: list[tuple[Any, int]] = []
    for count, stride in ((kh, dh * row), (kw, dw * spec.channels), (spec.channels, 1)):
        if found and found[-1][1] == count * stride:
            found[-1] = found[-1][0] * count, stride
        elif count > 1:
            found.append((count, stride))
    if len(found) > 1:
        count, stride = found[0]
        found[0] = T.Bind(count + nothing), stride
    return tuple(found) or ((1, 1),)


def bring(
    spec: ConvSpec, near: Any, first: Expr, last: Expr, lanes: int,
    copy: Callable[[Expr, Expr, Expr], None], nothing: Expr | None = None,
) -> None:  # fmt: skip
    """Bring rows of the padded images, counted through all of them, to scratch memory.

    Args:
        spec: the convolution.
        near: scratch memory.
        first: the first row.
        last: the row to stop before.
        lanes: elements of a vector.
        copy: `copy(image, row, at)` writes a row, without its padding, to `near` from `at` on.
        nothing: what padding with zeros holds, if that is another number.
    """
    fill = _filler(near, lanes, tirx.const(0, near.dtype) if nothing is None else nothing)
    row = spec.padded_width * spec.channels
    with T.serial(0, last - first) as number:
        line, to = T.Bind(first + number), T.Bind(number * row)
        image, padded = line // spec.padded_height, line % spec.padded_height
        at, inside = source(spec.padding_mode, padded, spec.height, spec.padding[0])
        if inside:
            with T.If(tirx.all(*inside)):
                with T.Then():
                    _bring_row(spec, near, image, at, to, copy, fill)
                with T.Else():
                    fill(to, row)
        else:
            _bring_row(spec, near, image, at, to, copy, fill)


def _bring_row(
    spec: ConvSpec, near: Any, image: Expr, at: Expr, to: Expr,
    copy: Callable[[Expr, Expr, Expr], None], fill: Callable[[Expr, int], None],
) -> None:  # fmt: skip
    channels, width, pads = spec.channels, spec.width, spec.padding[1]
    begin = T.Bind(to + pads[0] * channels)
    copy(image, at, begin)
    for start, count in zip((0, pads[0] + width), pads, strict=True):
        if spec.padding_mode == "zeros":
            fill(to + start * channels, count * channels)
            continue
        with T.serial(0, count) as pad, T.serial(0, channels) as channel:
            column, _ = source(spec.padding_mode, start + pad, width, pads)
            value = near[begin + column * channels + channel]
            T.buffer_store(near, value, [to + (start + pad) * channels + channel])


def copy_row(
    spec: ConvSpec, x: Any, near: Any, lanes: int,
    taken: Callable[[Expr, int], Expr] | None = None,
) -> Callable[[Expr, Expr, Expr], None]:  # fmt: skip
    """Return what copies a row of channels-last images, each vector as it is taken."""
    pitch, whole = spec.pitch("x"), spec.pitch("x") == spec.channels
    pixels, count = (1, spec.width * spec.channels) if whole else (spec.width, spec.channels)

    def copy(image: Expr, line: Expr, to: Expr) -> None:
        begin = T.Bind((image * spec.height + line) * (spec.width * pitch))
        with T.serial(0, pixels) as pixel:
            for at, run in each_vector(count, lanes):
                elements = x[vector(begin + pixel * pitch + at, run)]
                if taken:
                    elements = taken(elements, run)
                T.buffer_store(near, elements, [vector(to + pixel * count + at, run)])

    return copy


def _filler(array: Any, lanes: int, value: Expr) -> Callable[[Expr, int], None]:
    """Return what writes a value to so many neighbours."""

    def fill(first: Expr, count: int) -> None:
        for at, run in each_vector(count, lanes):
            T.buffer_store(array, spread(value, run), [vector(first + at, run)])

    return fill


def each_vector(count: int, lanes: int) -> Iterator[tuple[Expr, int]]:
    """Write a loop for each width of the vectors of so many elements; yield where one begins."""
    for start, (number, width) in vectors(count, lanes):
        with T.serial(0, number) as turn:
            yield start + turn * width, width
