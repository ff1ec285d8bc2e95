"""The kernels of a gradient with respect to the weight, written with their schedule.

The first, `(grad, X, A)`, sums products of outputs' gradients and inputs, each task over its part
of the rows of all images; the second, `(A, Y)`, adds the parts up, always in the same order, so
that the result does not depend on the threads.  A is (parts, multiplier, KH * KW, C), with the sums
of the gradient behind the taps where there is a bias.
"""

from __future__ import annotations

from math import prod
from typing import Any, TypeAlias

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.programs import near
from depthwise.programs.build import SCRATCH_BYTES, SYMBOL, TASKS
from depthwise.programs.direct import Parts, Pixels, Vectors, last_source, share, zero
from depthwise.programs.near import Images
from depthwise.programs.pixel_runs import vectors
from depthwise.programs.weight_tiles import Row
from depthwise.schedule.weight_gradient import Sums
from depthwise.schedule.window import axes

Expr: TypeAlias = Any


def functions(sums: Sums) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the functions of both kernels."""
    work = _Work(sums)
    stay = work.grads.stays and work.inputs.stays
    return work.in_place() if stay else work.near(), {SYMBOL: _total(sums)}


class _Work:
    def __init__(self, sums: Sums) -> None:
        self.sums, self.conv = sums, sums.conv
        self.grads, self.inputs = Images.outputs(self.conv), Images.inputs(self.conv)
        self.rows, _ = axes(self.conv)
        stay = self.grads.stays and self.inputs.stays
        self.ahead = sums.lanes if sums.ahead and stay else 0

    def _declare(self) -> None:
        conv = self.conv
        sizes = {"G": prod(conv.output_shape), "X": prod(conv.input_shape), "A": self.sums.size}
        self.g, self.x, self.a = (
            T.arg(name, T.Buffer((size,), conv.element.tvm)) for name, size in sizes.items()
        )

    def in_place(self) -> dict[str, Any]:
        """Return the kernel where data stay."""
        conv, sums = self.conv, self.sums
        rows = conv.batch * conv.out_height
        with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
            T.func_name("main")
            T.func_attr({TASKS: sums.parts * sums.runs})
            self._declare()
            first, last = T.arg("first", T.int32()), T.arg("last", T.int32())
            with T.serial(first, last) as task:
                part, run = T.Bind(task // sums.runs), T.Bind(task % sums.runs)
                for channel, channels in share(conv.channels, sums.lanes, run, sums.runs):
                    self._clear(part, channel, channels)
                    low, high = self._share(rows, part)
                    with T.serial(low, high) as place:
                        image = T.Bind(place // conv.out_height)
                        self._row(
                            part, channel, channels, place % conv.out_height,
                            Parts(self.grads.pixels(self.g, image, channel)),
                            self.inputs.pixels(self.x, image, channel),
                        )  # fmt: skip
        return {SYMBOL: builder.get()}

    def near(self) -> dict[str, Any]:
        """Return the kernel and its functions where strips are brought near."""
        conv, width = self.conv, min(self.sums.block, self.conv.channels)
        rows, strip_rows, most = self.rows, *self._strip(width)
        strips = -(-conv.out_height // strip_rows)
        runs = vectors(conv.channels, width)
        blocks = sum(count for _, (count, _) in runs)
        grad_size = 0 if self.grads.stays else self.grads.size(width, strip_rows)
        size = grad_size + (0 if self.inputs.stays else self.inputs.size(width, most))
        found: dict[str, Any] = {}
        for _, (_, channels) in runs:
            for images, count in ((self.grads, strip_rows), (self.inputs, most)):
                if not images.stays:
                    found |= images.functions(channels, count, self.sums.lanes, back=False)

        with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
            T.func_name("main")
            scratch_bytes = size * conv.element.computed.bytes
            T.func_attr({TASKS: self.sums.parts * blocks, SCRATCH_BYTES: scratch_bytes})
            self._declare()
            scratch = T.arg("scratch", T.Buffer((size,), conv.element.tvm))
            first, last = T.arg("first", T.int32()), T.arg("last", T.int32())

            def strip(part: Expr, image: Expr, begin: Expr, channel: Expr, channels: int) -> None:
                end = T.Bind(T.min(begin + strip_rows, conv.out_height))
                grads = Parts(self.grads.pixels(self.g, image, channel))
                if not self.grads.stays:
                    self.grads.bring(
                        self.g, image, channel, begin, end - begin, scratch, 0, channels, strip_rows
                    )
                    grads = self.grads.parts(scratch, 0, channels, strip_rows, begin)
                inputs = self.inputs.pixels(self.x, image, channel)
                if not self.inputs.stays:
                    low = T.Bind(T.max(0, begin * rows.stride - rows.before))
                    high = T.min(last_source(rows, end - 1) + 1, conv.height)
                    self.inputs.bring(
                        self.x, image, channel, low, T.max(0, high - low), scratch, grad_size,
                        channels, most,
                    )  # fmt: skip
                    inputs = self.inputs.parts(scratch, grad_size, channels, most, low).first
                with T.serial(begin, end) as row:
                    for start, (number, lanes) in vectors(channels, self.sums.lanes):
                        self._row(
                            part, channel + start, Vectors(number, lanes), row,
                            grads.after(start), inputs.after(start),
                        )  # fmt: skip

            with T.serial(first, last) as task:
                part, block = T.Bind(task // blocks), T.Bind(task % blocks)
                low, high = self._share(conv.batch * strips, part)
                for channel, channels in near.among(runs, block):
                    for start, (number, lanes) in vectors(channels, self.sums.lanes):
                        self._clear(part, channel + start, Vectors(number, lanes))
                    with T.serial(low, high) as place:
                        begin = T.Bind(place % strips * strip_rows)
                        strip(part, place // strips, begin, channel, channels)
        return {**found, SYMBOL: builder.get()}

    def _strip(self, width: int) -> tuple[int, int]:
        """Return the rows of a strip, and the most rows of the input that they read."""
        conv, rows = self.conv, self.rows
        pixels = conv.multiplier * conv.out_width + rows.stride * conv.width
        strip_rows = near.strip_rows(pixels, width, conv.element.computed.bytes, conv.out_height)
        reach = (rows.taps - 1) * rows.dilation
        return strip_rows, min(conv.height, (strip_rows - 1) * rows.stride + reach + 1)

    def _share(self, rows: int, part: Expr) -> tuple[Expr, Expr]:
        """Return the first row of a part, and the row to stop before."""
        parts = self.sums.parts
        return T.Bind(rows * part // parts), T.Bind(rows * (part + 1) // parts)

    def _place(self, part: Expr, source: Expr, place: Expr, channel: Expr) -> Expr:
        """Return where a sum of a part lies."""
        conv, places = self.conv, self.sums.places
        return ((part * conv.multiplier + source) * places + place) * conv.channels + channel

    def _clear(self, part: Expr, channel: Expr, channels: Vectors) -> None:
        """Set the sums of a part to zero."""
        places = self.conv.multiplier * self.sums.places
        with T.serial(0, places) as place, channels.each() as number:
            at = T.Bind(self._place(part, 0, place, channel) + number * channels.lanes)
            nothing = zero(self.conv.element.tvm, channels.lanes)
            T.buffer_store(self.a, nothing, [channels.run(at)])

    def _row(
        self, part: Expr, channel: Expr, channels: Vectors, row: Expr,
        grads: Parts, inputs: Pixels,
    ) -> None:  # fmt: skip
        """Write the loops that add what one row of outputs contributes."""
        for source, grad in grads.each():
            places = Pixels(self.a, self._place(part, source, 0, channel), 0, self.conv.channels)
            Row(self.sums, self.ahead, row, channels, grad, inputs, places).add()


def _total(sums: Sums) -> Any:
    """Return the kernel that adds up the parts; a task is a vector of channels."""
    conv, places = sums.conv, sums.places
    taps = prod(conv.kernel)
    segments = vectors(conv.channels, sums.lanes)
    with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
        T.func_name("main")
        T.func_attr({TASKS: sum(count for _, (count, _) in segments)})
        a = T.arg("A", T.Buffer((sums.size,), conv.element.tvm))
        y = T.arg("Y", T.Buffer((places * conv.out_channels,), conv.element.tvm))
        first, last = T.arg("first", T.int32()), T.arg("last", T.int32())

        def add_up(channel: Expr, lanes: int) -> None:
            channels = Vectors(1, lanes)
            with T.serial(0, conv.multiplier) as source, T.serial(0, places) as place:
                total = T.alloc_buffer((lanes,), conv.element.tvm, scope="local")
                T.buffer_store(total, zero(conv.element.tvm, lanes), [channels.run(0)])
                with T.serial(0, sums.parts) as part:
                    row = (part * conv.multiplier + source) * places + place
                    more = a[channels.run(row * conv.channels + channel)]
                    T.buffer_store(total, total[channels.run(0)] + more, [channels.run(0)])
                with T.serial(0, lanes) as lane:
                    output = T.Bind((channel + lane) * conv.multiplier + source)
                    at = output * taps + place
                    if conv.bias:
                        behind = conv.out_channels * taps + output
                        at = tirx.Select(place < taps, at, behind)
                    T.buffer_store(y, total[lane], [at])

        with T.serial(first, last) as task:
            for channel, lanes in near.among(segments, task):
                add_up(channel, lanes)
    return builder.get()
