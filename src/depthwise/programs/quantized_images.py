"""What is computed of quantized images, channels-last, written with its schedule.

Vectors run over the whole array where all images are whole, over the channels of a pixel elsewhere.
The tasks are runs of vectors, or of pixels; those of means are runs of channels of an image.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, TypeAlias

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.machine.target import Target
from depthwise.problem.quantized_images import QuantizedSpec
from depthwise.programs.build import SYMBOL, TASKS, Program
from depthwise.programs.direct import share, spread, vector
from depthwise.programs.element_runs import ElementRuns, Elements
from depthwise.programs.lookups import Table
from depthwise.programs.pixel_runs import AT_ONCE, MOST_TASKS
from depthwise.programs.quantized_numbers import Ends, added, apart, of, rounded
from depthwise.schedule.plan import Plan

Expr: TypeAlias = Any

_ELEMENTS_OF_A_TASK = 32768


def programs(spec: QuantizedSpec, plan: Plan, target: Target) -> tuple[Program]:
    """Return the one program of a problem."""
    del plan
    function = (_means if spec.kind == "qmean" else _elements)(spec, target)
    return (Program({SYMBOL: function}, {SYMBOL: function}, target),)


def _elements(spec: QuantizedSpec, target: Target) -> tirx.PrimFunc:
    runs = ElementRuns(spec, target.lanes("float32"), _ELEMENTS_OF_A_TASK)

    def tasks(arrays: _Arrays) -> Callable[[Expr], None]:
        value = _VALUES[spec.kind](arrays, target)
        each = runs.by_pixel if spec.pitches or spec.gate else runs.across

        def write(task: Expr) -> None:
            for elements in each(task):
                place = vector(elements.images["y"], elements.lanes)
                T.buffer_store(arrays.given["y"], value(elements), [place])

        return write

    return _kernel(spec, runs.tasks, tasks)


class _Arrays:
    """The flat arrays of a problem, and what is read of them."""

    def __init__(self, spec: QuantizedSpec) -> None:
        self.spec = spec
        shapes = {"x": spec.input_shape, **spec.operands, "y": spec.output_shape}
        sizes = {name: prod(shape) for name, shape in shapes.items()}
        for name in spec.may_be_runs:
            sizes[name] = prod(shapes[name][:-1]) * spec.pitch(name)
        self.given: dict[str, Any] = {
            name: T.arg(name, T.Buffer((size,), spec.dtype_of(name)))
            for name, size in sizes.items()
        }

    def numbers(self, name: str) -> list[Expr]:
        """Return the numbers of a short array, read once."""
        return [T.Bind(self.given[name][at]) for at in range(self.spec.operands[name][0])]

    def read(self, name: str, elements: Elements) -> Expr:
        """Return elements of an image."""
        at = elements.images.get(name, elements.gate)
        return self.given[name][vector(at, elements.lanes)]

    def apart(self, name: str, zero: Expr, elements: Elements) -> Expr:
        """Return how far elements of an image are from its zero point."""
        return apart(self.read(name, elements), zero, elements.lanes)

    def rounded(self, value: Expr, lanes: int, ends: Ends) -> Expr:
        """Return elements of the result."""
        return tirx.Cast(of(self.spec.dtype, lanes), rounded(value, lanes, ends))

    def ends(self, zero: Expr) -> Ends:
        """Return a zero point with the bounds of the kind, or of the type."""
        if "bounds" in self.given:
            return (zero, *self.numbers("bounds"))
        least, most = (tirx.const(bound, "int32") for bound in self.spec.element.range)
        return zero, least, most


_Value: TypeAlias = Callable[[Elements], Expr]


def _quantized(arrays: _Arrays, _: Target) -> _Value:
    (scale,), (zero,) = map(arrays.numbers, ("scale", "zero"))
    ends = arrays.ends(zero)

    def value(elements: Elements) -> Expr:
        real = arrays.read("x", elements) / spread(scale, elements.lanes)
        return arrays.rounded(real, elements.lanes, ends)

    return value


def _dequantized(arrays: _Arrays, _: Target) -> _Value:
    (scale,), (zero,) = map(arrays.numbers, ("scale", "zero"))
    return lambda elements: arrays.apart("x", zero, elements) * spread(scale, elements.lanes)


def _looked_up(arrays: _Arrays, target: Target) -> _Value:
    table = Table(arrays.given["table"], arrays.spec.dtype, target)
    return lambda elements: table.of(arrays.read("x", elements), elements.lanes)


def _sum(arrays: _Arrays, _: Target) -> _Value:
    zero, other, own = arrays.numbers("zeros")
    ends, (first, second) = arrays.ends(own), arrays.numbers("factors")

    def value(elements: Elements) -> Expr:
        terms = arrays.apart("x", zero, elements), arrays.apart("other", other, elements)
        total = added(*terms, (first, second), elements.lanes)
        return arrays.rounded(total, elements.lanes, ends)

    return value


def _product(arrays: _Arrays, _: Target) -> _Value:
    zero, other, own = arrays.numbers("zeros")
    ends, (factor,) = arrays.ends(own), arrays.numbers("factor")

    def value(elements: Elements) -> Expr:
        exact = arrays.apart("x", zero, elements) * arrays.apart("other", other, elements)
        return arrays.rounded(exact * spread(factor, elements.lanes), elements.lanes, ends)

    return value


_VALUES: dict[str, Callable[[_Arrays, Target], _Value]] = {
    "quantize": _quantized, "dequantize": _dequantized, "lookup": _looked_up, "qadd": _sum,
    "qmul": _product,
}  # fmt: skip
"""By the kind: what reads its numbers, and returns how elements of the result are written."""


def _means(spec: QuantizedSpec, target: Target) -> tirx.PrimFunc:
    pixels, channels, lanes = spec.height * spec.width, spec.channels, target.lanes("int32")
    most = max(1, channels * pixels // _ELEMENTS_OF_A_TASK)
    runs = max(1, min(-(-MOST_TASKS // spec.batch), channels // (AT_ONCE * lanes), most))

    def tasks(arrays: _Arrays) -> Callable[[Expr], None]:
        (zero, own), (scale,) = map(arrays.numbers, ("zeros", "scale"))
        ends, factor = arrays.ends(own), T.Bind(scale / tirx.const(pixels, "float32"))
        start = T.Bind(tirx.const(-pixels, "int32") * zero)

        def write(task: Expr) -> None:
            image, run = T.Bind(task // runs), T.Bind(task % runs)
            for begin, some in share(channels, AT_ONCE * lanes, run, runs):
                width, here = some.lanes, vector(0, some.lanes)
                with some.each() as number:
                    channel = T.Bind(begin + number * width)
                    total: Any = T.alloc_buffer((width,), "int32", scope="local")
                    T.buffer_store(total, spread(start, width), [here])
                    with T.serial(0, pixels) as pixel:
                        at = (image * pixels + pixel) * spec.pitch("x") + channel
                        x = tirx.Cast(of("int32", width), arrays.given["x"][vector(at, width)])
                        T.buffer_store(total, total[here] + x, [here])
                    mean = tirx.Cast(of("float32", width), total[here]) * spread(factor, width)
                    place = vector(image * channels + channel, width)
                    T.buffer_store(arrays.given["y"], arrays.rounded(mean, width, ends), [place])

        return write

    return _kernel(spec, spec.batch * runs, tasks)


def _kernel(
    spec: QuantizedSpec, count: int, tasks: Callable[[_Arrays], Callable[[Expr], None]]
) -> tirx.PrimFunc:
    """Return a function of the problem's arrays and a run of so many tasks.

    `tasks` writes what all of them share, and returns what writes one.
    """
    with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
        T.func_name("main")
        T.func_attr({TASKS: count})
        arrays = _Arrays(spec)
        first, last = T.arg("first", T.int32()), T.arg("last", T.int32())
        write = tasks(arrays)
        with T.serial(first, last) as task:
            write(task)
    return builder.get()
