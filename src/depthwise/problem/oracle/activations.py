"""The activations in NumPy and float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from depthwise.errors import SpecError
from depthwise.problem.oracle.planes import Array
from depthwise.problem.vocabulary import ACTIVATIONS


def activate(name: str | None, x: ArrayLike) -> Array:
    """Return the activation of every element, in float64; None is the identity.

    "gelu" is the exact one, x * Phi(x); the slope of "leaky_relu" is 0.01; "hardsigmoid" is
    relu6(x + 3) / 6 and "hardswish" x times that (Howard et al. 2019, Searching for MobileNetV3).

    Raises:
        SpecError: the name is not known.
    """
    x = np.asarray(x, np.float64)
    if name is None:
        return x
    if name not in _ACTIVATE:
        raise SpecError(f"activation is None or one of {', '.join(ACTIVATIONS)}; got {name!r}")
    return _ACTIVATE[name](x)


_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _sigmoid(x: Array) -> Array:
    return np.asarray(np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x))))


def _hardsigmoid(x: Array) -> Array:
    return np.asarray(np.clip(x + 3, 0, 6) / 6)


_ACTIVATE: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "hardswish": lambda x: x * _hardsigmoid(x),
    "silu": lambda x: x * _sigmoid(x),
    "gelu": lambda x: x * 0.5 * _erfc(-x / math.sqrt(2)),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "sigmoid": _sigmoid,
    "hardsigmoid": _hardsigmoid,
}
