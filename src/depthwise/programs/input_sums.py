"""The kernel `(grad, K, Y)` of a gradient with respect to the input, written with its schedule.

K is (KH, KW, multiplier, C).  A task is a row of a run of channels where data are computed in
place, and a strip of a block of channels where they are brought near.
"""

from __future__ import annotations

from math import prod
from typing import Any, TypeAlias

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.problem.spec import ConvSpec
from depthwise.programs import near
from depthwise.programs.build import SCRATCH_BYTES, SYMBOL, TASKS
from depthwise.programs.direct import Direct, Parts, Pixels, Vectors, last_source, share
from depthwise.programs.near import Images
from depthwise.programs.pixel_runs import vectors
from depthwise.schedule.plan import Plan
from depthwise.schedule.window import axes

Expr: TypeAlias = Any


def functions(conv: ConvSpec, plan: Plan, lanes: int, *, ahead: bool, runs: int) -> dict[str, Any]:
    """Return the functions of the kernel.

    Args:
        conv: the convolution.
        plan: `tw` inputs in a tile, `tc` channels in a block that is brought near.
        lanes: elements of a vector.
        ahead: whether rows are fetched ahead where data are computed in place.
        runs: into how many runs the channels are cut there.
    """
    stays = Images.outputs(conv).stays
    work = _Work(conv, plan, lanes, ahead and stays)
    if stays:
        return {SYMBOL: work.in_place(runs)}
    return work.near()


class _Work:
    def __init__(self, conv: ConvSpec, plan: Plan, lanes: int, ahead: bool) -> None:
        self.conv, self.plan, self.lanes = conv, plan, lanes
        self.grads, self.inputs = Images.outputs(conv), Images.inputs(conv)
        rows, columns = axes(conv, backward=True)
        self.direct = Direct(rows, columns, plan.tw, conv.element.tvm, lanes if ahead else 0)

    def _declare(self) -> None:
        conv = self.conv
        sizes = {
            "G": prod(conv.output_shape),
            "K": prod(conv.kernel) * conv.out_channels,
            "Y": prod(conv.input_shape),
        }
        self.g, self.k, self.y = (
            T.arg(name, T.Buffer((size,), conv.element.tvm)) for name, size in sizes.items()
        )

    def _row(
        self, row: Expr, target: Pixels, sources: Parts, channel: Expr, channels: Vectors
    ) -> None:
        """Write the loops of one row of some channels."""
        conv = self.conv

        def weights(tap: Expr, s: Any, source: Expr) -> tuple[Any, Expr]:
            place = (tap * conv.kernel[1] + s) * conv.multiplier + source
            return self.k, place * conv.channels + channel

        self.direct.row(target, row, sources, weights, channels)

    def in_place(self, runs: int) -> Any:
        """Return the kernel where data stay."""
        conv, lanes = self.conv, self.lanes
        with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
            T.func_name("main")
            T.func_attr({TASKS: conv.batch * conv.height * runs})
            self._declare()
            first, last = T.arg("first", T.int32()), T.arg("last", T.int32())
            with T.serial(first, last) as task:
                run = T.Bind(task % runs)
                row = T.Bind(task // runs % conv.height)
                image = T.Bind(task // (runs * conv.height))
                for channel, channels in share(conv.channels, lanes, run, runs):
                    self._row(
                        row, self.inputs.pixels(self.y, image, channel),
                        Parts(self.grads.pixels(self.g, image, channel)), channel, channels,
                    )  # fmt: skip
        return builder.get()

    def near(self) -> dict[str, Any]:
        """Return the kernel and its functions where strips are brought near."""
        conv, width = self.conv, min(self.plan.tc, self.conv.channels)
        pixels = conv.multiplier * conv.out_width + self.inputs.planes * conv.width
        rows, strip_rows = (
            self.direct.rows,
            near.strip_rows(pixels, width, conv.element.computed.bytes, conv.height),
        )
        reach = (rows.taps - 1) * rows.dilation
        most = min(conv.out_height, (strip_rows - 1 + reach) // rows.stride + 2)
        strips = -(-conv.height // strip_rows)
        runs = vectors(conv.channels, width)
        blocks = sum(count for _, (count, _) in runs)
        grad_size = self.grads.size(width, most)
        size = grad_size + self.inputs.planes * self.inputs.size(width, strip_rows)
        found: dict[str, Any] = {}
        for _, (_, channels) in runs:
            found |= self.grads.functions(channels, most, self.lanes, back=False)
            if self.inputs.planes:
                found |= self.inputs.functions(channels, strip_rows, self.lanes, back=True)

        with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
            T.func_name("main")
            attributes = {
                TASKS: conv.batch * blocks * strips,
                SCRATCH_BYTES: size * conv.element.computed.bytes,
            }
            T.func_attr(attributes)
            self._declare()
            scratch = T.arg("scratch", T.Buffer((size,), conv.element.tvm))
            first, last = T.arg("first", T.int32()), T.arg("last", T.int32())

            def strip(image: Expr, channel: Expr, begin: Expr, end: Expr, channels: int) -> None:
                lowest = tirx.floordiv(begin + rows.before - reach, rows.stride)
                low = T.Bind(T.max(0, T.min(lowest, conv.out_height)))
                high = T.min(last_source(rows, end - 1) + 1, conv.out_height)
                count = T.Bind(T.max(0, high - low))
                self.grads.bring(self.g, image, channel, low, count, scratch, 0, channels, most)
                sources = self.grads.parts(scratch, 0, channels, most, low)
                if self.inputs.planes:
                    near_by = self.inputs.parts(scratch, grad_size, channels, strip_rows, begin)
                    target = near_by.first
                else:
                    target = self.inputs.pixels(self.y, image, channel)
                with T.serial(begin, end) as row:
                    for start, (number, lanes) in vectors(channels, self.lanes):
                        self._row(
                            row, target.after(start), sources.after(start), channel + start,
                            Vectors(number, lanes),
                        )  # fmt: skip
                if self.inputs.planes:
                    self.inputs.bring(
                        self.y, image, channel, begin, end - begin, scratch, grad_size, channels,
                        strip_rows, back=True,
                    )  # fmt: skip

            with T.serial(first, last) as task:
                begin = T.Bind(task % strips * strip_rows)
                end = T.Bind(T.min(begin + strip_rows, conv.height))
                block = T.Bind(task // strips % blocks)
                image = T.Bind(task // (strips * blocks))
                for channel, channels in near.among(runs, block):
                    strip(image, channel, begin, end, channels)
        return {**found, SYMBOL: builder.get()}
