"""The rows of a causal convolution: where their elements lie, and what lies before them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from tvm import tirx
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.machine.target import Target
from depthwise.problem.causal import CausalSpec
from depthwise.programs.activations import activate
from depthwise.schedule import causal as rule

Expr: TypeAlias = Any

UNROLLED_TAPS = 16
"""More taps than these are a loop."""


def wide(value: Any) -> Expr:
    """Return an index of 64 bits: arrays of many sequences have more elements than 2^31."""
    return T.int64(value) if isinstance(value, int) else tirx.Cast("int64", value)


@dataclass(frozen=True)
class Row:
    """A row of the table, each number of it by its name."""

    x: Expr
    y: Expr
    length: Expr
    before: Expr
    state: Expr
    to_end: Expr


@dataclass(frozen=True)
class Sequences:
    """The arrays of a program, as rows of its table have them."""

    spec: CausalSpec
    target: Target
    arrays: dict[str, Any]
    table: Any
    header: dict[str, Expr]

    def row(self, number: Expr) -> Row:
        """Bind the numbers of a row."""
        at = T.Bind(number * len(rule.Row._fields) + len(rule.HEADER))
        return Row(*(T.Bind(self.table[at + k]) for k in range(len(rule.Row._fields))))

    def before(self, row: Row, time: Expr, of_x: Callable[[Expr], Expr], of_state: Any) -> Expr:
        """Return an element that may lie before a row: in x, in the state, or nowhere.

        Args:
            row: the row.
            time: when, counted from the row's beginning.
            of_x: gives an element of x at such a time.
            of_state: gives an element of the state by its number.
        """
        old: Expr = tirx.const(0, self.spec.element.tvm)
        if self.spec.state:
            old = of_state(row.before + time + self.spec.state)
        return tirx.if_then_else(row.before + time >= 0, of_x(time), old)

    def activated(self, value: Expr) -> Expr:
        """Return what is stored of a sum."""
        return activate(self.spec.activation, value, self.spec.element.tvm)

    def bias(self, channel: Expr) -> Expr:
        """Return what the sum of a channel begins with."""
        if self.spec.bias:
            return self.arrays["bias"][channel]
        return tirx.const(0, self.spec.element.tvm)


def over_channels(
    spec: CausalSpec, target: Target, begin: Expr, end: Expr
) -> Iterator[tuple[Expr, int]]:
    """Write the loop over whole vectors of channels, then what the last channels are.

    Yields:
        The first channel of a vector, and how many it has.
    """
    lanes = min(target.lanes(spec.dtype), spec.channels)
    rest = spec.channels % lanes
    with T.serial(wide(0), (end - begin) // lanes) as number:
        yield T.Bind(begin + number * lanes), lanes
    if rest:
        with T.If((end - begin) % lanes > 0), T.Then():
            yield T.Bind(end - rest), rest
