"""A pool as an unscheduled TensorIR program.

It is there to be read; `programs/pools.py` writes the program that computes it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from tvm import te, tirx

from depthwise.problem.pools import PoolSpec

Expr: TypeAlias = Any


def define(spec: PoolSpec) -> tirx.PrimFunc:
    """Return the program `(X, Y)` of a pool."""
    dtype, window = spec.element.tvm, spec.window
    X = te.placeholder(spec.input_shape, dtype, "X")
    r, s = (te.reduce_axis((0, taps), name) for taps, name in zip(window.kernel, "rs", strict=True))
    largest = spec.kind == "maxpool"
    none = largest and not spec.padded
    outside = tirx.min_value(dtype) if none else tirx.const(0, dtype)
    over = te.max if largest else te.sum

    def places(i: Expr, j: Expr) -> tuple[Expr, Expr]:
        taps = zip((i, j), (r, s), window.stride, window.dilation, window.padding, strict=True)
        row, column = (at * step + tap * far - before for at, tap, step, far, (before, _) in taps)
        return row, column

    def exists(row: Expr, column: Expr) -> Expr:
        sides = (row, window.height), (column, window.width)
        return tirx.all(*(test for at, size in sides for test in (at >= 0, at < size)))

    def pooled(n: Expr, i: Expr, j: Expr, c: Expr) -> Expr:
        row, column = places(i, j)
        value = tirx.if_then_else(exists(row, column), X[n, row, column, c], outside)
        return over(value, axis=[r, s])

    found = te.compute(spec.output_shape, pooled, name="Y" if largest else "Sum")
    if largest:
        return te.create_prim_func([X, found])
    if spec.padded:
        taps = tirx.const(window.kernel[0] * window.kernel[1], dtype)
        Y = te.compute(spec.output_shape, lambda *at: found[at] / taps, name="Y")
        return te.create_prim_func([X, Y])

    def counted(i: Expr, j: Expr) -> Expr:
        one, none = tirx.const(1, dtype), tirx.const(0, dtype)
        return te.sum(tirx.if_then_else(exists(*places(i, j)), one, none), axis=[r, s])

    count = te.compute(spec.output_shape[1:3], counted, name="Count")
    Y = te.compute(spec.output_shape, lambda n, i, j, c: found[n, i, j, c] / count[i, j], name="Y")
    return te.create_prim_func([X, Y])
