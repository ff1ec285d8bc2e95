"""The gradients of a causal convolution as an unscheduled TensorIR program.

It is there to be read; `programs/causal_gradient.py` writes the program that computes them.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from tvm import te, tirx

from depthwise.problem.causal_gradient import CausalGradientSpec
from depthwise.programs.activations import slope

Expr: TypeAlias = Any


def define(spec: CausalGradientSpec) -> tirx.PrimFunc:
    """Return the program `(G, x, weight, bias, state, ...)` and an array for each gradient."""
    conv, dtype = spec.conv, spec.element.tvm
    G = te.placeholder(spec.input_shape, dtype, "G")
    operands = {name: te.placeholder(shape, dtype, name) for name, shape in spec.operands.items()}
    zero: Any = tirx.const(0, dtype)

    def arranged(n: Expr, c: Expr, t: Expr) -> tuple[Expr, Expr, Expr]:
        return (n, t, c) if conv.channels_last else (n, c, t)

    def element(n: Expr, c: Expr, t: Expr) -> Expr:
        old = operands["state"][arranged(n, c, t + conv.state)] if conv.state else zero
        return tirx.if_then_else(t >= 0, operands["x"][arranged(n, c, t)], old)

    def axis(extent: int, name: str) -> Any:
        return te.reduce_axis((0, extent), name)

    k = axis(conv.kernel, "k")

    def total(n: Expr, c: Expr, t: Expr) -> Expr:
        read = element(n, c, t - conv.before + k * conv.dilation)
        return te.sum(read * operands["weight"][c, 0, k], axis=k)

    times = conv.batch, conv.channels, conv.length
    Sum = te.compute(times, total, "Sum")

    def passed(n: Expr, c: Expr, t: Expr) -> Expr:
        value = Sum[n, c, t] + operands["bias"][c] if conv.bias else Sum[n, c, t]
        return G[arranged(n, c, t)] * slope(conv.activation, value, dtype)

    P = te.compute(times, passed, "P")

    def of_time(n: Expr, c: Expr, t: Expr, tap: Any) -> Expr:
        """Return the sum of what an element, before the sequence where t is negative, was in."""
        later = t + conv.before - tap * conv.dilation
        there = tirx.all(later >= 0, later < conv.length)
        product = P[n, c, later] * operands["weight"][c, 0, tap]
        return te.sum(tirx.if_then_else(there, product, zero), axis=tap)

    a, b = axis(conv.kernel, "a"), axis(conv.kernel, "b")

    def of_x(*at: Expr) -> Expr:
        return of_time(*arranged(*at), a)

    results = [te.compute(conv.input_shape, of_x, "OfX")]
    n, t = axis(conv.batch, "n"), axis(conv.length, "t")

    def of_weight(c: Expr, _: Expr, tap: Expr) -> Expr:
        read = element(n, c, t - conv.before + tap * conv.dilation)
        return te.sum(P[n, c, t] * read, axis=[n, t])

    results.append(te.compute((conv.channels, 1, conv.kernel), of_weight, "OfWeight"))
    if conv.bias:
        m, s = axis(conv.batch, "m"), axis(conv.length, "s")
        results.append(
            te.compute((conv.channels,), lambda c: te.sum(P[m, c, s], axis=[m, s]), "OfBias")
        )
    if conv.state:

        def of_state(*at: Expr) -> Expr:
            n, c, t = arranged(*at)
            return of_time(n, c, t - conv.state, b)

        results.append(te.compute(conv.shape_of(conv.state), of_state, "OfState"))
    return te.create_prim_func([G, *operands.values(), *results])
