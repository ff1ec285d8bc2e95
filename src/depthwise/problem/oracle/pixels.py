"""Sums, means and norms of pixels, in NumPy and float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from depthwise.problem.oracle.planes import Array
from depthwise.problem.pixels import PixelSpec


def compute(spec: PixelSpec, given: Mapping[str, Array]) -> Array:
    """Return what one number is made of many by, or x normalised."""
    x = given["x"]
    if spec.kind == "norm":
        return _normalised(spec, x, (3,), given)
    if spec.kind == "groupnorm":
        groups = x.reshape(*x.shape[:3], spec.groups, -1)
        return _normalised(spec, groups, (1, 2, 4), given)
    axes = (1, 2) if spec.over == "pixels" else (3,)
    functions: dict[str, Callable[[Array], Array]] = {
        "mean": lambda x: x.mean(axes, keepdims=True),
        "sum": lambda x: x.sum(axes, keepdims=True),
        "max": lambda x: x.max(axes, keepdims=True),
        "l2": lambda x: np.sqrt((x * x).sum(axes, keepdims=True)),
        "meansquare": lambda x: (x * x).mean(axes, keepdims=True),
        "sumsquare": lambda x: (x * x).sum(axes, keepdims=True),
    }
    return functions[spec.kind](x)


def _normalised(
    spec: PixelSpec, x: Array, axes: tuple[int, ...], given: Mapping[str, Array]
) -> Array:
    apart = x - x.mean(axis=axes, keepdims=True)
    variance = (apart**2).mean(axis=axes, keepdims=True)
    scaled = (apart / np.sqrt(variance + spec.epsilon)).reshape(spec.input_shape)
    return np.asarray(scaled * given["weight"] + given["bias"])
