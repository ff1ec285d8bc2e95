"""The mean of pixels and their normalisation, channels-last, written with their schedule.

Vectors run over channels, some at a time so that their sums do not wait for each other.  The tasks
of a mean are runs of channels of an image, those of a norm runs of pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, TypeAlias

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.machine.target import Target
from depthwise.problem.pixels import PixelSpec
from depthwise.programs import define_pixels
from depthwise.programs.build import SYMBOL, TASKS, Program
from depthwise.programs.direct import share, spread, vector, zero
from depthwise.programs.pixel_runs import AT_ONCE, MOST_TASKS, pieces, vectors
from depthwise.schedule.plan import Plan

Expr: TypeAlias = Any

_ELEMENTS_OF_A_TASK = 8192


def programs(spec: PixelSpec, plan: Plan, target: Target) -> tuple[Program]:
    """Return the one program of a mean or a norm."""
    del plan
    lanes = target.lanes(spec.dtype)
    function = _mean(spec, lanes) if spec.kind == "mean" else _norm(spec, lanes)
    return (Program({SYMBOL: define_pixels.define(spec)}, {SYMBOL: function}, target),)


def _mean(spec: PixelSpec, lanes: int) -> Any:
    pixels, channels = spec.height * spec.width, spec.channels
    most = max(1, channels * pixels // _ELEMENTS_OF_A_TASK)
    runs = max(1, min(-(-MOST_TASKS // spec.batch), channels // (AT_ONCE * lanes), most))
    count_of = tirx.const(pixels, spec.element.tvm)

    def write(X: Any, Y: Any, task: Expr) -> None:
        image, run = T.Bind(task // runs), T.Bind(task % runs)
        for begin, some in share(channels, AT_ONCE * lanes, run, runs):
            with some.each() as number:
                first = T.Bind(begin + number * some.lanes)
                for start, (count, width) in vectors(some.lanes, AT_ONCE * lanes):
                    assert count == 1
                    total = T.alloc_buffer((width,), spec.element.tvm, scope="local")
                    at = vector(0, width)
                    T.buffer_store(total, zero(spec.element.tvm, width), [at])
                    with T.serial(0, pixels) as pixel:
                        x = X[vector((image * pixels + pixel) * channels + first + start, width)]
                        T.buffer_store(total, total[at] + x, [at])
                    T.buffer_store(
                        Y, total[at] / spread(count_of, width),
                        [vector(image * channels + first + start, width)],
                    )  # fmt: skip

    return _kernel(spec, spec.batch * runs, write)


def _norm(spec: PixelSpec, lanes: int) -> Any:
    pixels, channels = prod(spec.input_shape[:3]), spec.channels
    tasks = max(1, min(MOST_TASKS, pixels * channels // _ELEMENTS_OF_A_TASK, pixels))
    parts = list(pieces(channels, lanes))

    def write(X: Any, weight: Any, bias: Any, Y: Any, task: Expr) -> None:
        begin, end = T.Bind(pixels * task // tasks), T.Bind(pixels * (task + 1) // tasks)
        with T.serial(begin, end) as pixel:
            start = T.Bind(pixel * channels)
            mean = T.Bind(_sum(spec, parts, lambda at, width: X[vector(start + at, width)]))
            mean = T.Bind(mean / tirx.const(channels, spec.element.tvm))

            def apart(at: Expr, width: int) -> Expr:
                return X[vector(start + at, width)] - spread(mean, width)

            def square(at: Expr, width: int) -> Expr:
                value = T.Bind(apart(at, width))
                return value * value

            variance = _sum(spec, parts, square) / tirx.const(channels, spec.element.tvm)
            scale = T.Bind(1 / tirx.sqrt(variance + tirx.const(spec.epsilon, spec.element.tvm)))
            for first, count, width in parts:
                with T.serial(0, count) as number:
                    at = first + number * width
                    here = vector(at, width)
                    value = apart(at, width) * spread(scale, width) * weight[here] + bias[here]
                    T.buffer_store(Y, value, [vector(start + at, width)])

    return _kernel(spec, tasks, write)


def _sum(
    spec: PixelSpec, pieces: list[tuple[int, int, int]], value: Callable[[Expr, int], Expr]
) -> Expr:
    """Return the sum over the channels of a pixel."""
    found = []
    for first, count, width in pieces:
        total = T.alloc_buffer((width,), spec.element.tvm, scope="local")
        here = vector(0, width)
        T.buffer_store(total, zero(spec.element.tvm, width), [here])
        with T.serial(0, count) as number:
            T.buffer_store(total, total[here] + value(first + number * width, width), [here])
        found.append(_across(T.Bind(total[here]), width))
    return sum(found[1:], found[0])


def _across(value: Expr, width: int) -> Expr:
    """Return the sum of the lanes of a vector, halves added to each other as long as they are."""
    while width > 1 and width % 2 == 0:
        width //= 2
        halves = [tirx.Shuffle([value], list(range(start, start + width))) for start in (0, width)]
        value = T.Bind(halves[0] + halves[1])
    if width == 1:
        return value
    lanes = [tirx.Shuffle([value], [lane]) for lane in range(width)]
    return sum(lanes[1:], lanes[0])


def _kernel(spec: PixelSpec, tasks: int, write: Callable[..., None]) -> Any:
    """Return a function of the problem's arrays and a run of tasks."""
    shapes = {"X": spec.input_shape, **spec.operands, "Y": spec.output_shape}
    with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
        T.func_name("main")
        T.func_attr({TASKS: tasks})
        arrays = [
            T.arg(name, T.Buffer((prod(shape),), spec.element.tvm))
            for name, shape in shapes.items()
        ]
        first, last = T.arg("first", T.int32()), T.arg("last", T.int32())
        with T.serial(first, last) as task:
            write(*arrays, task)
    return builder.get()
