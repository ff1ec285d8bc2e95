"""What is computed of the pixels of images, as an unscheduled TensorIR program.

It is there to be read; `programs/pixel_passes.py` writes the program that computes it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from tvm import te, tirx

from depthwise.problem.pixels import PixelSpec

Expr: TypeAlias = Any


def define(spec: PixelSpec) -> tirx.PrimFunc:
    """Return the program `(X, Y)` of a mean, `(X, weight, bias, Y)` of a norm."""
    X = te.placeholder(spec.input_shape, spec.element.tvm, "X")
    return _mean(spec, X) if spec.kind == "mean" else _norm(spec, X)


def _mean(spec: PixelSpec, X: Any) -> tirx.PrimFunc:
    h, w = te.reduce_axis((0, spec.height), "h"), te.reduce_axis((0, spec.width), "w")
    total = te.compute(
        spec.output_shape, lambda *at: te.sum(X[at[0], h, w, at[3]], axis=[h, w]), name="Sum"
    )
    pixels = tirx.const(spec.height * spec.width, spec.element.tvm)
    Y = te.compute(spec.output_shape, lambda *at: total[at] / pixels, name="Y")
    return te.create_prim_func([X, Y])


def _norm(spec: PixelSpec, X: Any) -> tirx.PrimFunc:
    weight, bias = (
        te.placeholder((spec.channels,), spec.element.tvm, name) for name in spec.operands
    )
    pixels = spec.input_shape[:3]
    channels = tirx.const(spec.channels, spec.element.tvm)
    c, k = te.reduce_axis((0, spec.channels), "c"), te.reduce_axis((0, spec.channels), "k")

    def value(*at: Expr) -> Expr:
        return X[at]

    total = te.compute(pixels, lambda *at: te.sum(value(*at, c), axis=c), name="Sum")

    def apart(*at: Expr) -> Expr:
        return value(*at) - total[at[:-1]] / channels

    squares = te.compute(
        pixels, lambda *at: te.sum(apart(*at, k) * apart(*at, k), axis=k), name="Squares"
    )

    def normalised(*at: Expr) -> Expr:
        epsilon = tirx.const(spec.epsilon, spec.element.tvm)
        scale = 1 / tirx.sqrt(squares[at[:-1]] / channels + epsilon)
        return apart(*at) * scale * weight[at[-1]] + bias[at[-1]]

    Y = te.compute(spec.output_shape, normalised, name="Y")
    return te.create_prim_func([X, weight, bias, Y])
