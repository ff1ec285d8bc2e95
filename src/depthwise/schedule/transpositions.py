"""Runs of pixels between planes, as channels-first data have them, and channels-last strips."""

from __future__ import annotations

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
    with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
        T.func_name("main")
        T.func_attr({TASKS: 1})
        x = T.arg("X", T.Buffer((channels * plane,), spec.dtype))
        y = T.arg("Y", T.Buffer((channels * plane,), spec.dtype))
        pixels = T.arg("pixels", T.int32())
        with T.serial(0, channels) as channel, T.serial(0, pixels) as pixel:
            T.buffer_store(y, x[channel * plane + pixel], [pixel * channels + channel])
    return builder.get()


def scatter(spec: ConvSpec) -> tirx.PrimFunc:
    """Return the function `(X, residual, Y, pixels)` from pixels to a convolution's output planes.

    The residual, where there is one, is added.
    """
    channels, plane = spec.out_channels, spec.out_height * spec.out_width
    with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
        T.func_name("main")
        T.func_attr({TASKS: 1})
        x = T.arg("X", T.Buffer((channels * plane,), spec.dtype))
        residual = None
        if spec.residual:
            residual = T.arg("residual", T.Buffer((channels * plane,), spec.dtype))
        y = T.arg("Y", T.Buffer((channels * plane,), spec.dtype))
        pixels = T.arg("pixels", T.int32())
        with T.serial(0, channels) as channel, T.serial(0, pixels) as pixel:
            at = channel * plane + pixel
            value = x[pixel * channels + channel]
            T.buffer_store(y, value if residual is None else value + residual[at], [at])
    return builder.get()
