"""Test data: the arrays of a problem, the same for the same seed."""

from __future__ import annotations

import numpy as np

from depthwise.errors import SpecError
from depthwise.problem.arrays import Array, aligned
from depthwise.problem.dtypes import element
from depthwise.problem.families import family_of
from depthwise.problem.parse import specification
from depthwise.problem.problem import Problem
from depthwise.problem.values import whole


def random_problem(problem: Problem | str, seed: int = 0) -> tuple[Array, ...]:
    """Return the arrays of one call: input, then `spec.operands` in order, then an empty output.

    Values are normally distributed.  Weights are scaled by 1 / sqrt(products per output), and the
    gradient from which those of weights are computed by 1 / sqrt(products per weight), so that
    results have the scale of x whatever the size; the rest has standard deviation 1.  Whole numbers
    are evenly distributed.  The output holds NaN throughout, or 77 where it has whole numbers, so
    that an element never written shows.  Each array begins with a cache line.

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
    arrays = family_of(spec).random(spec, rng)
    given = (
        _aligned_copy(array, element(spec.dtype_of(name)).numpy) for name, array in arrays.items()
    )
    return (*given, never_written(spec))


def never_written(spec: Problem) -> Array:
    """Return an output that holds what shows that an element was not written; see above."""
    y = aligned(spec.output_shape, element(spec.dtype_of("y")).numpy)
    forget(y)
    return y


def forget(y: Array) -> None:
    """Have an output hold that again."""
    y.fill(77 if element(y.dtype.name).is_integer else np.nan)


def _aligned_copy(array: Array, dtype: str) -> Array:
    copy = aligned(array.shape, dtype)
    copy[...] = array
    return copy
