"""The oracle: every problem in NumPy and float64, straight from the equations.

What kernels give is held against it, so that it shares no code with them: of this package it
reaches the problems alone.  Arrays come in the specification's layout and in any element type.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from depthwise.errors import ArrayError
from depthwise.problem.dtypes import element
from depthwise.problem.families import family_of
from depthwise.problem.oracle.activations import activate
from depthwise.problem.oracle.gradients import bias_gradient, input_gradient, weight_gradient
from depthwise.problem.oracle.planes import checked
from depthwise.problem.problem import Problem

__all__ = [
    "activate", "bias_gradient", "forward", "input_gradient", "tolerance", "weight_gradient",
]  # fmt: skip


def forward(spec: Problem, x: ArrayLike, *operands: ArrayLike) -> NDArray[np.float64]:
    """Return the output of any problem, in float64 and of `spec.output_shape`.

    A residual is added last: y = activation(convolution + bias) + residual.

    Args:
        spec: the problem.
        x: the input, of `spec.input_shape`.
        operands: the arrays of `spec.operands`, in that order.

    Raises:
        ArrayError: an array is missing, or its shape is not that of the problem.
    """
    if len(operands) != len(spec.operands):
        names = ", ".join(spec.operands)
        raise ArrayError(f"the operands are {names}; got {len(operands)} arrays: {spec}")
    shapes = spec.input_shape, *spec.operands.values()
    given = {
        name: checked(spec, "input" if name == "x" else name, array, shape)
        for name, array, shape in zip(spec.array_names, (x, *operands), shapes, strict=True)
    }
    return family_of(spec).compute(spec, given)


def tolerance(spec: Problem, dtype: str | None = None) -> tuple[float, float]:
    """Return (rtol, atol) for results computed in `dtype` from data of `random_problem`'s scale.

    Each sum of products may be off by as many units of rounding of its accumulator as it has
    products, and by 16 of the element type for bias, activation and the last rounding.  Where
    arrays have a narrower type than that, each sum is rounded to it once, and what a block rounds
    on the way counts twice.  The
    gradient of a weight sums over all pixels: too many for all their errors to have one sign, so
    that it is granted twice the square root of their number, more than ten standard deviations.
    Whole numbers are exact.

    (Errors of random data: Higham and Mary, "Sharper Probabilistic Backward Error Analysis for
    Basic Linear Algebra Kernels with Random Data", 2020.)

    Args:
        spec: the problem.
        dtype: the name of the element type computed in; the specification's own unless given.
    """
    kept = element(dtype or spec.dtype)
    computed, sums = kept.computed, element(kept.accumulator)
    products = family_of(spec).products(spec)
    if computed.is_integer:
        return 0.0, 0.0
    bound = sum(count * sums.epsilon + 16 * computed.epsilon for count in products)
    if kept is not computed:
        bound += kept.epsilon * (len(products) - 0.5)
    return bound, bound
