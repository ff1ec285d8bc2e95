"""Test data: the arrays of a problem, the same for the same seed."""

from __future__ import annotations

from math import prod

import numpy as np

from depthwise.errors import SpecError
from depthwise.problem.arrays import Array, aligned
from depthwise.problem.block import Spec
from depthwise.problem.parse import specification
from depthwise.problem.training import PassSpec, array_names
from depthwise.problem.values import whole


def random_problem(problem: Spec | str, seed: int = 0) -> tuple[Array, ...]:
    """Return the arrays of one call: input, then `spec.operands` in order, then an empty output.

    Values are normally distributed.  Weights are scaled by 1 / sqrt(products per output), and the
    gradient from which those of weights are computed by 1 / sqrt(products per weight), so that
    results have the scale of x whatever the size; the rest has standard deviation 1.  The output
    holds NaN throughout, so that an element never written shows.  Each array begins with a
    cache line.

    Args:
        problem: a specification or its text form; it gives layout and element type.
        seed: a whole number, zero or more.

    Raises:
        SpecError: the problem cannot exist, or the seed is negative.
    """
    spec = specification(problem)
    if whole("seed", seed) < 0:
        raise SpecError(f"seed is not negative; got {seed}: {spec}")
    rng = np.random.default_rng(seed)
    names = array_names(spec) if isinstance(spec, PassSpec) else ("input", *spec.operands)
    shapes = spec.input_shape, *spec.operands.values()
    arrays = [
        _scale(spec, name) * rng.standard_normal(shape)
        for name, shape in zip(names, shapes, strict=True)
    ]
    arrays.append(np.full(spec.output_shape, np.nan))
    return tuple(_aligned_copy(array, spec.element.numpy) for array in arrays)


def _scale(spec: Spec, name: str) -> float:
    if name.endswith("weight"):
        return float(prod(spec.operands[name][1:]) ** -0.5)
    if isinstance(spec, PassSpec) and name == "grad" and spec.kind != "input_gradient":
        return float(spec.summands**-0.5)
    return 1.0


def _aligned_copy(array: Array, dtype: str) -> Array:
    copy = aligned(array.shape, dtype)
    copy[...] = array
    return copy
