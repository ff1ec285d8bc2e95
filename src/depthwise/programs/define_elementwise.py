"""Functions of each element, one after the other, as an unscheduled TensorIR program.

It is there to be read; `programs/elementwise.py` writes the program that computes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from tvm import te, tirx

from depthwise.problem.elementwise import ElementwiseSpec
from depthwise.programs.activations import activate, combine

Expr: TypeAlias = Any


def define(spec: ElementwiseSpec) -> tirx.PrimFunc:
    """Return the program `(X, operand, ..., Y)`."""
    X = te.placeholder(spec.input_shape, spec.element.tvm, "X")
    operands = {
        name: te.placeholder(shape, spec.element.tvm, name) for name, shape in spec.operands.items()
    }

    def made(number: int, taken: Any) -> Any:
        def value(*at: Expr) -> Expr:
            return applied(
                spec, number, taken[at], lambda name: operands[name][_place(spec, name, at)]
            )

        return te.compute(spec.output_shape, value, f"Y{number + 1}")

    Y = X
    for number in range(len(spec.chain)):
        Y = made(number, Y)
    return te.create_prim_func([X, *operands.values(), Y])


def _place(spec: ElementwiseSpec, name: str, at: tuple[Expr, ...]) -> tuple[Expr, ...]:
    """Return where in an operand the element for one of the image is."""
    image, row, column, channel = at
    places: dict[str, tuple[Expr, ...]] = {
        "image": at, "gate": (image, 0, 0, channel), "pixel": (image, row, column, 0),
        "channel": (channel,), "scalar": (0,),
    }  # fmt: skip
    return places[spec.operand_kinds[name]]


def applied(spec: ElementwiseSpec, number: int, x: Expr, operand: Callable[[str], Expr]) -> Expr:
    """Return what the function of a number makes of an element and of that of its operand."""
    link = spec.chain[number]
    if link.operand is None:
        return activate(link.function, x, spec.element.tvm)
    return combine(link.function, x, operand(f"operand{number + 1}"), spec.element.tvm)
