"""Channels gathered, as an unscheduled TensorIR program.

It is there to be read; `programs/gathers.py` writes the program that runs.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from tvm import te, tirx

from depthwise.problem.gathers import GatherSpec

Expr: TypeAlias = Any


def define(spec: GatherSpec) -> tirx.PrimFunc:
    """Return the program `(X, image, ..., Y)`."""
    shapes = {"X": spec.input_shape, **spec.operands}
    images = [te.placeholder(shape, spec.element.tvm, name) for name, shape in shapes.items()]

    def value(n: Expr, i: Expr, j: Expr, c: Expr) -> Expr:
        found: Expr = None
        end = spec.output_shape[-1]
        for pick in reversed(spec.picks):
            begin = end - sum(run.count for run in pick)
            for number, run in reversed(list(enumerate(pick))):
                channel = run.start + (c - begin) // len(pick)
                element = images[run.image][n, i, j, channel]
                here = tirx.all(c >= begin, (c - begin) % len(pick) == number)
                found = element if found is None else tirx.if_then_else(here, element, found)
            end = begin
        return found

    Y = te.compute(spec.output_shape, value, "Y")
    return te.create_prim_func([*images, Y])
