"""Activations as expressions of TensorIR, for every program alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

from tvm import tirx

from depthwise.vocabulary import Activation

Expr: TypeAlias = Any


def activate(name: Activation | None, x: Expr, dtype: str) -> Expr:
    """Return the activation of a value; None is the value itself."""

    def number(value: float) -> Expr:
        return tirx.const(value, dtype)

    # max and min yield their second argument where either is NaN, so that NaN stays NaN.
    def clip6(value: Expr) -> Expr:
        return tirx.min(number(6), tirx.max(number(0), value))

    def sigmoid() -> Expr:
        return number(1) / (number(1) + tirx.exp(-x))

    actions: dict[str | None, Callable[[], Expr]] = {
        None: lambda: x,
        "relu": lambda: tirx.max(number(0), x),
        "relu6": lambda: clip6(x),
        "hardswish": lambda: x * clip6(x + number(3)) / number(6),
        "hardsigmoid": lambda: clip6(x + number(3)) / number(6),
        "silu": lambda: x * sigmoid(),
        "sigmoid": sigmoid,
        "gelu": lambda: number(0.5) * x * (number(1) + tirx.erf(x * number(math.sqrt(0.5)))),
        "leaky_relu": lambda: tirx.Select(x >= number(0), x, x * number(0.01)),
    }
    return actions[name]()
