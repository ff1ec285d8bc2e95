"""Functions of each element, in NumPy and float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from depthwise.problem.elementwise import ElementwiseSpec
from depthwise.problem.links import Chain
from depthwise.problem.oracle.activations import activate
from depthwise.problem.oracle.planes import Array
from depthwise.problem.vocabulary import ACTIVATIONS


def compute(spec: ElementwiseSpec, given: Mapping[str, Array]) -> Array:
    """Return what the functions make of x, one after the other."""
    return chained(spec.chain, given["x"], given)


def chained(chain: Chain, x: Array, given: Mapping[str, Array]) -> Array:
    """Return what the functions of a chain make of images (N, H, W, C), one after the other."""
    y = x
    with np.errstate(all="ignore"):
        for number, link in enumerate(chain, 1):
            if link.operand is None:
                y = apply(link.function, y)
            else:
                y = _BINARY[link.function](y, given[f"operand{number}"])
    return np.asarray(y)


def apply(function: str, x: Array) -> Array:
    """Return a function of each element."""
    return np.asarray(activate(function, x) if function in ACTIVATIONS else _UNARY[function](x))


_erf = np.vectorize(math.erf, otypes=[np.float64])


def _softplus(x: Array) -> Array:
    return np.asarray(np.logaddexp(0, x))


def _gelu_tanh(x: Array) -> Array:
    """Return x (1 + tanh u) / 2 = x sigmoid(2u)."""
    u = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return np.asarray(x * activate("sigmoid", 2 * u))


_UNARY: dict[str, Callable[[Array], Array]] = {
    "abs": np.abs,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "square": np.square,
    "reciprocal": lambda x: 1 / x,
    "neg": np.negative,
    "erf": _erf,
    "tanh": np.tanh,
    "softplus": _softplus,
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "gelu_tanh": _gelu_tanh,
}
"""Misra 2019 (Mish), Hendrycks & Gimpel 2016 for the GELU by tanh."""

_BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "rsub": lambda x, operand: operand - x,
    "mul": np.multiply,
    "div": np.divide,
    "rdiv": lambda x, operand: operand / x,
    "min": np.minimum,
    "max": np.maximum,
    "prelu": lambda x, slope: np.where(x < 0, x * slope, x),
}
