"""Images in another size, in NumPy and float64, from exact fractions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from depthwise.problem.oracle.planes import Array
from depthwise.problem.resizes import ResizeSpec

Places: TypeAlias = NDArray[np.int64]

_HALF = Fraction(1, 2)


def compute(spec: ResizeSpec, given: Mapping[str, Array]) -> Array:
    """Return the nearest pixels, or those between four."""
    x = given["x"]
    for axis in (1, 2):
        first, second, share = _neighbours(spec, axis)
        parts = share.reshape(-1, *(1,) * (3 - axis))
        x = x.take(first, axis) * (1 - parts) + x.take(second, axis) * parts
    return x


def _neighbours(spec: ResizeSpec, axis: int) -> tuple[Places, Places, Array]:
    """Return the two pixels that each pixel of the result lies between, and how near the second."""
    before, after = spec.input_shape[axis], spec.output_shape[axis]
    places = [_place(spec, i, before, after) for i in range(after)]
    if spec.kind == "nearest":
        places = [Fraction(_ROUNDINGS[spec.rounding](place)) for place in places]
    inside = [min(max(place, Fraction(0)), Fraction(before - 1)) for place in places]
    first = np.array([math.floor(place) for place in inside], np.int64)
    share = np.array([float(place - math.floor(place)) for place in inside])
    return first, np.minimum(first + 1, before - 1), share


def _place(spec: ResizeSpec, i: int, before: int, after: int) -> Fraction:
    if spec.coordinates == "align_corners":
        return Fraction(i * (before - 1), after - 1) if after > 1 else Fraction(0)
    scale = Fraction(before, after)
    return i * scale if spec.coordinates == "asymmetric" else (i + _HALF) * scale - _HALF


_ROUNDINGS: dict[str, Callable[[Fraction], int]] = {
    "floor": math.floor,
    "ceil": math.ceil,
    "prefer_floor": lambda place: math.ceil(place - _HALF),
    "prefer_ceil": lambda place: math.floor(place + _HALF),
}
