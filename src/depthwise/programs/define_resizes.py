"""An image in another size as an unscheduled TensorIR program, and where its pixels lie.

The program is there to be read; `programs/resizes.py` writes the one that computes it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from tvm import te, tirx

from depthwise.problem.resizes import ResizeSpec
from depthwise.schedule.resizes import Places, places

Expr: TypeAlias = Any


def define(spec: ResizeSpec) -> tirx.PrimFunc:
    """Return the program `(X, Y)`."""
    X = te.placeholder(spec.input_shape, spec.element.tvm, "X")
    rows, columns = places(spec, 1), places(spec, 2)

    def near(n: Expr, i: Expr, j: Expr, c: Expr) -> Expr:
        return X[n, nearest(rows, spec.rounding, i), nearest(columns, spec.rounding, j), c]

    def linear(n: Expr, i: Expr, j: Expr, c: Expr) -> Expr:
        above, below, down = between(rows, i, spec.element.tvm)
        left, right, across = between(columns, j, spec.element.tvm)
        lines = [
            X[n, line, left, c] + (X[n, line, right, c] - X[n, line, left, c]) * across
            for line in (above, below)
        ]
        return lines[0] + (lines[1] - lines[0]) * down

    Y = te.compute(spec.output_shape, near if spec.kind == "nearest" else linear, name="Y")
    return te.create_prim_func([X, Y])


def nearest(places: Places, rounding: str, number: Expr) -> Expr:
    """Return the pixel that is nearest to a pixel of the result along an axis."""
    at, parts = _at(places, number), places.parts
    shifted = {
        "floor": (at, parts),
        "ceil": (at + (parts - 1), parts),
        "prefer_floor": (2 * at + (parts - 1), 2 * parts),
        "prefer_ceil": (2 * at + parts, 2 * parts),
    }
    top, bottom = shifted[rounding]
    found = tirx.floordiv(top, tirx.const(bottom, "int64"))
    last = tirx.const(places.pixels - 1, "int64")
    return tirx.Cast("int32", tirx.max(tirx.min(found, last), tirx.const(0, "int64")))


def between(places: Places, number: Expr, dtype: str) -> tuple[Expr, Expr, Expr]:
    """Return the two pixels that a pixel of the result lies between, and how near the second is."""
    parts = tirx.const(places.parts, "int64")
    last = tirx.const((places.pixels - 1) * places.parts, "int64")
    inside = tirx.max(tirx.min(_at(places, number), last), tirx.const(0, "int64"))
    first = tirx.Cast("int32", tirx.floordiv(inside, parts))
    second = tirx.min(first + 1, places.pixels - 1)
    rest = tirx.Cast(dtype, tirx.floormod(inside, parts))
    return first, second, rest / tirx.const(places.parts, dtype)


def _at(places: Places, number: Expr) -> Expr:
    """Return where a pixel of the result lies, in parts of a pixel."""
    step, start = (tirx.const(each, "int64") for each in (places.step, places.start))
    return tirx.Cast("int64", number) * step + start
