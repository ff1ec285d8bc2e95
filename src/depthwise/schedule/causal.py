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

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from depthwise.machine.target import Target
from depthwise.problem.causal import CausalSpec
from depthwise.schedule.plan import Plan
from depthwise.schedule.steps import INPUT, OUTPUT, Step, worth_waking

ROWS = "rows"
"""What steps call the table."""
HEADER = ("rows", "rows_of_a_task", "x_step", "y_step")
"""What a table begins with: how many rows it has, how many of them a task takes, and how far apart
in x and y two neighbours lie along the axis that is not contiguous: channels channels-first, times
channels-last."""
_LENGTH = 1024
"""The length of the problem that names the code for all lengths."""
_BYTES_OF_A_RUN = 1024
"""Neighbouring channels of a task, channels-last: some cache lines of each time."""
_CHANNELS_OF_A_TASK = 8
_TIMES_OF_A_TASK = 16


class Row(NamedTuple):
    """A run of time of one sequence."""

    x: int
    """Where its first element lies in x, counted in elements."""
    y: int
    """Where its result begins in y."""
    length: int
    """How many times."""
    before: int
    """How many elements of its sequence lie in x right before it."""
    state: int = 0
    """Where the state of the sequence begins among the states, where there are any."""
    writes: int = 0
    """1 where the state is to be that after this row."""


@dataclass(frozen=True)
class Causal:
    """The only rule: every problem of the kind in one way."""

    name: str = "causal"
    tiles: Mapping[str, str] = field(default_factory=dict, hash=False)

    def rejects(self, spec: CausalSpec, target: Target) -> str | None:
        """Take every problem."""
        del spec, target
        return None

    def default_plan(self, spec: CausalSpec, target: Target, threads: int) -> Plan:
        """Return the only plan."""
        del spec, target, threads
        return Plan(self.name)

    def plans(self, spec: CausalSpec, target: Target) -> tuple[Plan, ...]:
        """Return the only plan."""
        del spec, target
        return (Plan(self.name),)

    def steps(self, spec: CausalSpec, plan: Plan, target: Target) -> tuple[Step, ...]:
        """Return the one launch, whose code is that of all lengths."""
        code = code_of(spec)
        table = table_of([*rows_of(spec)], *steps_of(spec, spec.length))
        return (
            Step(
                "", code, plan, (INPUT, *spec.operands, ROWS, OUTPUT), worth_waking(spec),
                constants={ROWS: table.numbers}, tasks=table.groups * runs(code, target),
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


def steps_of(spec: CausalSpec, length: int) -> tuple[int, int]:
    """Return the steps of the header where x and y are whole arrays of sequences so long."""
    step = spec.channels if spec.channels_last else length
    return step, step


def rows_of(spec: CausalSpec) -> Iterator[Row]:
    """Yield a row for each sequence of a problem whose arrays are whole."""
    size, state = spec.channels * spec.length, spec.channels * spec.state
    for number in range(spec.batch):
        at = number * size
        yield Row(at, at, spec.length, 0, number * state, int(bool(state)))


@dataclass(frozen=True)
class Table:
    """What tells the code where everything lies."""

    numbers: tuple[int, ...]
    """The header, then the fields of each row."""
    groups: int
    """Into how many groups of rows the tasks are cut."""


def table_of(rows: Sequence[Row], x_step: int, y_step: int) -> Table:
    """Return the table of some rows: as many of short rows to a task as make it worth its turn."""
    each = rows_of_a_task(len(rows), sum(row.length for row in rows))
    numbers = [number for row in rows for number in row]
    return Table((len(rows), each, x_step, y_step, *numbers), -(-len(rows) // each))


def rows_of_a_task(rows: int, times: int) -> int:
    """Return how many rows a task takes: several short ones, because what it prepares is for all.

    Args:
        rows: how many there are.
        times: of all of them together.
    """
    return max(1, min(rows, _TIMES_OF_A_TASK * rows // max(times, 1)))
