"""Functions of each element, one after the other, channels-last, written with their schedule.

Vectors run over the whole array where all operands are images or single numbers, or where there is
one pixel, over the channels of a pixel elsewhere.  The tasks are runs of vectors, or of pixels.
"""

from __future__ import annotations

from math import prod
from typing import Any, TypeAlias

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.machine.target import Target
from depthwise.problem.elementwise import ElementwiseSpec
from depthwise.problem.links import operand_kinds
from depthwise.programs import define_elementwise
from depthwise.programs.build import SYMBOL, TASKS, Program
from depthwise.programs.element_runs import ElementRuns, Elements
from depthwise.programs.links import applied
from depthwise.schedule.plan import Plan

Expr: TypeAlias = Any

_ELEMENTS_OF_A_TASK = 8192


def programs(spec: ElementwiseSpec, plan: Plan, target: Target) -> tuple[Program]:
    """Return the one program of a chain."""
    del plan
    function = _Writing(spec, target.lanes(spec.dtype)).function()
    return (Program({SYMBOL: define_elementwise.define(spec)}, {SYMBOL: function}, target),)


class _Writing:
    def __init__(self, spec: ElementwiseSpec, lanes: int) -> None:
        self._spec, self._runs = spec, ElementRuns(spec, lanes, _ELEMENTS_OF_A_TASK)
        self._arrays: dict[str, Any] = {}

    def function(self) -> tirx.PrimFunc:
        """Return a function of the problem's arrays and a run of tasks."""
        spec, runs = self._spec, self._runs
        shapes = {"X": spec.input_shape, **spec.operands, "Y": spec.output_shape}
        with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
            T.func_name("main")
            T.func_attr({TASKS: runs.tasks})
            pixels = prod(spec.input_shape[:-1])
            sizes = {name: prod(shape) for name, shape in shapes.items()}
            sizes |= {_array(name): pixels * spec.pitch(name) for name in spec.may_be_runs}
            self._arrays = {
                name: T.arg(name, T.Buffer((size,), spec.element.tvm))
                for name, size in sizes.items()
            }
            kinds = operand_kinds(spec.chain).values()
            across = pixels == 1 or {"image", "scalar"}.issuperset(kinds)
            each = runs.across if across and not spec.pitches else runs.by_pixel
            first, last = T.arg("first", T.int32()), T.arg("last", T.int32())
            with T.serial(first, last) as task:
                for elements in each(task):
                    self._vector(elements)
        return builder.get()

    def _vector(self, elements: Elements) -> None:
        """Write what computes neighbouring elements."""
        width, images = elements.lanes, elements.images
        others = {"gate": elements.gate, "channel": elements.channel}
        arrays, kinds = self._arrays, operand_kinds(self._spec.chain)
        begins = {name: images.get(name, others.get(kind)) for name, kind in kinds.items()}
        shared = {
            name: T.Bind(arrays[name][elements.pixel if kinds[name] == "pixel" else 0])
            for name, begin in begins.items()
            if begin is None
        }
        dtype, last = self._spec.element.tvm, len(self._spec.chain) - 1
        between: Any = T.alloc_buffer((width,), dtype, scope="local") if last else None
        for number, link in enumerate(self._spec.chain):
            name = f"operand{number + 1}"
            with T.vectorized(0, width) as lane:
                operand = shared.get(name)
                if operand is None and link.operand is not None:
                    operand = arrays[name][begins[name] + lane]
                x = between[lane] if number else arrays["X"][images["x"] + lane]
                value = applied(link, x, operand, dtype)
                y = arrays["Y"], images["y"] + lane
                target = y if number == last else (between, lane)
                T.buffer_store(target[0], value, [target[1]])


def _array(name: str) -> str:
    """Return what the program calls an image."""
    return name.upper() if name in ("x", "y") else name
