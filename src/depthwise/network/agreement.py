"""How far the results of a network may be from those of another that computes the same."""

from __future__ import annotations

import math

ROUNDINGS = 64
"""How many times the rounding of one operation results may differ for each square root of the depth
(errors of independent signs add up like that)."""
NETWORKS_OWN = 4
"""How many times as far as a network is from itself, computed with other roundings, results may
differ instead: some cancel what they computed, and amplify every rounding."""


def tolerance(depth: int, epsilon: float) -> float:
    """Return the largest difference that rounding explains, relative to the largest output.

    Args:
        depth: how many layers with weights there are.
        epsilon: the unit of rounding.
    """
    return ROUNDINGS * epsilon * math.sqrt(max(depth, 1))
