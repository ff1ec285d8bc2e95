"""What the gradients of a causal convolution are written with, whichever way vectors run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from tvm import tirx
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.machine.target import Target
from depthwise.problem.causal_gradient import CausalGradientSpec
from depthwise.programs.activations import slope
from depthwise.programs.causal_rows import wide
from depthwise.schedule import causal_gradient as rule

Expr: TypeAlias = Any

_UNROLLED_TAPS = 8


def each_tap(taps: int) -> Iterator[Any]:
    """Write what is done for each tap, unrolled where they are few."""
    if taps <= _UNROLLED_TAPS:
        yield from range(taps)
        return
    with T.serial(wide(0), wide(taps)) as k:
        yield k


@dataclass(frozen=True)
class Gradients:
    """The arrays of a program, as rows of its table have them."""

    spec: CausalGradientSpec
    target: Target
    arrays: dict[str, Any]
    table: Any
    header: dict[str, Expr]

    @property
    def dtype(self) -> str:
        """The type that is computed in."""
        return self.spec.element.tvm

    def row(self, number: Expr) -> rule.Row:
        """Bind the numbers of a row."""
        at = T.Bind(number * len(rule.Row._fields) + len(rule.HEADER))
        return rule.Row(*(T.Bind(self.table[at + k]) for k in range(len(rule.Row._fields))))

    def zero(self) -> Expr:
        """Return zero."""
        return tirx.const(0, self.dtype)

    def through(self, grad: Expr, total: Expr) -> Expr:
        """Return what a gradient is before the activation of a sum."""
        return grad * slope(self.spec.conv.activation, total, self.dtype)
