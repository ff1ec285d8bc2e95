"""How far the results of a network may be from those of another that computes the same."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from depthwise.errors import ModelError
from depthwise.measure.network_files import TOLERANCE
from depthwise.measure.worker import differences
from depthwise.problem.arrays import Array
from depthwise.problem.dtypes import is_numeric, is_real, rounding_of

ROUNDINGS = 64
"""How many times the rounding of one operation results may differ for each square root of the depth
(errors of independent signs add up like that)."""
NETWORKS_OWN = 4
"""How many times as far as a network is from itself, computed with other roundings, results may
differ instead: some cancel what they computed, and amplify every rounding."""
FARTHEST = 0.05
"""The part of the largest result by which none may differ, however far that is."""
QUANTIZED_OWN, QUANTIZED_FARTHEST = 2, 0.1
"""The same two where results are rounded to few numbers on their way, if that is more than
`FARTHEST`: a rounding that falls the other way is a whole unit, and layers may amplify it."""


def tolerance(depth: int, epsilon: float) -> float:
    """Return the largest difference that rounding explains, relative to the largest output.

    Of 16 bits it would explain all but anything: there the limit is `FARTHEST`.

    Args:
        depth: how many layers with weights there are.
        epsilon: the unit of rounding.
    """
    return min(ROUNDINGS * epsilon * math.sqrt(max(depth, 1)), FARTHEST)


def granted(
    depth: int, expected: Sequence[Array], moved: Sequence[Array], *, quantized: bool = False
) -> float:
    """Return how far results may be from those of another engine, over the largest of these.

    Args:
        depth: how many layers have weights.
        expected: the other engine's results.
        moved: those for inputs that differ by a rounding (`examples.moved`): some networks amplify
            every rounding.
        quantized: whether results are rounded to few numbers on their way, where an engine that
            rounds once less, or in another order, is whole units off.
    """
    _, own = differences(moved, expected)
    if quantized:
        return max(FARTHEST, min(QUANTIZED_OWN * own, QUANTIZED_FARTHEST))
    kinds = [each.dtype for each in expected if is_real(each.dtype)]
    epsilon = max(map(rounding_of, kinds), default=0.0)
    most = max(TOLERANCE, tolerance(depth, epsilon))
    return max(most, min(NETWORKS_OWN * own, FARTHEST))


def check_results(results: Mapping[str, object]) -> None:
    """Refuse results that no others can be held against.

    Raises:
        ModelError: they are no arrays of numbers, or not finite.
    """
    for name, array in results.items():
        if not isinstance(array, np.ndarray) or not is_numeric(array.dtype):
            raise ModelError(f"a network is measured by arrays of numbers; got other output {name}")
        if not np.all(np.isfinite(array.astype(np.float64))):
            raise ModelError(
                "a network is measured with random inputs for which its results are finite; got "
                f"others in {name}"
            )
