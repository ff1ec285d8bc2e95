"""Functions of each element, one after the other, as an unscheduled TensorIR program.

It is there to be read; `programs/elementwise.py` writes the program that computes it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from tvm import te, tirx

from depthwise.problem.elementwise import ElementwiseSpec
from depthwise.problem.links import Link, operand_kinds
from depthwise.programs.links import applied, place

Expr: TypeAlias = Any


def define(spec: ElementwiseSpec) -> tirx.PrimFunc:
    """Return the program `(X, operand, ..., Y)`."""
    X = te.placeholder(spec.input_shape, spec.element.tvm, "X")
    operands = {
        name: te.placeholder(shape, spec.element.tvm, name) for name, shape in spec.operands.items()
    }
    kinds = operand_kinds(spec.chain)

    def made(number: int, link: Link, taken: Any) -> Any:
        def value(*at: Expr) -> Expr:
            given = operands.get(f"operand{number}")
            operand = None if given is None else given[place(kinds[given.op.name], at)]
            return applied(link, taken[at], operand, spec.element.tvm)

        return te.compute(spec.output_shape, value, f"Y{number}")

    Y = X
    for number, link in enumerate(spec.chain, 1):
        Y = made(number, link, Y)
    return te.create_prim_func([X, *operands.values(), Y])
