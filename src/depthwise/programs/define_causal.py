"""A causal convolution with state as an unscheduled TensorIR program.

It is there to be read; `programs/causal.py` writes the program that computes it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from tvm import te, tirx

from depthwise.problem.causal import CausalSpec
from depthwise.programs.activations import activate

Expr: TypeAlias = Any


def define(spec: CausalSpec) -> tirx.PrimFunc:
    """Return the program `(X, weight, bias, state, Y, Final)`; without a state it has no Final."""
    dtype, taps = spec.element.tvm, te.reduce_axis((0, spec.kernel), "k")
    X = te.placeholder(spec.input_shape, dtype, "X")
    operands = {name: te.placeholder(shape, dtype, name) for name, shape in spec.operands.items()}

    def arranged(n: Expr, c: Expr, t: Expr) -> tuple[Expr, Expr, Expr]:
        return (n, t, c) if spec.channels_last else (n, c, t)

    def element(n: Expr, c: Expr, t: Expr) -> Expr:
        """Return an element of a sequence, or of what lies before it."""
        old: Any = tirx.const(0, dtype)
        if spec.state:
            old = operands["state"][arranged(n, c, t + spec.state)]
        return tirx.if_then_else(t >= 0, X[arranged(n, c, t)], old)

    def total(*at: Expr) -> Expr:
        n, c, t = arranged(*at)
        read = element(n, c, t - spec.before + taps * spec.dilation)
        return te.sum(read * operands["weight"][c, 0, taps], axis=taps)

    Acc = te.compute(spec.output_shape, total, "Acc")

    def finished(*at: Expr) -> Expr:
        _, c, _ = arranged(*at)
        value = Acc[at] + operands["bias"][c] if spec.bias else Acc[at]
        return activate(spec.activation, value, dtype)

    results = [te.compute(spec.output_shape, finished, "Y")]
    if spec.state:

        def last(*at: Expr) -> Expr:
            n, c, t = arranged(*at)
            return element(n, c, t + (spec.length - spec.state))

        results.append(te.compute(spec.shape_of(spec.state), last, "Final"))
    return te.create_prim_func([X, *operands.values(), *results])
