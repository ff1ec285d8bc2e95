"""Attention as an unscheduled TensorIR program.

It is there to be read; `programs/attention.py` writes the program that computes it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from tvm import te, tirx

from depthwise.problem.attention import AttentionSpec

Expr: TypeAlias = Any


def define(spec: AttentionSpec) -> tirx.PrimFunc:
    """Return the program `(X, key, value, bias, Y)`."""
    dtype, depth, width = spec.element.tvm, spec.depth, spec.width_of_values
    X = te.placeholder(spec.input_shape, dtype, "X")
    operands = {name: te.placeholder(shape, dtype, name) for name, shape in spec.operands.items()}
    key, value = operands["key"], operands["value"]
    scores = (spec.batch, spec.heads, spec.keys, spec.pixels)
    d = te.reduce_axis((0, depth), "d")
    a, b, c = (te.reduce_axis((0, spec.keys), name) for name in "abc")

    def fit(n: Expr, h: Expr, k: Expr, p: Expr) -> Expr:
        at = h * depth + d
        return te.sum(X[n, p // spec.width, p % spec.width, at] * key[n, k, 0, at], axis=d)

    def shifted(n: Expr, h: Expr, k: Expr, p: Expr) -> Expr:
        score = Fit[n, h, k, p] * tirx.const(spec.scale, dtype)
        return score + operands["bias"][n % spec.biases, h, k, p] if spec.biases else score

    Fit = te.compute(scores, fit, "Fit")
    Score = te.compute(scores, shifted, "Score")
    over = (spec.batch, spec.heads, spec.pixels)
    Most = te.compute(over, lambda n, h, p: te.max(Score[n, h, a, p], axis=a), "Most")
    Weight = te.compute(
        scores, lambda n, h, k, p: tirx.exp(Score[n, h, k, p] - Most[n, h, p]), "Weight"
    )
    Sum = te.compute(over, lambda n, h, p: te.sum(Weight[n, h, b, p], axis=b), "Sum")

    def total(n: Expr, i: Expr, j: Expr, e: Expr) -> Expr:
        return te.sum(Weight[n, e // width, c, i * spec.width + j] * value[n, c, 0, e], axis=c)

    Total = te.compute(spec.output_shape, total, "Total")
    Y = te.compute(
        spec.output_shape,
        lambda n, i, j, e: Total[n, i, j, e] / Sum[n, e // width, i * spec.width + j],
        "Y",
    )
    return te.create_prim_func([X, *operands.values(), Y])
