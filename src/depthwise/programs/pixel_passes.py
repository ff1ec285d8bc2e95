"""Sums, means and norms of pixels, channels-last, written with their schedule.

Vectors run over channels, some at a time so that their sums do not wait for each other.  Where one
number is made of the pixels of a channel, tasks are runs of channels of an image, else of pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from math import prod
from typing import Any, TypeAlias

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.machine.target import Target
from depthwise.problem.pixels import PixelSpec
from depthwise.programs import define_pixels, group_norm
from depthwise.programs.build import SYMBOL, TASKS, Program
from depthwise.programs.direct import share, spread, vector
from depthwise.programs.pixel_runs import (
    AT_ONCE,
    MOST_TASKS,
    across,
    largest,
    largest_across,
    pieces,
    vectors,
)
from depthwise.schedule.pixel_passes import PixelPasses
from depthwise.schedule.plan import Plan

Expr: TypeAlias = Any

_ELEMENTS_OF_A_TASK = 8192


def programs(spec: PixelSpec, plan: Plan, target: Target) -> tuple[Program, ...]:
    """Return the one program of the problem, or the three of a groupnorm."""
    if spec.kind == "groupnorm":
        return group_norm.programs(spec, PixelPasses().steps(spec, plan, target), target)
    lanes = target.lanes(spec.dtype)
    ways = {"pixels": _of_channels, "channels": _of_pixels}
    function = (_norm if spec.kind == "norm" else ways[spec.over])(spec, lanes)
    return (Program({SYMBOL: define_pixels.define(spec)}, {SYMBOL: function}, target),)


class _Folding:
    """How one number is made of many."""

    def __init__(self, kind: str, dtype: str) -> None:
        self._kind, self._dtype = kind, dtype

    def start(self, width: int) -> Expr:
        """Return what many begin with."""
        return spread(tirx.const(-math.inf if self._kind == "max" else 0, self._dtype), width)

    def joined(self, found: Expr, value: Expr) -> Expr:
        """Return what two parts make together."""
        return largest(found, value) if self._kind == "max" else found + value

    def across(self, value: Expr, width: int) -> Expr:
        """Return what the lanes of a vector make together."""
        if self._kind == "max":
            return largest_across(value, width, self._dtype)
        return across(value, width)

    def part(self, value: Expr) -> Expr:
        """Return what is taken of an element."""
        if self._kind not in ("l2", "meansquare", "sumsquare"):
            return value
        value = T.Bind(value)
        return value * value

    def result(self, found: Expr, count: int, width: int) -> Expr:
        """Return the result of so many elements."""
        if self._kind == "l2":
            return tirx.sqrt(found)
        if self._kind not in ("mean", "meansquare"):
            return found
        return found / spread(tirx.const(count, self._dtype), width)


def _of_channels(spec: PixelSpec, lanes: int) -> Any:
    pixels, channels = spec.height * spec.width, spec.channels
    pitch = dict(spec.pitches).get("x", channels)
    most = max(1, channels * pixels // _ELEMENTS_OF_A_TASK)
    runs = max(1, min(-(-MOST_TASKS // spec.batch), channels // (AT_ONCE * lanes), most))
    folding = _Folding(spec.kind, spec.element.tvm)

    def write(X: Any, Y: Any, task: Expr) -> None:
        image, run = T.Bind(task // runs), T.Bind(task % runs)
        for begin, some in share(channels, AT_ONCE * lanes, run, runs):
            with some.each() as number:
                first = T.Bind(begin + number * some.lanes)
                for start, (count, width) in vectors(some.lanes, AT_ONCE * lanes):
                    assert count == 1
                    total = T.alloc_buffer((width,), spec.element.tvm, scope="local")
                    at = vector(0, width)
                    T.buffer_store(total, folding.start(width), [at])
                    with T.serial(0, pixels) as pixel:
                        x = X[vector((image * pixels + pixel) * pitch + first + start, width)]
                        T.buffer_store(total, folding.joined(total[at], folding.part(x)), [at])
                    T.buffer_store(
                        Y, folding.result(total[at], pixels, width),
                        [vector(image * channels + first + start, width)],
                    )  # fmt: skip

    return _kernel(spec, spec.batch * runs, write)


def _of_pixels(spec: PixelSpec, lanes: int) -> Any:
    parts, folding = list(pieces(spec.channels, lanes)), _Folding(spec.kind, spec.element.tvm)

    def write(X: Any, Y: Any, pixel: Expr) -> None:
        start = T.Bind(pixel * spec.channels)
        found = _folded(
            spec, parts, folding, lambda at, width: folding.part(X[vector(start + at, width)])
        )
        T.buffer_store(Y, folding.result(found, spec.channels, 1), [pixel])

    return _by_pixel(spec, write)


def _norm(spec: PixelSpec, lanes: int) -> Any:
    channels = tirx.const(spec.channels, spec.element.tvm)
    parts, folding = list(pieces(spec.channels, lanes)), _Folding("sum", spec.element.tvm)

    def write(X: Any, weight: Any, bias: Any, Y: Any, pixel: Expr) -> None:
        start = T.Bind(pixel * spec.channels)
        total = _folded(spec, parts, folding, lambda at, width: X[vector(start + at, width)])
        mean = T.Bind(total / channels)

        def apart(at: Expr, width: int) -> Expr:
            return X[vector(start + at, width)] - spread(mean, width)

        def square(at: Expr, width: int) -> Expr:
            value = T.Bind(apart(at, width))
            return value * value

        variance = _folded(spec, parts, folding, square) / channels
        scale = T.Bind(1 / tirx.sqrt(variance + tirx.const(spec.epsilon, spec.element.tvm)))
        for first, count, width in parts:
            with T.serial(0, count) as number:
                at = first + number * width
                here = vector(at, width)
                value = apart(at, width) * spread(scale, width) * weight[here] + bias[here]
                T.buffer_store(Y, value, [vector(start + at, width)])

    return _by_pixel(spec, write)


def _folded(
    spec: PixelSpec, parts: list[tuple[int, int, int]], folding: _Folding,
    value: Callable[[Expr, int], Expr],
) -> Expr:  # fmt: skip
    """Return what the channels of a pixel make together."""
    found = []
    for first, count, width in parts:
        total = T.alloc_buffer((width,), spec.element.tvm, scope="local")
        here = vector(0, width)
        T.buffer_store(total, folding.start(width), [here])
        with T.serial(0, count) as number:
            joined = folding.joined(total[here], value(first + number * width, width))
            T.buffer_store(total, joined, [here])
        found.append(folding.across(T.Bind(total[here]), width))
    return reduce(folding.joined, found)


def _by_pixel(spec: PixelSpec, write: Callable[..., None]) -> Any:
    """Return a function whose tasks are runs of pixels, of which `write` writes one."""
    pixels = prod(spec.input_shape[:3])
    tasks = max(1, min(MOST_TASKS, pixels * spec.channels // _ELEMENTS_OF_A_TASK, pixels))

    def of_task(*arrays_and_task: Any) -> None:
        *arrays, task = arrays_and_task
        begin, end = T.Bind(pixels * task // tasks), T.Bind(pixels * (task + 1) // tasks)
        with T.serial(begin, end) as pixel:
            write(*arrays, pixel)

    return _kernel(spec, tasks, of_task)


def _kernel(spec: PixelSpec, tasks: int, write: Callable[..., None]) -> Any:
    """Return a function of the problem's arrays and a run of tasks."""
    *pixels, channels = spec.input_shape
    x = *pixels, dict(spec.pitches).get("x", channels)
    shapes = {"X": x, **spec.operands, "Y": spec.output_shape}
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
