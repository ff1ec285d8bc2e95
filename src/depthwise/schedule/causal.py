"""Causal convolution with state: code for sequences of any length, told by a table where they lie.

The length of sequences changes from call to call, so that one piece of machine code serves all of
them.  It takes a table of *rows*, each a run of time of one sequence, and computes each row for one
run of channels after the other.  Rows may lie anywhere in x and y, and their states anywhere in an
array of states: a batch is a table, sequences of several lengths behind one another are one, and so
are those whose states are some out of many.

Channels-last, vectors run over channels; channels-first, over time.  Where each row is one element
long, there is no such vector: channels-first too, they then run over channels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from depthwise.machine.target import Target
from depthwise.problem.causal import CausalSpec
from depthwise.problem.problem import Problem
from depthwise.schedule.one_way import OneWay
from depthwise.schedule.plan import Plan
from depthwise.schedule.steps import INPUT, OUTPUT, Step, worth_waking

Numbers: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"

ROWS = "rows"
"""What steps call the table."""
HEADER = ("rows", "rows_of_a_task", "x_step", "y_step")
"""What a table begins with: how many rows it has, how many of them a task takes, and how far apart
in x and y two neighbours lie along the axis that is not contiguous: channels channels-first, times
channels-last."""
_LENGTH = 1024
"""The length of the problem that names the code for all lengths."""
_BYTES_OF_A_RUN = 8192
"""Neighbouring channels of a task, channels-last: pages, so that memory is read in its order."""
_BYTES_OF_A_ROW = 2**18
"""What such a task reads of x: it brings its weights into order for that."""
_LONGEST_ROW = 2**15
_CHANNELS_OF_A_TASK = 8
_TIMES_OF_A_TASK = 16


class Row(NamedTuple):
    """A run of time of one sequence."""

    x: Any
    """Where its first element lies in x, counted in elements."""
    y: Any
    """Where its result begins in y."""
    length: Any
    """How many times."""
    before: Any
    """How many elements of its sequence lie in x right before it."""
    state: Any
    """Where the state of the sequence begins among the states, where there are any."""
    to_end: Any
    """How many elements its sequence has from here on, where the state is to be that after the last
    of them; 0 where it is not touched."""


class Lies(NamedTuple):
    """How an array (N, C, L) lies in memory, counted in elements."""

    channels_last: bool
    """Whether neighbours in memory are neighbouring channels, not times."""
    step: int
    """From one neighbour to the next along the other axis."""
    sequence: int
    """From one sequence to the next."""


class Table(NamedTuple):
    """What tells the code where everything lies."""

    numbers: Numbers
    """The header, then the fields of each row."""
    groups: int
    """Into how many groups the rows are cut, which are tasks."""


@dataclass(frozen=True)
class Causal(OneWay):
    """The rule for all of them."""

    name: str = "causal"
    sums: bool = False

    def steps(self, problem: Problem, plan: Plan, target: Target) -> tuple[Step, ...]:
        """Return the one launch, whose code is that of all lengths."""
        assert isinstance(problem, CausalSpec)
        code = code_of(problem)
        table = _whole_table(problem, target)
        return (
            Step(
                "", code, plan, (INPUT, *problem.operands, ROWS, OUTPUT), worth_waking(problem),
                constants={ROWS: tuple(table.numbers.tolist())},
                tasks=table.groups * runs(code, target),
            ),
        )  # fmt: skip


def code_of(spec: CausalSpec) -> CausalSpec:
    """Return the problem whose code computes this one: it has neither its batch nor its length."""
    return replace(spec, batch=1, length=1 if one_time(spec) else _LENGTH)


def one_time(spec: CausalSpec) -> bool:
    """Whether vectors run over channels although their elements lie apart in states."""
    return spec.length == 1 and not spec.channels_last


def channels_of_a_run(spec: CausalSpec, target: Target) -> int:
    """Return how many neighbouring channels a task computes of a row."""
    if spec.channels_last or one_time(spec):
        return max(_BYTES_OF_A_RUN // spec.element.bytes, target.lanes(spec.dtype))
    return _CHANNELS_OF_A_TASK


def runs(spec: CausalSpec, target: Target) -> int:
    """Return how many tasks a row is."""
    return -(-spec.channels // channels_of_a_run(spec, target))


def table_of(
    code: CausalSpec, pieces: Numbers, x: Lies, y: Lies, states: Numbers, *, written: bool,
    target: Target,
) -> Table:  # fmt: skip
    """Return the table of some sequences; long ones are several rows.

    Args:
        code: the problem whose code takes it.
        pieces: (number of the sequence in x, its first time, its length) of each sequence.
        x: how x lies.
        y: how y lies.
        states: where the state of each sequence begins.
        written: whether states are updated.
        target: where the code runs.
    """
    most = longest_row(code, target)
    sequence, start, length = pieces.T
    cuts = np.maximum(-(-length // most), 1)
    of = np.repeat(np.arange(len(pieces)), cuts)
    before = (np.arange(len(of)) - (np.cumsum(cuts) - cuts)[of]) * most
    of_x, of_y = (
        sequence[of] * lying.sequence
        + (start[of] + before) * (lying.step if lying.channels_last else 1)
        for lying in (x, y)
    )
    rows = Row(
        of_x, of_y, np.minimum(length[of] - before, most), before, states[of],
        length[of] * (written & (before == 0)),
    )  # fmt: skip
    group = _rows_of_a_task(len(of), int(length.sum()))
    header = len(of), group, x.step, y.step
    numbers = np.concatenate([header, np.stack(rows, axis=1).ravel()]).astype(np.int64)
    return Table(numbers, -(-len(of) // group))


def with_states(table: Numbers, states: Numbers) -> Numbers:
    """Return a table whose sequences have their states where these begin."""
    found: Numbers = table.copy()
    rows = found[len(HEADER) :].reshape(-1, len(Row._fields))
    before, state = (Row._fields.index(name) for name in ("before", "state"))
    rows[:, state] = states[np.cumsum(rows[:, before] == 0) - 1]
    return found


def longest_row(code: CausalSpec, target: Target) -> int:
    """Return how many times a row has at most: no fewer than taps reach back."""
    times = _LONGEST_ROW
    if code.channels_last:
        run = min(code.channels, channels_of_a_run(code, target))
        times = max(_BYTES_OF_A_ROW // (run * code.element.bytes), _TIMES_OF_A_TASK)
    return max(times, code.before)


def _whole_table(spec: CausalSpec, target: Target) -> Table:
    """Return the table of a problem whose arrays are whole."""
    of_x = Lies(
        spec.channels_last,
        spec.channels if spec.channels_last else spec.length,
        spec.channels * spec.length,
    )
    count = np.arange(spec.batch, dtype=np.int64)
    pieces = np.stack([count, np.zeros_like(count), np.full_like(count, spec.length)], axis=1)
    states = count * (spec.channels * spec.state)
    code, written = code_of(spec), bool(spec.state)
    return table_of(code, pieces, of_x, of_x, states, written=written, target=target)


def _rows_of_a_task(rows: int, times: int) -> int:
    """Return how many rows a task takes: several short ones, because what it prepares is for all.

    Args:
        rows: how many there are.
        times: of all of them together.
    """
    return max(1, min(rows, _TIMES_OF_A_TASK * rows // max(times, 1)))
