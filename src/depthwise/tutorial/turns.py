"""Which thread computes which tasks of a launch, and when: watched, and drawn."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from threading import get_ident
from time import perf_counter
from typing import TYPE_CHECKING, Any

from depthwise.kernel.kernel import Launch
from depthwise.machine import team
from depthwise.tutorial.picture import COLOURS, canvas, picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FILLED = 0.35
"""How much of its colour a bar has, so that letters are read on it in light and dark."""
_WIDE_ENOUGH = 0.06
"""The part of the whole time that a turn lasts whose tasks are written on it."""


@dataclass(frozen=True)
class Turn:
    """A run of neighbouring tasks that a thread computed in one go."""

    thread: int
    """Which thread of the team, by the run of tasks that it began with."""
    owner: int
    """Whose share the tasks were."""
    tasks: range
    begin: float
    """Microseconds since the launch."""
    end: float

    @property
    def us_per_task(self) -> float:
        """Microseconds a task."""
        return (self.end - self.begin) / len(self.tasks)


def watch(launch: Launch, threads: int, handicap: int = 1) -> list[Turn]:
    """Run a kernel on the team and return who computed what, in the order in which turns ended.

    The team calls a function that notes the time round the kernel's own machine code.

    Args:
        launch: machine code, of at least two tasks a thread, and its arrays.
        threads: of the team.
        handicap: how often the calling thread computes each of its runs, to be that much slower.
    """
    code, caller = launch.code, get_ident()
    pointers = [ctypes.c_void_p] * (len(launch.arrays) + bool(code.scratch_bytes))
    form = ctypes.CFUNCTYPE(None, *pointers, ctypes.c_int32, ctypes.c_int32)
    kernel = form(code.address)
    noted: list[tuple[int, range, float, float]] = []

    def note(*arguments: Any) -> None:
        *_, first, last = arguments
        thread, begin = get_ident(), perf_counter()
        for _ in range(handicap if thread == caller else 1):
            kernel(*arguments)
        noted.append((thread, range(first, last), begin, perf_counter()))

    watched = form(note)
    address = ctypes.cast(watched, ctypes.c_void_p).value
    for _ in range(2):  # the first time, threads may have to be made
        noted.clear()
        start = perf_counter()
        team.native().run(address, code.tasks, threads, code.scratch_bytes, *launch.arrays)
    return _turns(noted, team.shares(code.tasks, threads), start)


def _turns(
    noted: Sequence[tuple[int, range, float, float]], shares: list[list[range]], start: float
) -> list[Turn]:
    """Return the turns, threads numbered by the run that each begins with."""
    owners = {run: member for member, runs in enumerate(shares) for run in runs}
    beginnings = {runs[0]: member for member, runs in enumerate(shares)}
    members = {thread: beginnings[run] for thread, run, *_ in noted if run in beginnings}
    return [
        Turn(members[thread], owners[run], run, (begin - start) * 1e6, (end - start) * 1e6)
        for thread, run, begin, end in noted
    ]


@picture
def timeline(turns: Sequence[Turn]) -> tuple[Figure, str]:
    """Draw what each thread did, from left to right; colours tell whose share it was."""
    from matplotlib.colors import to_rgba

    threads = 1 + max(turn.owner for turn in turns)
    whole = max(turn.end for turn in turns)
    figure, axes = canvas(7, 0.9 + 0.42 * threads)
    for turn in turns:
        colour = COLOURS[turn.owner % len(COLOURS)]
        axes.barh(
            turn.thread, turn.end - turn.begin, 0.7, turn.begin,
            color=to_rgba(colour, _FILLED), edgecolor=colour,
        )  # fmt: skip
        middle = (turn.begin + turn.end) / 2
        if turn.end - turn.begin > _WIDE_ENOUGH * whole:
            label = f"{turn.tasks[0]} to {turn.tasks[-1]}"
            axes.text(middle, turn.thread, label, ha="center", va="center", fontsize=8.5)
    axes.set(xlabel="microseconds since the launch", ylim=(threads - 0.5, -0.5), xlim=(0, None))
    axes.set_yticks(range(threads), [f"thread {thread}" for thread in range(threads)])
    return figure, _in_words(turns, threads)


def _in_words(turns: Sequence[Turn], threads: int) -> str:
    parts = []
    for thread in range(threads):
        own = [turn for turn in turns if turn.thread == thread]
        tasks = sum(len(turn.tasks) for turn in own)
        taken = sum(len(turn.tasks) for turn in own if turn.owner != thread)
        end = max((turn.end for turn in own), default=0.0)
        parts.append(
            f"thread {thread} computed {tasks} tasks, {taken} of them from the share of another, "
            f"and was done after {end:.0f} microseconds"
        )
    return f"Tasks of a launch over time: {'; '.join(parts)}."
