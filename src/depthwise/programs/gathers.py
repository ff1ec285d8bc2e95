"""Channels gathered, channels-last, written with their schedule: run by run of each pixel.

The tasks are runs of pixels; where there are few, parts of each run of channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, TypeAlias

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.machine.target import Target
from depthwise.problem.gathers import GatherSpec, Run
from depthwise.programs import define_gathers
from depthwise.programs.build import SYMBOL, TASKS, Program
from depthwise.programs.pixel_runs import MOST_TASKS, pieces
from depthwise.schedule.plan import Plan

Expr: TypeAlias = Any
Begins: TypeAlias = Callable[[Run], tuple[Any, Expr]]
"""The array of a run, and where it begins in the pixel."""

_ELEMENTS_OF_A_TASK = 8192


def programs(spec: GatherSpec, plan: Plan, target: Target) -> tuple[Program]:
    """Return the one program."""
    del plan
    function = _function(spec, target.lanes(spec.dtype))
    return (Program({SYMBOL: define_gathers.define(spec)}, {SYMBOL: function}, target),)


def _function(spec: GatherSpec, lanes: int) -> tirx.PrimFunc:
    """Return a function of the images, of the result and of a run of tasks."""
    *pixels_of, channels = spec.output_shape
    pixels = prod(pixels_of)
    tasks = max(1, min(MOST_TASKS, pixels * channels // _ELEMENTS_OF_A_TASK))
    alone = all(len(pick) == 1 for pick in spec.picks)
    parts = max(1, tasks // pixels) if alone else 1
    tasks = min(tasks, pixels * parts)
    shapes = {"X": spec.input_shape, **spec.operands, "Y": spec.output_shape}
    with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
        T.func_name("main")
        T.func_attr({TASKS: tasks})
        pitches = [*map(spec.pitch, (*spec.array_names, "y"))]
        *images, y = (
            T.arg(name, T.Buffer((pixels * pitch,), spec.element.tvm))
            for name, pitch in zip(shapes, pitches, strict=True)
        )
        first, last = T.arg("first", T.int32()), T.arg("last", T.int32())

        def begins(run: Run, pixel: Expr) -> tuple[Any, Expr]:
            return images[run.image], T.Bind(pixel * pitches[run.image] + run.start)

        shares = pixels * parts
        end = T.Bind(last * shares // tasks)
        with T.serial(T.Bind(first * shares // tasks), end) as share:
            pixel = T.Bind(tirx.floordiv(share, parts)) if parts > 1 else share
            part = T.Bind(tirx.floormod(share, parts)) if parts > 1 else 0
            target = T.Bind(pixel * pitches[-1])
            for pick in spec.picks:
                runs = [begins(run, pixel) for run in pick]
                count = pick[0].count
                if parts > 1:
                    _copy_part(y, target, *runs[0], count, (part, parts), lanes)
                elif len(runs) == 1:
                    _copy(y, target, *runs[0], count, lanes)
                else:
                    _in_turn(y, target, runs, count)
                target = T.Bind(target + count * len(runs))
    return builder.get()


def _copy(y: Any, target: Expr, x: Any, begin: Expr, count: int, lanes: int) -> None:
    """Write neighbouring channels."""
    for start, number, width in pieces(count, lanes):
        with T.serial(0, number) as turn, T.vectorized(0, width) as lane:
            at = start + turn * width + lane
            T.buffer_store(y, x[begin + at], [target + at])


def _copy_part(
    y: Any, target: Expr, x: Any, begin: Expr, count: int, share: tuple[Expr, int], lanes: int
) -> None:
    """Write one of so many parts of neighbouring channels; the last one has what is left over."""
    part, parts = share
    vectors = count // lanes
    turns = -(-vectors // parts)
    first = T.Bind(T.min(part * turns, vectors))
    end = T.Bind(T.min(first + turns, vectors))
    with T.serial(first, end) as turn, T.vectorized(0, lanes) as lane:
        at = turn * lanes + lane
        T.buffer_store(y, x[begin + at], [target + at])
    with T.If(part == parts - 1), T.Then():
        rest = vectors * lanes
        _copy(y, target + rest, x, begin + rest, count - rest, lanes)


def _in_turn(y: Any, target: Expr, runs: Sequence[tuple[Any, Expr]], count: int) -> None:
    """Write a channel of each run, then the next of each; LLVM makes vectors of the loop."""
    with T.serial(0, count) as channel:
        for number, (x, begin) in enumerate(runs):
            T.buffer_store(y, x[begin + channel], [target + channel * len(runs) + number])
