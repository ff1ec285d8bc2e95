"""A problem as the benchmark poses it.

What an inverted residual adds is its own input, as in a network: one array, read once.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthwise.block import BlockSpec, Spec
from depthwise.costs import cost
from depthwise.problem import random_problem

Array = NDArray[Any]


def adds_input(spec: Spec) -> bool:
    """Whether the residual of the problem is the input itself."""
    return (
        isinstance(spec, BlockSpec)
        and spec.kind == "inverted"
        and spec.project.residual
        and spec.input_shape == spec.output_shape
    )


def arrays(spec: Spec, seed: int = 0) -> tuple[Array, ...]:
    """Return what `depthwise.random_problem` does, the input standing for a residual of its own."""
    x, *operands, y = random_problem(spec, seed)
    if adds_input(spec):
        operands[list(spec.operands).index("residual")] = x
    return (x, *operands, y)


def least_bytes(spec: Spec) -> int:
    """Return the bytes that move at least: every array once."""
    again = prod(spec.input_shape) if adds_input(spec) else 0
    return cost(spec).bytes - again * np.dtype(spec.dtype).itemsize
