"""Test data: the arrays of a problem, the same for the same seed."""

from __future__ import annotations

from math import prod

import numpy as np

from depthwise.arrays import Array, aligned
from depthwise.block import BlockSpec, Spec
from depthwise.errors import SpecError
from depthwise.parse import parse
from depthwise.spec import ConvSpec
from depthwise.values import whole


def random_problem(problem: Spec | str, seed: int = 0) -> tuple[Array, ...]:
    """Return the arrays of one call: input, then `spec.operands` in order, then an empty output.

    Values are normally distributed.  Weights are scaled by 1 / sqrt(products per output), so that
    outputs have the scale of the inputs whatever the size; the rest has standard deviation 1.  The
    output holds NaN throughout, so that an element never written shows.  Each array begins with a
    cache line.

    Args:
        problem: a specification or its text form; it gives layout and element type.
        seed: a whole number, zero or more.

    Raises:
        SpecError: the problem cannot exist, or the seed is negative.
    """
    spec = problem if isinstance(problem, (ConvSpec, BlockSpec)) else parse(problem)
    if whole("seed", seed) < 0:
        raise SpecError(f"seed is not negative; got {seed}: {spec}")
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(spec.input_shape)]
    for name, shape in spec.operands.items():
        scale = prod(shape[1:]) ** -0.5 if name.endswith("weight") else 1.0
        arrays.append(scale * rng.standard_normal(shape))
    arrays.append(np.full(spec.output_shape, np.nan))
    return tuple(_aligned_copy(array, spec.dtype) for array in arrays)


def _aligned_copy(array: Array, dtype: str) -> Array:
    copy = aligned(array.shape, dtype)
    copy[...] = array
    return copy
