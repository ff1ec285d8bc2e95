"""Attention, written with its schedule: two products with a softmax between them, in cache.

A task takes some blocks of the queries of a head.  Those of a block are brought into a panel, from
which their scores go to a strip of scratch memory, a row for each key; the softmax of the strip is
the first matrix of the second product.  See `schedule/attention.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, TypeAlias

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.machine.target import Target
from depthwise.problem.attention import AttentionSpec
from depthwise.programs import define_attention, pixel_runs, products
from depthwise.programs.activations import activate
from depthwise.programs.build import SCRATCH_BYTES, SYMBOL, TASKS, Program
from depthwise.programs.direct import vector, zero
from depthwise.schedule import attention
from depthwise.schedule.plan import Plan
from depthwise.schedule.tiling import Panels, packed_columns

Expr: TypeAlias = Any

_BRING = "queries_to_panel"


def programs(spec: AttentionSpec, plan: Plan, target: Target) -> tuple[Program]:
    """Return the one program of attention."""
    del plan
    definition, written = define_attention.define(spec), _Attention(spec, target)
    return (Program({SYMBOL: definition}, written.functions(), target),)


class _Attention:
    def __init__(self, spec: AttentionSpec, target: Target) -> None:
        self._spec, self._dtype = spec, spec.element.tvm
        self._lanes = target.lanes(spec.dtype)
        self._blocks = attention.blocks(spec, target)
        self._in_place = spec.width_of_values % self._lanes == 0
        """Whether the vectors of the second product are read from the values where they lie."""
        columns = self._blocks.columns
        self._strip_at = spec.depth * columns
        self._values_at = self._strip_at + spec.keys * columns
        near = 0 if self._in_place else spec.keys * packed_columns(self._blocks.results)
        self._size = self._values_at + near
        self._arrays: dict[str, Any] = {}

    def functions(self) -> dict[str, tirx.PrimFunc]:
        """Return the kernel, and what brings queries to a panel."""
        spec = self._spec
        bring = pixel_runs.scatter(
            spec.depth, self._blocks.columns, spec.channels, self._dtype, self._lanes
        )
        return {_BRING: bring, SYMBOL: self._kernel()}

    def _kernel(self) -> tirx.PrimFunc:
        spec, blocks = self._spec, self._blocks
        heads = spec.batch * spec.heads
        shapes = {"X": spec.input_shape, **spec.operands, "Y": spec.output_shape}
        with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
            T.func_name("main")
            T.func_attr(
                {
                    TASKS: heads * blocks.runs,
                    SCRATCH_BYTES: self._size * spec.element.computed.bytes,
                }
            )
            self._arrays = {
                name: T.arg(name, T.Buffer((prod(shape),), self._dtype))
                for name, shape in shapes.items()
            }
            self._scratch = T.arg("scratch", T.Buffer((self._size,), self._dtype))
            first, last = T.arg("first", T.int32()), T.arg("last", T.int32())
            if blocks.queries < blocks.columns:
                self._clear(spec.depth * blocks.columns)
            with T.serial(first, last) as task:
                run, place = T.Bind(task % blocks.runs), T.Bind(task // blocks.runs)
                image, head = T.Bind(place // spec.heads), T.Bind(place % spec.heads)
                if not self._in_place:
                    with T.If(tirx.any(task == first, run == 0)), T.Then():
                        self._bring_values(image, head)
                begin = T.Bind(blocks.count * run // blocks.runs)
                end = T.Bind(blocks.count * (run + 1) // blocks.runs)
                with T.serial(begin, end) as number:
                    self._block(image, head, number)
        return builder.get()

    def _clear(self, count: int) -> None:
        """Make a panel with columns that are no query's hold numbers."""
        with T.serial(0, count // self._lanes) as step:
            at = vector(step * self._lanes, self._lanes)
            T.buffer_store(self._scratch, zero(self._dtype, self._lanes), [at])

    def _bring_values(self, image: Expr, head: Expr) -> None:
        """Copy a head's channels of the values to panels, zeros beside them."""
        spec, scratch, value = self._spec, self._scratch, self._arrays["value"]
        for panel in self._blocks.results:
            with T.serial(0, panel.count) as index, T.serial(0, spec.keys) as key:
                column = T.Bind(index * panel.width + panel.start)
                row = T.Bind((image * spec.keys + key) * spec.out_channels + column)
                source = T.Bind(row + head * spec.width_of_values)
                target = T.Bind(self._values_at + column * spec.keys + key * panel.width)
                for start in range(0, panel.width, self._lanes):
                    there = max(0, min(self._lanes, panel.used - start))
                    if there < self._lanes:
                        at = [vector(target + start, self._lanes)]
                        T.buffer_store(scratch, zero(self._dtype, self._lanes), at)
                    if there:
                        values = value[vector(source + start, there)]
                        T.buffer_store(scratch, values, [vector(target + start, there)])

    def _block(self, image: Expr, head: Expr, number: Expr) -> None:
        """Write what computes a block of queries."""
        spec, blocks = self._spec, self._blocks
        wanted = T.Bind(number * blocks.queries)
        begin = T.Bind(T.min(wanted, spec.pixels - blocks.queries))
        pixel = T.Bind(image * spec.pixels + begin)
        source = T.Bind(pixel * spec.channels + head * spec.depth)
        T.evaluate(
            tirx.call_extern(
                "void", _BRING, T.address_of(self._arrays["X"][source]),
                T.address_of(self._scratch[0]), blocks.queries,
            )
        )  # fmt: skip
        most = self._row_of(-math.inf)
        self._scores(image, head, begin, most)
        sums = self._softmax(most)
        first = T.Bind(T.min(wanted - begin, blocks.queries - blocks.fewest_rows))
        self._results(image, head, pixel, first, sums)

    def _row_of(self, number: float) -> Any:
        """Return a buffer of as many elements as a row of the strip has, filled with a number."""
        row = T.alloc_buffer((self._blocks.columns,), self._dtype, scope="local")
        for start in range(0, self._blocks.columns, self._lanes):
            with T.vectorized(0, self._lanes) as lane:
                T.buffer_store(row, tirx.const(number, self._dtype), [start + lane])
        return row

    def _scores(self, image: Expr, head: Expr, begin: Expr, most: Any) -> None:
        """Write the strip of scores, and the largest of each query."""
        spec, blocks, scratch = self._spec, self._blocks, self._scratch
        key = self._arrays["key"]
        keys_at = T.Bind(image * (spec.keys * spec.channels) + head * spec.depth)
        bias_at = None
        if spec.biases:
            place = image % spec.biases * spec.heads + head
            bias_at = T.Bind(place * (spec.keys * spec.pixels) + begin)

        def rows(top: Expr, count: int) -> Sequence[Callable[[Expr], Expr]]:
            at = T.Bind(keys_at + top * spec.channels)
            return [_from(key, at + number * spec.channels) for number in range(count)]

        def store(total: Expr, k: Expr, query: Expr) -> None:
            score = total * tirx.const(spec.scale, self._dtype)
            if bias_at is not None:
                score = score + self._arrays["bias"][bias_at + k * spec.pixels + query]
            at = self._strip_at + k * blocks.columns + query
            T.buffer_store(scratch, score, [at])
            T.buffer_store(most, T.max(most[query], scratch[at]), [query])

        products.product(
            (blocks.scores,), 0, spec.keys, ((spec.depth, 1),), self._lanes, self._dtype,
            a=rows, b=lambda panel, _: lambda d, query: scratch[d * panel.width + query],
            store=store,
        )  # fmt: skip

    def _softmax(self, most: Any) -> Any:
        """Write the strip of weights, and return the sum of each query's."""
        blocks, scratch = self._blocks, self._scratch
        sums = self._row_of(0)
        with T.serial(0, self._spec.keys) as k:
            row = T.Bind(self._strip_at + k * blocks.columns)
            for start in range(0, blocks.columns, self._lanes):
                with T.vectorized(0, self._lanes) as lane:
                    query = start + lane
                    weight = activate("exp", scratch[row + query] - most[query], self._dtype)
                    T.buffer_store(scratch, weight, [row + query])
                    T.buffer_store(sums, sums[query] + scratch[row + query], [query])
        return sums

    def _results(self, image: Expr, head: Expr, pixel: Expr, first: Expr, sums: Any) -> None:
        """Write the results of a block's queries from one on.

        Args:
            image: which image.
            head: which head.
            pixel: the block's first query, of those of all images.
            first: the first to be computed, of those of the block.
            sums: of the weights of each.
        """
        spec, blocks, scratch = self._spec, self._blocks, self._scratch
        columns, y = blocks.columns, self._arrays["Y"]
        inverse = T.alloc_buffer((columns,), self._dtype, scope="local")
        for start in range(0, columns, self._lanes):
            with T.vectorized(0, self._lanes) as lane:
                one = tirx.const(1, self._dtype)
                T.buffer_store(inverse, one / sums[start + lane], [start + lane])
        channels_at = T.Bind(head * spec.width_of_values)

        def rows(top: Expr, count: int) -> Sequence[Callable[[Expr], Expr]]:
            at = T.Bind(self._strip_at + top)
            return [_from(scratch, at + number) for number in range(count)]

        def store(total: Expr, query: Expr, channel: Expr) -> None:
            at = (pixel + query) * spec.out_channels + channels_at + channel
            T.buffer_store(y, total * inverse[query], [at])

        products.product(
            blocks.results, first, blocks.queries, ((spec.keys, columns),), self._lanes,
            self._dtype, a=rows, b=self._values(image, channels_at), store=store,
        )  # fmt: skip

    def _values(
        self, image: Expr, channels_at: Expr
    ) -> Callable[[Panels, Expr], Callable[[Expr, Expr], Expr]]:
        """Return what makes a panel of the values ready."""
        spec, scratch, value = self._spec, self._scratch, self._arrays["value"]

        def panel_of(panel: Panels, column: Expr) -> Callable[[Expr, Expr], Expr]:
            if self._in_place:
                begin = T.Bind(image * (spec.keys * spec.out_channels) + channels_at + column)
                return lambda k, n: value[begin + k * spec.out_channels + n]
            at = T.Bind(self._values_at + column * spec.keys)
            return lambda k, n: scratch[at + k * panel.width + n]

        return panel_of


def _from(array: Any, begin: Expr) -> Callable[[Expr], Expr]:
    return lambda distance: array[begin + distance]
