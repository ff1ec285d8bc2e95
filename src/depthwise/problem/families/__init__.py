"""Every family of problems, one line each: a new kind of problem is a file beside these and a line.

`parse`, `costs`, `data` and the oracle, `reference`, look up here what a problem's type decides.
"""

from __future__ import annotations

from typing import Any, TypeGuard

from depthwise.problem.families import (
    attention,
    blocks,
    causal,
    causal_gradient,
    convolutions,
    elementwise,
    gathers,
    passes,
    pixels,
    pools,
    quantized_images,
    resizes,
)
from depthwise.problem.families.family import Family
from depthwise.problem.problem import Problem

FAMILIES: tuple[Family[Any], ...] = (
    convolutions.FAMILY,
    blocks.FAMILY,
    causal.FAMILY,
    causal_gradient.FAMILY,
    passes.FAMILY,
    pixels.FAMILY,
    elementwise.FAMILY,
    pools.FAMILY,
    gathers.FAMILY,
    attention.FAMILY,
    resizes.FAMILY,
    quantized_images.FAMILY,
)

BY_KIND = {kind: family for family in FAMILIES for kind in family.kinds}
_BY_TYPE = {family.specification: family for family in FAMILIES}


def family_of(spec: Problem) -> Family[Any]:
    """Return the family of a problem."""
    return _BY_TYPE[type(spec)]


def is_specification(value: object) -> TypeGuard[Problem]:
    """Return whether a value is a problem's specification."""
    return type(value) in _BY_TYPE
