"""Pools: how their lines are read, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from depthwise.errors import ParseError
from depthwise.problem.counting import moved
from depthwise.problem.families import convolutions
from depthwise.problem.families.family import Family, normal
from depthwise.problem.oracle import pools as oracle
from depthwise.problem.pools import PoolKind, PoolSpec

if TYPE_CHECKING:
    from numpy.random import Generator

_PADDED = "padded"


def _read(kind: Any, tokens: Sequence[str], text: str) -> PoolSpec:
    given = [token for token in tokens if token != _PADDED]
    if len(tokens) - len(given) > 1:
        raise ParseError(f"{_PADDED} is given once: {text}")
    if "nhwc" not in given:
        raise ParseError(f"{kind} is of nhwc images: {text}")
    window = convolutions.read("depthwise", given, text)
    return PoolSpec(kind=kind, window=window, padded=_PADDED in tokens)


def _random(spec: PoolSpec, rng: Generator) -> dict[str, Any]:
    """Return random data; those of quantized means fill most of their range."""
    low, high = spec.element.range if spec.operands else (0, 0)
    numbers = {
        "scale": rng.uniform(0.5, 1, 1),
        "zeros": rng.integers(low // 4 + 32, high // 4 + 96, 2),
        "bounds": np.array((low, high)),
    }
    return {name: numbers.get(name, array) for name, array in normal(spec, rng).items()}


def _products(spec: PoolSpec) -> list[float]:
    return [prod(spec.window.kernel)]


FAMILY = Family(
    specification=PoolSpec,
    kinds=get_args(PoolKind),
    read=_read,
    compute=oracle.compute,
    products=_products,
    cost=moved,
    random=_random,
)
