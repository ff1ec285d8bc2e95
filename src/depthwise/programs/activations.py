"""Activations as expressions of TensorIR, for every program alike.

Exponentials are straight-line arithmetic that every CPU does in vectors; a call of the C library
for each element costs more than a whole depthwise convolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, TypeAlias

from tvm import tirx

from depthwise.problem.vocabulary import Activation

Expr: TypeAlias = Any


def activate(name: Activation | None, x: Expr, dtype: str) -> Expr:
    """Return the activation of a value; None is the value itself."""
    if name is None:
        return x
    steps = _Steps(dtype)
    return steps.before(_ACTIVATE[name](steps, steps.keep(x)))


class _Steps:
    """Values of one element type that are computed once and then used by name."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self._kept: list[tuple[Any, Expr]] = []

    def number(self, value: float) -> Expr:
        return tirx.const(value, self.dtype)

    def keep(self, value: Expr) -> Expr:
        """Return the name of a value."""
        name = tirx.Var(f"v{len(self._kept)}", self.dtype)
        self._kept.append((name, value))
        return name

    def before(self, result: Expr) -> Expr:
        """Return a result that uses names, with what they stand for."""
        for name, value in reversed(self._kept):
            result = tirx.Let(name, value, result)
        return result

    def polynomial(self, x: Expr, coefficients: Sequence[float]) -> Expr:
        """Return c0 + x ((c1 + c2 x) + x^2 ((c3 + c4 x) + ...)).

        Its steps wait less for each other than those of Horner's rule.
        """
        first, *others = map(self.number, coefficients)
        square = self.keep(x * x)
        *pairs, total = (
            low if high is None else low + high * x
            for low, high in zip_longest(others[::2], others[1::2])
        )
        for pair in reversed(pairs):
            total = total * square + pair
        return total * x + first

    def clip(self, low: float, x: Expr, high: float) -> Expr:
        """Return what is nearest to x between two bounds; NaN stays NaN.

        (tirx.min and tirx.max yield their second argument where either is NaN.)
        """
        return tirx.min(self.number(high), tirx.max(self.number(low), x))


@dataclass(frozen=True)
class _Format:
    """An element type as far as `_decay` depends on it."""

    integer: str
    """The integers of the same width."""
    fraction_bits: int
    largest_exponent: int
    series: tuple[float, ...]
    """The coefficients of a polynomial in r that is e^-r where |r| <= ln 2 / 2."""


_FORMATS = {
    # The polynomial of this degree, 1 at 0, whose greatest relative error is least: 9.4e-8.
    "float32": _Format("int32", 23, 127, (
        1.0, -0.9999997019767761, 0.4999914765357971, -0.1666763722896576, 0.04189802333712578,
        -0.008290297351777554,
    )),
    # Taylor's; what is left out is below 5e-18.
    "float64": _Format("int64", 52, 1023, tuple((-1) ** k / math.factorial(k) for k in range(14))),
}  # fmt: skip
_LN2_HIGH = 45426 / 2**16
"""ln 2 in 16 bits, so that its product with an exponent is exact (Cody and Waite 1980)."""
_LN2_LOW = 1.42860682030941723212e-6


def _decay(steps: _Steps, x: Expr) -> Expr:
    """Return e^-x within 2.5 units of the last place; NaN stays NaN.

    Where -x = n ln 2 - r with a whole n and |r| <= ln 2 / 2, it is 2^n e^-r.  It is infinity above
    the largest number, and 0 below sqrt 2 times the least normal one.

    Args:
        steps: of the element type.
        x: a kept value within `_decay_bounds`.
    """
    kind = _FORMATS[steps.dtype]
    # Beside 3/2 times 2^fraction_bits the neighbours of a number are whole: adding it rounds, and
    # the last bits of the sum are n, here with the offset that an exponent has, less one: 2^n may
    # be infinite where e^-x is not, so the other factor is doubled instead.
    shift = steps.number(1.5 * 2**kind.fraction_bits + kind.largest_exponent - 1)
    shifted = steps.keep(shift - x * steps.number(math.log2(math.e)))
    n = steps.keep(shifted - shift)
    r = steps.keep(x + n * steps.number(_LN2_HIGH) + n * steps.number(_LN2_LOW))
    exponent = tirx.shift_left(
        tirx.reinterpret(kind.integer, shifted), tirx.const(kind.fraction_bits, kind.integer)
    )
    doubled = steps.polynomial(r, [2 * coefficient for coefficient in kind.series])
    return doubled * tirx.reinterpret(steps.dtype, exponent)


def _decay_bounds(dtype: str) -> tuple[float, float]:
    """Return where e^-x is infinity, and where it is 0, in what `_decay` computes."""
    largest = _FORMATS[dtype].largest_exponent
    return -(largest + 2) * math.log(2), (largest - 1) * math.log(2)


def _one_and_decay(steps: _Steps, x: Expr) -> Expr:
    low, high = _decay_bounds(steps.dtype)
    return steps.number(1) + _decay(steps, steps.keep(steps.clip(low, x, high)))


def _sigmoid(steps: _Steps, x: Expr) -> Expr:
    return steps.number(1) / _one_and_decay(steps, x)


def _silu(steps: _Steps, x: Expr) -> Expr:
    return x / _one_and_decay(steps, x)


_NORMAL_SQUARED_END = 5.5**2
_NORMAL_OVER = (
    0.398942232131958, 0.03385277837514877, 0.004677269142121077, 0.00016882707132026553,
    6.352132913889363e-06, 2.2749338413063924e-08,
)  # fmt: skip
_NORMAL_UNDER = (
    1.0, 0.2515222430229187, 0.028645947575569153, 0.0018844527658075094, 7.364797784248367e-05,
    1.1975042752965237e-06,
)  # fmt: skip
"""Phi(x) - 1/2 is x P(x^2) / Q(x^2), Phi being the normal distribution: the rational function whose
greatest error on [-5.5, 5.5] is least, 7e-9 (1.1e-8 with coefficients in single precision)."""


def _gelu(steps: _Steps, x: Expr) -> Expr:
    """Return x Phi(x) = x (1 + erf(x / sqrt 2)) / 2, Phi within 3e-7 in single precision."""
    half = steps.number(0.5)
    if steps.dtype != "float32":
        return half * x * (steps.number(1) + tirx.erf(x * steps.number(math.sqrt(0.5))))
    # Farther out x times the last quotient leaves [-1/2, 1/2], and the bounds are what is left.
    square = steps.keep(tirx.min(steps.number(_NORMAL_SQUARED_END), x * x))
    over, under = (steps.polynomial(square, c) for c in (_NORMAL_OVER, _NORMAL_UNDER))
    return x * steps.clip(0, half + x * (over / under), 1)


def _hardsigmoid(steps: _Steps, x: Expr) -> Expr:
    return steps.clip(0, x + steps.number(3), 6) * steps.number(1 / 6)


_ACTIVATE: dict[str, Callable[[_Steps, Expr], Expr]] = {
    "relu": lambda steps, x: tirx.max(steps.number(0), x),
    "relu6": lambda steps, x: steps.clip(0, x, 6),
    "hardswish": lambda steps, x: x * _hardsigmoid(steps, x),
    "hardsigmoid": _hardsigmoid,
    "silu": _silu,
    "sigmoid": _sigmoid,
    "gelu": _gelu,
    "leaky_relu": lambda steps, x: tirx.max(x * steps.number(0.01), x),
}
