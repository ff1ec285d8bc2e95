"""Functions of each element, one after the other, channels-last, written with their schedule.

Vectors run over the whole array where all operands are images or single numbers, over the channels
of a pixel elsewhere.  The tasks are runs of vectors, or of pixels.
"""

from __future__ import annotations

from math import prod
from typing import Any, TypeAlias

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.machine.target import Target
from depthwise.problem.elementwise import ElementwiseSpec
from depthwise.programs import define_elementwise
from depthwise.programs.build import SYMBOL, TASKS, Program
from depthwise.programs.define_elementwise import applied
from depthwise.programs.pixel_runs import MOST_TASKS, pieces
from depthwise.schedule.plan import Plan

Expr: TypeAlias = Any

_ELEMENTS_OF_A_TASK = 8192


def programs(spec: ElementwiseSpec, plan: Plan, target: Target) -> tuple[Program]:
    """Return the one program of a chain."""
    del plan
    writing = _Writing(spec, target.lanes(spec.dtype))
    flat = {"image", "scalar"}.issuperset(spec.operand_kinds.values())
    function = writing.function(writing.flat if flat else writing.by_pixel)
    return (Program({SYMBOL: define_elementwise.define(spec)}, {SYMBOL: function}, target),)


class _Writing:
    def __init__(self, spec: ElementwiseSpec, lanes: int) -> None:
        self._spec, self._lanes = spec, lanes
        self._size = prod(spec.input_shape)
        self._tasks = max(1, min(MOST_TASKS, self._size // _ELEMENTS_OF_A_TASK))
        self._arrays: dict[str, Any] = {}

    def function(self, write: Any) -> tirx.PrimFunc:
        """Return a function of the problem's arrays and a run of tasks."""
        spec = self._spec
        shapes = {"X": spec.input_shape, **spec.operands, "Y": spec.output_shape}
        with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
            T.func_name("main")
            T.func_attr({TASKS: self._tasks})
            self._arrays = {
                name: T.arg(name, T.Buffer((prod(shape),), spec.element.tvm))
                for name, shape in shapes.items()
            }
            first, last = T.arg("first", T.int32()), T.arg("last", T.int32())
            with T.serial(first, last) as task:
                write(task)
        return builder.get()

    def flat(self, task: Expr) -> None:
        """Write a task of elements, wherever in their pixels they are."""
        for start, count, width in pieces(self._size, self._lanes):
            with self._share(task, count) as number:
                first = T.Bind(start + number * width)
                self._vector(width, first, {"image": first, "scalar": None})

    def by_pixel(self, task: Expr) -> None:
        """Write a task of pixels."""
        batch, height, width, channels = self._spec.input_shape
        plane = height * width
        with self._share(task, batch * plane) as pixel:
            begin = T.Bind(pixel * channels)
            gate = T.Bind(tirx.floordiv(pixel, plane) * channels) if batch > 1 else 0
            for start, count, lanes in pieces(channels, self._lanes):
                with T.serial(0, count) as number:
                    channel = T.Bind(start + number * lanes)
                    at = T.Bind(begin + channel)
                    self._vector(lanes, at, {
                        "image": at, "gate": T.Bind(gate + channel), "pixel": None,
                        "channel": channel, "scalar": None,
                    }, pixel)  # fmt: skip

    def _share(self, task: Expr, count: int) -> Any:
        """Return the loop over a task's share of so many turns."""
        turns = -(-count // self._tasks)
        begin = T.Bind(T.min(task * turns, count))
        return T.serial(begin, T.Bind(T.min(begin + turns, count)))

    def _vector(self, width: int, first: Expr, begins: dict[str, Expr], pixel: Expr = 0) -> None:
        """Write what computes neighbouring elements.

        Args:
            width: how many.
            first: where the first is.
            begins: where its element of an operand of a kind is; None where all share one.
            pixel: which pixel they are of.
        """
        arrays, kinds = self._arrays, self._spec.operand_kinds
        shared = {
            name: T.Bind(arrays[name][pixel if kind == "pixel" else 0])
            for name, kind in kinds.items()
            if begins[kind] is None
        }
        dtype, last = self._spec.element.tvm, len(self._spec.chain) - 1
        between: Any = T.alloc_buffer((width,), dtype, scope="local") if last else None
        for number in range(last + 1):
            with T.vectorized(0, width) as lane:

                def operand(name: str, lane: Expr = lane) -> Expr:
                    alone = shared.get(name)
                    return arrays[name][begins[kinds[name]] + lane] if alone is None else alone

                x = between[lane] if number else arrays["X"][first + lane]
                value = applied(self._spec, number, x, operand)
                target = (arrays["Y"], first + lane) if number == last else (between, lane)
                T.buffer_store(target[0], value, [target[1]])
