"""Ordinary convolution of channels-first data: transpositions around a product of windows."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any, TypeAlias

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.programs import pixel_runs, products
from depthwise.programs.build import SCRATCH_BYTES, SYMBOL, TASKS, Program
from depthwise.programs.define import define
from depthwise.programs.dense_sums import Windows, bring, terms_of
from depthwise.schedule import dense, tiling
from depthwise.schedule import dense_planes as rule
from depthwise.schedule.plan import Plan
from depthwise.schedule.stack import Stack
from depthwise.schedule.tiling import Panels, packed_columns

Expr: TypeAlias = Any


def programs(spec: ConvSpec, plan: Plan, target: Target) -> tuple[Program]:
    """Return the one program of a convolution."""
    part = rule.part_of(spec, target)
    driver = _Driver(
        spec, part, dense.panels(part, plan, target), plan.tw, dense.runs(part, plan),
        target.lanes(spec.dtype),
    )  # fmt: skip
    definition = define(spec, rule.form(spec, plan, target))
    return (Program({SYMBOL: definition}, driver.functions(), target),)


@dataclass(frozen=True)
class _Driver:
    """The loop over tasks, and the functions that each calls."""

    spec: ConvSpec
    part: ConvSpec
    panels: tuple[Panels, ...]
    tile: int
    """Pixels that runs of pixels are multiples of."""
    runs: int
    """Into how many the pixels of a part are cut."""
    lanes: int

    @property
    def _stack(self) -> Stack:
        return Stack.of(self.part)

    @property
    def _ends(self) -> list[int]:
        return tiling.ends(self._stack.pixels, self.tile, self.runs)

    def functions(self) -> dict[str, tirx.PrimFunc]:
        """Return the functions of the kernel."""
        part, dtype = self.part, self.part.element.tvm
        sides = (part.channels, part.height * part.width), (part.out_channels, self._stack.pixels)
        gather, scatter = (
            make(channels, plane, channels, dtype, self.lanes)
            for make, (channels, plane) in zip(
                (pixel_runs.gather, pixel_runs.scatter), sides, strict=True
            )
        )
        return {
            "gather": gather, "product": self._product(), "scatter": scatter,
            SYMBOL: self._kernel(),
        }  # fmt: skip

    def _product(self) -> tirx.PrimFunc:
        """Return the function `(near, K, bias, Y, above, first, last)` of a run of pixels.

        Its rows of the input begin with the row `above`, its outputs with the pixel `first`.
        """
        part, near = self.part, self._near
        with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
            T.func_name("main")
            T.func_attr({TASKS: 1})
            x, weight, bias, y = self._arrays(near, 1, part.out_channels, prod(part.output_shape))
            above, first, last = (T.arg(name, T.int32()) for name in ("above", "first", "last"))
            operands = products.Operands(part, x, weight, bias, None, y)
            products.windows(
                operands, self.panels, first, last, terms_of(part, T.min(first, 0)), self.lanes,
                Windows(self._stack, x, above, self._ends).rows, (0, 1), start=first,
            )  # fmt: skip
        return builder.get()

    def _kernel(self) -> tirx.PrimFunc:
        spec, part, stack = self.spec, self.part, self._stack
        parts = spec.out_channels // part.out_channels
        cuts = parts // spec.groups
        tasks = spec.batch * parts * self.runs
        near, most = self._near, max(end - begin for begin, end in pairwise(self._ends))
        with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
            T.func_name("main")
            size = near + most * part.out_channels
            T.func_attr({TASKS: tasks, SCRATCH_BYTES: size * spec.element.computed.bytes})
            inputs, outputs = prod(spec.input_shape), prod(spec.output_shape)
            x, weight, bias, y = self._arrays(inputs, parts, spec.out_channels, outputs)
            scratch = T.arg("scratch", T.Buffer((size,), spec.element.tvm))
            start, stop = T.arg("first", T.int32()), T.arg("last", T.int32())
            with T.serial(start, stop) as task:
                cut, run = T.Bind(task % cuts), T.Bind(task // cuts % self.runs)
                group = T.Bind(task // (cuts * self.runs))
                first, last = products.run_of_rows(run, self.runs, stack.pixels, self.tile)
                above, below = map(T.Bind, stack.rows(first, last))
                with T.If(tirx.any(task == start, cut == 0)), T.Then():
                    self._bring(x, group, scratch, above, below)
                own = T.Bind(group % spec.groups * cuts + cut)
                biases = [] if bias is None else [_address(bias, own * part.out_channels)]
                result = _address(scratch, near)
                weights = _address(weight, own * (part.depth * packed_columns(self.panels)))
                _call(
                    "product", _address(scratch, 0), weights, *biases, result, above, first, last
                )  # fmt: skip
                channel = T.Bind(group * (cuts * part.out_channels) + cut * part.out_channels)
                _call("scatter", result, _address(y, channel * stack.pixels + first), last - first)
        return builder.get()

    def _arrays(self, inputs: int, parts: int, outputs: int, results: int) -> tuple[Any, ...]:
        """Declare the input, weights of so many parts, the bias and the output of a function."""

        def array(name: str, size: int) -> Any:
            return T.arg(name, T.Buffer((size,), self.spec.element.tvm))

        weights = parts * self.part.depth * packed_columns(self.panels)
        x, weight = array("X", inputs), array("K", weights)
        return x, weight, array("bias", outputs) if self.spec.bias else None, array("Y", results)

    @property
    def _near(self) -> int:
        """The elements of the rows that a run of pixels reads at most."""
        return self._stack.most_rows(self._ends) * self._stack.row

    def _bring(self, x: Any, group: Expr, scratch: Any, above: Expr, below: Expr) -> None:
        """Copy rows of a group of an image to scratch memory, pixel by pixel."""
        part = self.part
        planes = T.Bind(group * (part.channels * part.height * part.width))

        def copy(image: Expr, line: Expr, to: Expr, lines: Expr = 1) -> None:
            del image  # a part has one
            source = _address(x, planes + line * part.width)
            _call("gather", source, _address(scratch, to), lines * part.width)

        if part.padding == ((0, 0), (0, 0)):
            copy(0, above, 0, below - above)
        else:
            bring(part, scratch, above, below, self.lanes, copy)


def _address(array: Any, index: Expr) -> Expr:
    return T.address_of(array[index])


def _call(name: str, *arguments: Expr) -> None:
    T.evaluate(tirx.call_extern("void", name, *arguments))
