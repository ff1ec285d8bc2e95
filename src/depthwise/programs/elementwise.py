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
    flat = {"image", "scalar"}.issuperset(spec.operand_kinds.values()) and not spec.pitches
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
            pixels = prod(spec.input_shape[:-1])
            sizes = {name: prod(shape) for name, shape in shapes.items()}
            sizes |= {_array(name): pixels * spec.pitch(name) for name in spec.may_be_runs}
            self._arrays = {
                name: T.arg(name, T.Buffer((size,), spec.element.tvm))
                for name, size in sizes.items()
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
                begins = dict.fromkeys(self._spec.may_be_runs, first)
                self._vector(width, begins, {"scalar": None})

    def by_pixel(self, task: Expr) -> None:
        """Write a task of pixels."""
        batch, height, width, channels = self._spec.input_shape
        plane = height * width
        with self._share(task, batch * plane) as pixel:
            begins = {
                name: T.Bind(pixel * self._spec.pitch(name)) for name in self._spec.may_be_runs
            }
            gate = T.Bind(tirx.floordiv(pixel, plane) * channels) if batch > 1 else 0
            for start, count, lanes in pieces(channels, self._lanes):
                with T.serial(0, count) as number:
                    channel = T.Bind(start + number * lanes)
                    images = {name: T.Bind(begin + channel) for name, begin in begins.items()}
                    self._vector(lanes, images, {
                        "gate": T.Bind(gate + channel), "pixel": None, "channel": channel,
                        "scalar": None,
                    }, pixel)  # fmt: skip

    def _share(self, task: Expr, count: int) -> Any:
        """Return the loop over a task's share of so many turns."""
        turns = -(-count // self._tasks)
        begin = T.Bind(T.min(task * turns, count))
        return T.serial(begin, T.Bind(T.min(begin + turns, count)))

    def _vector(
        self, width: int, images: dict[str, Expr], others: dict[str, Expr], pixel: Expr = 0
    ) -> None:
        """Write what computes neighbouring elements.

        Args:
            width: how many.
            images: where the first is in each image.
            others: where its element of an operand of another kind is; None where all share one.
            pixel: which pixel they are of.
        """
        arrays, kinds = self._arrays, self._spec.operand_kinds
        begins = {name: images.get(name, others.get(kind)) for name, kind in kinds.items()}
        shared = {
            name: T.Bind(arrays[name][pixel if kinds[name] == "pixel" else 0])
            for name, begin in begins.items()
            if begin is None
        }
        dtype, last = self._spec.element.tvm, len(self._spec.chain) - 1
        between: Any = T.alloc_buffer((width,), dtype, scope="local") if last else None
        for number in range(last + 1):
            with T.vectorized(0, width) as lane:

                def operand(name: str, lane: Expr = lane) -> Expr:
                    alone = shared.get(name)
                    return arrays[name][begins[name] + lane] if alone is None else alone

                x = between[lane] if number else arrays["X"][images["x"] + lane]
                value = applied(self._spec, number, x, operand)
                y = arrays["Y"], images["y"] + lane
                target = y if number == last else (between, lane)
                T.buffer_store(target[0], value, [target[1]])


def _array(name: str) -> str:
    """Return what the program calls an image."""
    return name.upper() if name in ("x", "y") else name
