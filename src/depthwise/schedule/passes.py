"""Passes over a run of channels-last pixels: from planes, to planes, and their sum.

Planes are what channels-first data have: all pixels of a channel, then those of the next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.build import TASKS
from depthwise.spec import ConvSpec

Expr: TypeAlias = Any


def gather(spec: ConvSpec) -> tirx.PrimFunc:
    """Return the function `(X, Y, pixels)` from a convolution's input planes to pixels."""
    channels, plane = spec.channels, spec.height * spec.width

    def write(x: Any, y: Any, pixels: Expr) -> None:
        with T.serial(0, channels) as channel, T.serial(0, pixels) as pixel:
            T.buffer_store(y, x[channel * plane + pixel], [pixel * channels + channel])

    return _pass(spec.dtype, {"X": channels * plane, "Y": channels * plane}, write)


def scatter(spec: ConvSpec) -> tirx.PrimFunc:
    """Return the function `(X, residual, Y, pixels)` from pixels to a convolution's output planes.

    The residual, where there is one, is added.
    """
    channels, plane = spec.out_channels, spec.out_height * spec.out_width

    def write(x: Any, *others: Any) -> None:
        *residual, y, pixels = others
        with T.serial(0, channels) as channel, T.serial(0, pixels) as pixel:
            at = channel * plane + pixel
            value = x[pixel * channels + channel]
            T.buffer_store(y, value + residual[0][at] if residual else value, [at])

    names = ["X", "residual", "Y"] if spec.residual else ["X", "Y"]
    return _pass(spec.dtype, dict.fromkeys(names, channels * plane), write)


def total(channels: int, lanes: int, dtype: str) -> tirx.PrimFunc:
    """Return the function `(X, Y, pixels)` that writes the sum of a run of pixels."""

    def write(x: Any, y: Any, pixels: Expr) -> None:
        for start, count in _vectors(channels, lanes):
            with T.serial(0, count[0]) as vector:
                first = vector * count[1] + start
                sums = T.alloc_buffer((count[1],), dtype, scope="local")
                with T.vectorized(0, count[1]) as lane:
                    T.buffer_store(sums, tirx.const(0, dtype), [lane])
                with T.serial(0, pixels) as pixel, T.vectorized(0, count[1]) as lane:
                    T.buffer_store(sums, sums[lane] + x[pixel * channels + first + lane], [lane])
                with T.vectorized(0, count[1]) as lane:
                    T.buffer_store(y, sums[lane], [first + lane])

    return _pass(dtype, {"X": channels, "Y": channels}, write)


def _vectors(channels: int, lanes: int) -> list[tuple[int, tuple[int, int]]]:
    """Return (first channel, (how many vectors, their width)) of the whole ones and the rest."""
    whole, rest = divmod(channels, lanes)
    return [run for run in ((0, (whole, lanes)), (whole * lanes, (1, rest))) if all(run[1])]


def _pass(dtype: str, sizes: dict[str, int], write: Callable[..., None]) -> tirx.PrimFunc:
    """Return a function of arrays of these sizes and of a number of pixels."""
    with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
        T.func_name("main")
        T.func_attr({TASKS: 1})
        arrays = [T.arg(name, T.Buffer((size,), dtype)) for name, size in sizes.items()]
        write(*arrays, T.arg("pixels", T.int32()))
    return builder.get()
