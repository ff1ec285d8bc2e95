"""Activations and other functions of an element as expressions of TensorIR, for every program.

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

Expr: TypeAlias = Any


def activate(name: str | None, x: Expr, dtype: str) -> Expr:
    """Return a function of a value, one of `vocabulary.UNARY`; None is the value itself."""
    if name is None:
        return x
    steps = _Steps(dtype)
    return steps.before(_ACTIVATE[name](steps, steps.keep(x)))


def slope(name: str | None, x: Expr, dtype: str) -> Expr:
    """Return the derivative of an activation at a value; see `causal_gradient.DIFFERENTIATED`."""
    steps = _Steps(dtype)
    if name is None:
        return steps.number(1)
    return steps.before(_SLOPE[name](steps, steps.keep(x)))


def combine(name: str, x: Expr, operand: Expr, dtype: str) -> Expr:
    """Return a function of a value and an operand, one of `vocabulary.BINARY`."""
    steps = _Steps(dtype)
    return steps.before(_COMBINE[name](steps, steps.keep(x), steps.keep(operand)))


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
    taylor: int
    """The terms of Taylor's beside the first that are enough for e^-r - 1 there."""


_FORMATS = {
    # The polynomial of this degree, 1 at 0, whose greatest relative error is least: 9.4e-8.
    "float32": _Format("int32", 23, 127, (
        1.0, -0.9999997019767761, 0.4999914765357971, -0.1666763722896576, 0.04189802333712578,
        -0.008290297351777554,
    ), 7),
    # Taylor's; what is left out is below 5e-18.
    "float64": _Format(
        "int64", 52, 1023, tuple((-1) ** k / math.factorial(k) for k in range(14)), 13
    ),
}  # fmt: skip
_LN2_HIGH = 45426 / 2**16
"""ln 2 in 16 bits, so that its product with an exponent is exact (Cody and Waite 1980)."""
_LN2_LOW = 1.42860682030941723212e-6


def _decay(steps: _Steps, x: Expr) -> Expr:
    """Return e^-x within 2.5 units of the last place; NaN stays NaN.

    It is infinity above the largest number, and 0 below sqrt 2 times the least normal one.

    Args:
        steps: of the element type.
        x: a kept value within `_decay_bounds`.
    """
    r, half = _split(steps, x)
    doubled = steps.polynomial(r, [2 * each for each in _FORMATS[steps.dtype].series])
    return doubled * half


def _decay_less_one(steps: _Steps, x: Expr) -> Expr:
    """Return e^-x - 1 within some units of the last place, however small x is.

    Args:
        steps: of the element type.
        x: a kept value of 0 or more within `_decay_bounds`.
    """
    r, half = _split(steps, x)
    power, terms = steps.keep(half + half), _FORMATS[steps.dtype].taylor
    series = [(-1) ** k / math.factorial(k) for k in range(1, terms + 1)]
    return power * (r * steps.polynomial(r, series)) + (power - steps.number(1))


def _split(steps: _Steps, x: Expr) -> tuple[Expr, Expr]:
    """Return r and 2^(n - 1), where -x = n ln 2 - r with a whole n and |r| <= ln 2 / 2."""
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
    return r, steps.keep(tirx.reinterpret(steps.dtype, exponent))


def _decay_bounds(dtype: str) -> tuple[float, float]:
    """Return where e^-x is infinity, and where it is 0, in what `_decay` computes."""
    largest = _FORMATS[dtype].largest_exponent
    return -(largest + 2) * math.log(2), (largest - 1) * math.log(2)


def _any_decay(steps: _Steps, x: Expr) -> Expr:
    """Return e^-x for any x; see `_decay`."""
    low, high = _decay_bounds(steps.dtype)
    return _decay(steps, steps.keep(steps.clip(low, x, high)))


def _one_and_decay(steps: _Steps, x: Expr) -> Expr:
    return steps.number(1) + _any_decay(steps, x)


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
    return x * steps.clip(0, half + x * _normal_quotient(steps, steps.keep(x * x)), 1)


def _normal_quotient(steps: _Steps, square: Expr) -> Expr:
    """Return (Phi(x) - 1/2) / x for a square of x, in single precision; see `_gelu`."""
    square = steps.keep(tirx.min(steps.number(_NORMAL_SQUARED_END), square))
    over, under = (steps.polynomial(square, c) for c in (_NORMAL_OVER, _NORMAL_UNDER))
    return over / under


def _erf(steps: _Steps, x: Expr) -> Expr:
    """Return erf(x) = 2 Phi(sqrt 2 x) - 1, within 3e-7 in single precision."""
    if steps.dtype != "float32":
        return tirx.erf(x)
    double = steps.keep(x * x * steps.number(2))
    quotient = _normal_quotient(steps, double)
    return steps.clip(-1, x * steps.number(2 * math.sqrt(2)) * quotient, 1)


