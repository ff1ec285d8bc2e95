"""The functions of a chain as expressions of TensorIR."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from depthwise.problem.links import Chain, Link
from depthwise.programs.activations import activate, combine

Expr: TypeAlias = Any


def place(kind: str, at: tuple[Expr, ...]) -> tuple[Expr, ...]:
    """Return where in an operand of a kind the element for one of an image is."""
    image, row, column, channel = at
    places: dict[str, tuple[Expr, ...]] = {
        "image": at, "gate": (image, 0, 0, channel), "pixel": (image, row, column, 0),
        "channel": (channel,), "scalar": (0,),
    }  # fmt: skip
    return places[kind]


def applied(link: Link, x: Expr, operand: Expr | None, dtype: str) -> Expr:
    """Return what a function makes of an element and of that of its operand, if it has one."""
    if operand is None:
        return activate(link.function, x, dtype)
    return combine(link.function, x, operand, dtype)


def chained(chain: Chain, x: Expr, operand: Callable[[str], Expr], dtype: str) -> Expr:
    """Return what the functions of a chain make of an element, one after the other.

    Args:
        chain: the functions.
        x: the element.
        operand: the element of an operand by its name.
        dtype: the element type.
    """
    for number, link in enumerate(chain, 1):
        given = None if link.operand is None else operand(f"operand{number}")
        x = applied(link, x, given, dtype)
    return x
