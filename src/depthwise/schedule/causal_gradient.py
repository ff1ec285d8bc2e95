"""The gradients of a causal convolution: one pass over sequences of any length.

As in `schedule.causal`, a table says where the sequences lie.  A task takes a run of channels of
all of them, because their weights' gradients are sums over all times; it goes through each sequence
from its end to its beginning, in blocks of time: what the gradient of an input takes of later
outputs is near then.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any, NamedTuple

import numpy as np

from depthwise.machine.target import Target
from depthwise.problem.causal_gradient import CausalGradientSpec
from depthwise.problem.problem import Problem
from depthwise.schedule import causal
from depthwise.schedule.causal import Lies, Numbers
from depthwise.schedule.one_way import OneWay
from depthwise.schedule.plan import Plan
from depthwise.schedule.steps import INPUT, OUTPUT, Step, worth_waking

ROWS = causal.ROWS
HEADER = ("rows", "x_step", "grad_step", "y_step", "weights")
"""What a table begins with: how many rows it has, how far apart two neighbours lie in x, in grad
and in the gradient of x (see `causal.HEADER`), and where the gradients of weights begin in the
output; those of the bias follow them."""
_LENGTH = 1024
_BYTES_OF_A_RUN = 1024
_CHANNELS_OF_A_TASK = 4
_TIMES_FIRST, _TIMES_LAST = 256, 16
"""The times of a block, channels-first and channels-last."""


class Row(NamedTuple):
    """One sequence, each number of it counted in elements."""

    x: Any
    """Where it begins in x."""
    grad: Any
    """Where it begins in grad."""
    y: Any
    """Where the gradient of it begins in the output."""
    length: Any
    """How many times it has."""
    state: Any
    """Where its state begins among the states, where there are any."""
    of_state: Any
    """Where the gradient of that begins in the output."""


@dataclass(frozen=True)
class CausalGradient(OneWay):
    """The rule for all of them."""

    name: str = "causal_gradient"
    sums: bool = False

    def steps(self, problem: Problem, plan: Plan, target: Target) -> tuple[Step, ...]:
        """Return the one launch, whose code is that of all lengths."""
        assert isinstance(problem, CausalGradientSpec)
        table = _whole_table(problem)
        return (
            Step(
                "", code_of(problem), plan, (INPUT, *problem.operands, ROWS, OUTPUT),
                worth_waking(problem), constants={ROWS: tuple(table.tolist())},
                tasks=runs(problem, target),
            ),
        )  # fmt: skip


def code_of(spec: CausalGradientSpec) -> CausalGradientSpec:
    """Return the problem whose code computes this one: it has neither its batch nor its length."""
    return replace(spec, conv=replace(spec.conv, batch=1, length=_LENGTH))


def channels_of_a_run(spec: CausalGradientSpec, target: Target) -> int:
    """Return how many neighbouring channels a task computes."""
    if spec.conv.channels_last:
        return max(_BYTES_OF_A_RUN // spec.element.bytes, target.lanes(spec.dtype))
    return _CHANNELS_OF_A_TASK


def runs(spec: CausalGradientSpec, target: Target) -> int:
    """Return how many tasks there are."""
    return -(-spec.conv.channels // channels_of_a_run(spec, target))


def times_of_a_block(spec: CausalGradientSpec, lanes: int) -> int:
    """Return how many times are computed at once: no fewer than taps reach, in whole vectors."""
    if spec.conv.channels_last:
        return max(_TIMES_LAST, spec.conv.before)
    return max(_TIMES_FIRST, -(-spec.conv.before // lanes) * lanes)


def table_of(rows: Row, x: Lies, grad: Lies, y: Lies, weights: int) -> Numbers:
    """Return the table of some sequences.

    Args:
        rows: each number as an array, an element for each sequence.
        x: how x lies.
        grad: how grad lies.
        y: how the gradient of x lies.
        weights: where the gradients of weights begin in the output.
    """
    header = len(rows.length), x.step, grad.step, y.step, weights
    return np.concatenate([header, np.stack(rows, axis=1).ravel()]).astype(np.int64)


def _whole_table(spec: CausalGradientSpec) -> Numbers:
    """Return the table of a problem whose arrays are whole."""
    conv = spec.conv
    size, count = conv.channels * conv.length, np.arange(conv.batch, dtype=np.int64)
    lies = Lies(conv.channels_last, conv.channels if conv.channels_last else conv.length, size)
    states = count * (conv.channels * conv.state)
    sizes = [prod(shape) for name, shape in spec.outputs.items() if name != "state"]
    places = count * size
    length = np.full_like(count, conv.length)
    rows = Row(places, places, places, length, states, states + sum(sizes))
    return table_of(rows, lies, lies, lies, conv.batch * size)
