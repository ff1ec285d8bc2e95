"""Windows of channels-last images as the rows of a product, written with its schedule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.build import SCRATCH_BYTES, TASKS
from depthwise.define import source
from depthwise.schedule import products
from depthwise.schedule.direct import vector, zero
from depthwise.schedule.passes import vectors
from depthwise.schedule.stack import Stack
from depthwise.schedule.tiling import Panels, packed_columns
from depthwise.spec import ConvSpec
from depthwise.values import itemsize
from depthwise.vocabulary import Pair

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
    stack, terms = Stack.of(spec), _terms(spec)
    near = stack.most_rows(tile, runs) * stack.row if _is_padded(spec) else 0
    with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
        T.func_name("main")
        T.func_attr({TASKS: runs * shares, SCRATCH_BYTES: near * itemsize(spec.dtype)})
        operands = products.Operands.declare(spec, packed_columns(panels))
        scratch = T.arg("scratch", T.Buffer((near,), spec.dtype)) if near else None
        start, stop = T.arg("first", T.int32()), T.arg("last", T.int32())
        with T.serial(start, stop) as number:
            task = T.Bind(T.max(T.min(number, runs * shares - 1), 0))  # a range that TVM knows
            run, share = T.Bind(task // shares), T.Bind(task % shares)
            first, last = products.run_of_rows(run, runs, stack.pixels, tile)
            array, above = operands.x, 0
            if near:
                array, (above, below) = scratch, map(T.Bind, stack.rows(first, last))
                with T.If(tirx.any(number == start, share == 0)), T.Then():
                    _bring(spec, operands.x, scratch, above, below, lanes)

            def window(pixel: Expr) -> Any:
                line, column = pixel // stack.outputs[1], pixel % stack.outputs[1]
                begin = (stack.first_row(line) - above) * stack.row + column * stack.steps[1]
                at = T.Bind(tirx.Cast("int64", begin))
                return lambda distance: array[at + tirx.Cast("int64", distance)]

            products.windows(operands, panels, first, last, terms, lanes, window, (share, shares))
    return builder.get()


def _is_padded(spec: ConvSpec) -> bool:
    return spec.padding != ((0, 0), (0, 0))


def _terms(spec: ConvSpec) -> products.Terms:
    """Return the loops over what a window holds, those joined that go on where others end."""
    row = spec.padded_width * spec.channels
    (kh, kw), (dh, dw) = spec.kernel, spec.dilation
    found: list[tuple[int, int]] = []
    for count, stride in ((kh, dh * row), (kw, dw * spec.channels), (spec.channels, 1)):
        if found and found[-1][1] == count * stride:
            found[-1] = found[-1][0] * count, stride
        elif count > 1:
            found.append((count, stride))
    return tuple(found) or ((1, 1),)


def _bring(spec: ConvSpec, x: Any, near: Any, first: Expr, last: Expr, lanes: int) -> None:
    """Copy rows of the padded images, counted through all of them, to scratch memory."""
    row = spec.padded_width * spec.channels
    with T.serial(0, last - first) as number:
        line, to = T.Bind(first + number), T.Bind(number * row)
        image, padded = line // spec.padded_height, line % spec.padded_height
        at, inside = source(spec.padding_mode, padded, spec.height, spec.padding[0])
        begin = (image * spec.height + at) * (spec.width * spec.channels)
        if inside:
            with T.If(tirx.all(*inside)):
                with T.Then():
                    _bring_row(spec, x, T.Bind(begin), near, to, lanes)
                with T.Else():
                    _clear(near, to, row, lanes)
        else:
            _bring_row(spec, x, T.Bind(begin), near, to, lanes)


def _bring_row(spec: ConvSpec, x: Any, begin: Expr, near: Any, to: Expr, lanes: int) -> None:
    channels, width, pads = spec.channels, spec.width, spec.padding[1]
    for start, count in zip((0, pads[0] + width), pads, strict=True):
        if spec.padding_mode == "zeros":
            _clear(near, to + start * channels, count * channels, lanes)
            continue
        with T.serial(0, count) as pad, T.serial(0, channels) as channel:
            at, _ = source(spec.padding_mode, start + pad, width, pads)
            value = x[begin + at * channels + channel]
            T.buffer_store(near, value, [to + (start + pad) * channels + channel])
    for at, run in _each(width * channels, lanes):
        value = x[vector(begin + at, run)]
        T.buffer_store(near, value, [vector(to + pads[0] * channels + at, run)])


def _clear(array: Any, first: Expr, count: int, lanes: int) -> None:
    for at, run in _each(count, lanes):
        T.buffer_store(array, zero(array.dtype, run), [vector(first + at, run)])


def _each(count: int, lanes: int) -> Iterator[tuple[Expr, int]]:
    """Write a loop for each width of the vectors of so many elements; yield where one begins."""
    for start, (number, width) in vectors(count, lanes):
        with T.serial(0, number) as turn:
            yield start + turn * width, width