def _gelu_tanh(steps: _Steps, x: Expr) -> Expr:
    """Return x (1 + tanh u) / 2 = x / (1 + e^-2u), where 2u = sqrt(8 / pi) (x + 0.044715 x^3)."""
    cubic = steps.number(1) + steps.number(0.044715) * x * x
    return x / _one_and_decay(steps, steps.keep(steps.number(math.sqrt(8 / math.pi)) * x * cubic))


def _tanh(steps: _Steps, x: Expr) -> Expr:
    """Return tanh(x) = (1 - e) / (1 + e) where x is positive and e = e^-2x."""
    _, high = _decay_bounds(steps.dtype)
    twice = steps.keep(steps.clip(0, steps.number(2) * tirx.abs(x), high))
    less = steps.keep(_decay_less_one(steps, twice))
    quotient = steps.keep(less / (steps.number(2) + less))
    return tirx.Select(x < steps.number(0), quotient, steps.number(0) - quotient)


def _softplus(steps: _Steps, x: Expr) -> Expr:
    """Return log(1 + e^x) = max(x, 0) + log(1 + e), where e = e^-|x|.

    log(1 + e) = 2 artanh s = 2 (s + s^3 / 3 + s^5 / 5 + ...), where s = e / (2 + e) <= 1/3.
    """
    e = steps.keep(_any_decay(steps, steps.keep(tirx.abs(x))))
    s = steps.keep(e / (steps.number(2) + e))
    terms = {"float32": 8, "float64": 17}[steps.dtype]
    series = steps.polynomial(steps.keep(s * s), [2 / (2 * k + 1) for k in range(terms)])
    return tirx.max(steps.number(0), x) + s * series


_MISH_END = 20
"""Beyond it mish(x) is x in any precision."""


def _mish(steps: _Steps, x: Expr) -> Expr:
    """Return x tanh(log(1 + e^x)) = x n / (n + 2), where n = e^x (e^x + 2)."""
    bounded = steps.keep(tirx.min(steps.number(_MISH_END), x))
    e = steps.keep(_any_decay(steps, steps.keep(steps.number(0) - bounded)))
    n = steps.keep(e * (e + steps.number(2)))
    return x * (n / (n + steps.number(2)))


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
    "abs": lambda _, x: tirx.abs(x),
    "exp": lambda steps, x: _any_decay(steps, steps.keep(steps.number(0) - x)),
    "sqrt": lambda _, x: tirx.sqrt(x),
    "square": lambda _, x: x * x,
    "reciprocal": lambda steps, x: steps.number(1) / x,
    "neg": lambda _, x: -x,
    "erf": _erf,
    "tanh": _tanh,
    "softplus": _softplus,
    "mish": _mish,
    "gelu_tanh": _gelu_tanh,
}


def _sigmoid_slope(steps: _Steps, x: Expr) -> Expr:
    """Return s (1 - s), where s is the sigmoid of x."""
    s = steps.keep(_sigmoid(steps, x))
    return s * (steps.number(1) - s)


def _silu_slope(steps: _Steps, x: Expr) -> Expr:
    """Return s (1 + x (1 - s)), where s is the sigmoid of x."""
    s = steps.keep(_sigmoid(steps, x))
    return s * (steps.number(1) + x * (steps.number(1) - s))


_SLOPE: dict[str, Callable[[_Steps, Expr], Expr]] = {
    "relu": lambda steps, x: tirx.Select(x > steps.number(0), steps.number(1), steps.number(0)),
    "sigmoid": _sigmoid_slope,
    "silu": _silu_slope,
}


def _or_nan(operand: Expr, chosen: Expr) -> Expr:
    """Return the smaller or larger one; the operand where it is NaN, as x is chosen there."""
    return tirx.Select(tirx.isnan(operand), operand, chosen)


_COMBINE: dict[str, Callable[[_Steps, Expr, Expr], Expr]] = {
    "add": lambda _, x, operand: x + operand,
    "sub": lambda _, x, operand: x - operand,
    "rsub": lambda _, x, operand: operand - x,
    "mul": lambda _, x, operand: x * operand,
    "div": lambda _, x, operand: x / operand,
    "rdiv": lambda _, x, operand: operand / x,
    "min": lambda _, x, operand: _or_nan(operand, tirx.min(operand, x)),
    "max": lambda _, x, operand: _or_nan(operand, tirx.max(operand, x)),
    "prelu": lambda steps, x, slope: tirx.Select(x < steps.number(0), x * slope, x),
}
