"""Norms with the statistics of whole images, channels-last, written with their schedule.

The first program, `(X, statistics)`, finds the mean of each run of pixels and of each group of
channels, and the sum of the squares of what is apart from it; means are those of how far numbers
are from one of them, so that large ones that differ little lose nothing.  The second program,
`(statistics, weight, factors)`, finds the mean of each channel of an image and what it is
multiplied by; the third one, `(X, factors, bias, Y)`, the result.  Means and squares of parts make
those of the whole as in Chan, Golub and LeVeque, "Algorithms for Computing the Sample Variance",
1983.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from math import prod
from operator import add
from typing import Any, NamedTuple, TypeAlias

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.machine.target import Target
from depthwise.problem.pixels import PixelSpec
from depthwise.programs import define_pixels
from depthwise.programs.build import SCRATCH_BYTES, SYMBOL, TASKS, Program
from depthwise.programs.direct import spread, vector, zero
from depthwise.programs.pixel_runs import MOST_TASKS, across, pieces
from depthwise.schedule.pixel_passes import runs
from depthwise.schedule.steps import Step

Expr: TypeAlias = Any


def programs(spec: PixelSpec, steps: Sequence[Step], target: Target) -> tuple[Program, ...]:
    """Return the programs of the three steps of a norm."""
    writing = _Writing(spec, steps, target)
    definition = {SYMBOL: define_pixels.define(spec)}
    return (
        Program(definition, {SYMBOL: writing.statistics()}, target),
        Program({}, {SYMBOL: writing.factors()}, target),
        Program({}, {SYMBOL: writing.result()}, target),
    )


class _Far(NamedTuple):
    """How far elements are from a number, or the square of it."""

    X: Any
    start: Expr
    """Where the first vector of the first pixel is."""
    width: int
    """Elements of a vector."""
    number: Expr
    """What they are compared with, as a vector."""
    squared: bool


class _Writing:
    def __init__(self, spec: PixelSpec, steps: Sequence[Step], target: Target) -> None:
        self._spec, self._lanes = spec, target.lanes(spec.dtype)
        self._runs = runs(spec)
        self._of_a_group = spec.channels // spec.groups
        self._shapes = {"X": spec.input_shape, **spec.operands, "Y": spec.output_shape}
        for step in steps:
            self._shapes |= {name: buffer.shape for name, buffer in step.buffers.items()}

    def statistics(self) -> Any:
        """Return the function that finds those of runs."""
        narrow = self._of_a_group < self._lanes
        way = self._by_channel if narrow else self._by_group
        scratch = self._spec.channels if narrow else 0
        return self._function(("X", "statistics"), self._count, way, scratch)

    def factors(self) -> Any:
        """Return the function that finds those of images."""
        sizes = ("statistics", "weight", "factors")
        return self._function(sizes, self._spec.batch, self._of_image, 2 * self._spec.groups)

    def result(self) -> Any:
        """Return the function that normalises."""
        return self._function(("X", "factors", "bias", "Y"), self._count, self._normalised)

    @property
    def _count(self) -> int:
        return self._runs.images * self._runs.count

    def _function(
        self, names: tuple[str, ...], count: int, write: Callable[..., None], scratch: int = 0
    ) -> Any:
        """Return a function of arrays that writes so many parts, some in each task.

        Args:
            names: what the arrays are called.
            count: how many parts.
            write: writes one, of the arrays, the scratch memory where there is some, its number.
            scratch: elements of that.
        """
        tasks, dtype = min(MOST_TASKS, count), self._spec.element.tvm
        with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
            T.func_name("main")
            T.func_attr({TASKS: tasks, SCRATCH_BYTES: scratch * self._spec.element.computed.bytes})
            sizes = {name: prod(self._shapes[name]) for name in names}
            sizes |= {"scratch": scratch} if scratch else {}
            arrays = [T.arg(name, T.Buffer((size,), dtype)) for name, size in sizes.items()]
            first, last = T.arg("first", T.int32()), T.arg("last", T.int32())
            with T.serial(first, last) as task:
                begin, end = T.Bind(count * task // tasks), T.Bind(count * (task + 1) // tasks)
                with T.serial(begin, end) as part:
                    write(*arrays, part)
        return builder.get()

    def _pixels_of(self, part: Expr) -> tuple[Expr, Expr]:
        """Return the first pixel of a run, of all images, and how many there are."""
        count, pixels = self._runs.count, self._runs.pixels
        image, run = T.Bind(part // count), T.Bind(part % count)
        begin = T.Bind(pixels * run // count)
        return T.Bind(image * pixels + begin), T.Bind(pixels * (run + 1) // count - begin)

    def _number(self, value: Expr) -> Expr:
        return T.Bind(tirx.Cast(self._spec.element.tvm, value))

    def _by_group(self, X: Any, statistics: Any, part: Expr) -> None:
        """Write the statistics of a run where groups fill vectors."""
        first, pixels = self._pixels_of(part)
        channels, groups, size = self._spec.channels, self._spec.groups, self._of_a_group
        elements = self._number(pixels * size)
        with T.serial(0, groups) as group:
            start = T.Bind(first * channels + group * size)
            one = T.Bind(X[start])
            mean = T.Bind(one + self._total(X, start, pixels, one) / elements)
            squares = self._total(X, start, pixels, mean, squared=True)
            at = T.Bind(part * (2 * groups) + group)
            T.buffer_store(statistics, mean, [at])
            T.buffer_store(statistics, squares, [at + groups])

    def _total(
        self, X: Any, start: Expr, pixels: Expr, number: Expr, *, squared: bool = False
    ) -> Expr:
        """Return the sum of how far a group of channels is from a number, or of its squares."""
        found = []
        for begin, count, width in pieces(self._of_a_group, self._lanes):
            far = _Far(X, start + begin, width, spread(number, width), squared)
            found.append(across(self._of_piece(far, (pixels, count)), width))
        return T.Bind(reduce(add, found))

    def _by_channel(self, X: Any, statistics: Any, near: Any, part: Expr) -> None:
        """Write the statistics of a run where several groups are in a vector.

        Sums are those of channels, and added up for each group.
        """
        first, pixels = self._pixels_of(part)
        groups, size = self._spec.groups, self._of_a_group
        at, count = T.Bind(part * (2 * groups)), tirx.const(size, self._spec.element.tvm)
        for here, start, width in self._channels(first):
            one = T.Bind(X[vector(start, width)])
            total = self._of_piece(_Far(X, start, width, one, squared=False), (pixels, 1))
            mean = one + total / spread(self._number(pixels), width)
            T.buffer_store(near, mean, [here])
        with T.serial(0, groups) as group:
            mean = T.Bind(self._of_group(near, group) / count)
            T.buffer_store(statistics, mean, [at + group])
            with T.serial(0, size) as channel:
                T.buffer_store(near, mean, [group * size + channel])
        for here, start, width in self._channels(first):
            far = _Far(X, start, width, T.Bind(near[here]), squared=True)
            T.buffer_store(near, self._of_piece(far, (pixels, 1)), [here])
        with T.serial(0, groups) as group:
            T.buffer_store(statistics, self._of_group(near, group), [at + groups + group])

    def _channels(self, first: Expr) -> Iterator[tuple[Expr, Expr, int]]:
        """Write the loops over the channels of a pixel, in vectors.

        Yields:
            Which channels they are, where the first of them is, and their number.
        """
        channels = self._spec.channels
        for begin, count, width in pieces(channels, self._lanes):
            with T.serial(0, count) as number:
                channel = T.Bind(begin + number * width)
                yield vector(channel, width), T.Bind(first * channels + channel), width

    def _of_group(self, near: Any, group: Expr) -> Expr:
        """Return the sum of the channels of a group."""
        size = self._of_a_group
        return self._sums(1, (size, 1), lambda channel, _: near[group * size + channel])

    def _of_piece(self, far: _Far, extents: tuple[Expr, Expr]) -> Expr:
        """Return the sum over so many pixels, and vectors of each, as one vector."""

        def value(pixel: Expr, number: Expr) -> Expr:
            at = far.start + pixel * self._spec.channels + number * far.width
            apart = far.X[vector(at, far.width)] - far.number
            return _square(apart) if far.squared else apart

        return self._sums(far.width, extents, value)

    def _sums(
        self, width: int, extents: tuple[Expr, Expr], value: Callable[[Expr, Expr], Expr]
    ) -> Expr:
        """Return the sum of vectors, of which there are so many times so many."""
        total = T.alloc_buffer((width,), self._spec.element.tvm, scope="local")
        here = vector(0, width)
        T.buffer_store(total, zero(self._spec.element.tvm, width), [here])
        with T.serial(0, extents[0]) as outer, T.serial(0, extents[1]) as inner:
            T.buffer_store(total, total[here] + value(outer, inner), [here])
        return T.Bind(total[here])

    def _of_image(self, statistics: Any, weight: Any, factors: Any, near: Any, image: Expr) -> None:
        """Write what an image's channels are normalised with."""
        groups, channels, size = self._spec.groups, self._spec.channels, self._of_a_group
        for begin, count, width in pieces(groups, self._lanes):
            with T.serial(0, count) as number:
                group = T.Bind(begin + number * width)
                mean, scale = self._of_runs(statistics, image, group, width)
                T.buffer_store(near, mean, [vector(group, width)])
                T.buffer_store(near, scale, [vector(groups + group, width)])
        at = T.Bind(image * (2 * channels))
        with T.serial(0, groups) as group, T.serial(0, size) as channel:
            here = group * size + channel
            T.buffer_store(factors, near[group], [at + here])
            T.buffer_store(factors, near[groups + group] * weight[here], [at + channels + here])

    def _of_runs(self, statistics: Any, image: Expr, group: Expr, width: int) -> tuple[Expr, Expr]:
        """Return the mean of neighbouring groups of an image, and 1 / sqrt(variance + epsilon)."""
        runs, groups = self._runs.count, self._spec.groups

        def number(value: float) -> Expr:
            return spread(tirx.const(value, self._spec.element.tvm), width)

        def of_run(run: Expr, which: int) -> tuple[Expr, Expr]:
            """Return how many pixels a run has, and its mean (0) or squares (1)."""
            part = T.Bind(image * runs + run)
            _, pixels = self._pixels_of(part)
            at = T.Bind((part * 2 + which) * groups + group)
            return spread(self._number(pixels), width), T.Bind(statistics[vector(at, width)])

        _, one = of_run(0, 0)

        def weighed(run: Expr, _: Expr) -> Expr:
            pixels, mean = of_run(run, 0)
            return pixels * (mean - one)

        mean = T.Bind(one + self._sums(width, (runs, 1), weighed) / number(self._runs.pixels))

        def spread_out(run: Expr, _: Expr) -> Expr:
            (pixels, its_mean), (_, squares) = of_run(run, 0), of_run(run, 1)
            return squares / number(self._of_a_group) + pixels * _square(its_mean - mean)

        variance = self._sums(width, (runs, 1), spread_out) / number(self._runs.pixels)
        root = tirx.sqrt(variance + number(self._spec.epsilon))
        return mean, T.Bind(number(1) / root)

    def _normalised(self, X: Any, factors: Any, bias: Any, Y: Any, part: Expr) -> None:
        """Write the pixels of a run."""
        first, pixels = self._pixels_of(part)
        channels = self._spec.channels
        mean_of = T.Bind(part // self._runs.count * (2 * channels))
        with T.serial(first, first + pixels) as pixel:
            for begin, count, width in pieces(channels, self._lanes):
                with T.serial(0, count) as number:
                    channel = T.Bind(begin + number * width)
                    here = vector(pixel * channels + channel, width)
                    mean, scale = (
                        factors[vector(mean_of + start + channel, width)] for start in (0, channels)
                    )
                    value = (X[here] - mean) * scale + bias[vector(channel, width)]
                    T.buffer_store(Y, value, [here])


def _square(value: Expr) -> Expr:
    value = T.Bind(value)
    return value * value
