"""What is computed of the pixels of images, as an unscheduled TensorIR program.

It is there to be read; `programs/pixel_passes.py` and `programs/group_norm.py` write the programs
that compute it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from tvm import te, tirx

from depthwise.problem.pixels import NORMS, PixelSpec

Expr: TypeAlias = Any


def define(spec: PixelSpec) -> tirx.PrimFunc:
    """Return the program `(X, Y)`, or `(X, weight, bias, Y)` of a norm."""
    X = te.placeholder(spec.input_shape, spec.element.tvm, "X")
    if spec.kind not in NORMS:
        return _reduced(spec, X)
    weight, bias = (
        te.placeholder((spec.channels,), spec.element.tvm, name) for name in spec.operands
    )
    way = _norm if spec.kind == "norm" else _group_norm
    return te.create_prim_func([X, weight, bias, way(spec, X, weight, bias)])


def _reduced(spec: PixelSpec, X: Any) -> tirx.PrimFunc:
    dtype = spec.element.tvm
    fold = te.max if spec.kind == "max" else te.sum
    squared = spec.kind in ("l2", "meansquare", "sumsquare")
    if spec.over == "pixels":
        axes = [te.reduce_axis((0, spec.height), "h"), te.reduce_axis((0, spec.width), "w")]
        count = spec.height * spec.width
    else:
        axes, count = [te.reduce_axis((0, spec.channels), "c")], spec.channels

    def folded(*at: Expr) -> Expr:
        whole = (at[0], *axes, at[3]) if spec.over == "pixels" else (*at[:3], *axes)
        value = X[whole]
        return fold(value * value if squared else value, axis=axes)

    def result(*at: Expr) -> Expr:
        if spec.kind == "l2":
            return tirx.sqrt(found[at])
        return found[at] / tirx.const(count, dtype) if "mean" in spec.kind else found[at]

    found = te.compute(spec.output_shape, folded, name="Found")
    return te.create_prim_func([X, te.compute(spec.output_shape, result, name="Y")])


def _norm(spec: PixelSpec, X: Any, weight: Any, bias: Any) -> Any:
    c, k = te.reduce_axis((0, spec.channels), "c"), te.reduce_axis((0, spec.channels), "k")
    pixels, count = spec.input_shape[:3], tirx.const(spec.channels, spec.element.tvm)

    def value(*at: Expr) -> Expr:
        return X[at]

    total = te.compute(pixels, lambda *at: te.sum(value(*at, c), axis=c), name="Sum")

    def apart(*at: Expr) -> Expr:
        return X[at] - total[at[:-1]] / count

    squares = te.compute(
        pixels, lambda *at: te.sum(apart(*at, k) * apart(*at, k), axis=k), name="Squares"
    )

    def normalised(*at: Expr) -> Expr:
        scale = 1 / tirx.sqrt(squares[at[:-1]] / count + _epsilon(spec))
        return apart(*at) * scale * weight[at[-1]] + bias[at[-1]]

    return te.compute(spec.output_shape, normalised, name="Y")


def _group_norm(spec: PixelSpec, X: Any, weight: Any, bias: Any) -> Any:
    size = spec.channels // spec.groups
    extents = {"h": spec.height, "w": spec.width, "c": size}
    first, second = (
        [te.reduce_axis((0, extent), f"{name}{number}") for name, extent in extents.items()]
        for number in (0, 1)
    )
    groups = (spec.batch, spec.groups)
    count = tirx.const(spec.height * spec.width * size, spec.element.tvm)

    def value(at: tuple[Expr, ...], axes: list[Any]) -> Expr:
        (n, group), (h, w, c) = at, axes
        return X[n, h, w, group * size + c]

    total = te.compute(groups, lambda *at: te.sum(value(at, first), axis=first), name="Sum")

    def square(*at: Expr) -> Expr:
        apart = value(at, second) - total[at] / count
        return te.sum(apart * apart, axis=second)

    squares = te.compute(groups, square, name="Squares")

    def normalised(n: Expr, h: Expr, w: Expr, c: Expr) -> Expr:
        of = n, tirx.floordiv(c, size)
        scale = 1 / tirx.sqrt(squares[of] / count + _epsilon(spec))
        return (X[n, h, w, c] - total[of] / count) * scale * weight[c] + bias[c]

    return te.compute(spec.output_shape, normalised, name="Y")


def _epsilon(spec: PixelSpec) -> Expr:
    return tirx.const(spec.epsilon, spec.element.tvm)
