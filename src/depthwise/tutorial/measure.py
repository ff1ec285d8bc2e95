"""The clock of the tutorial: calls timed in turns, on the machine that builds the page."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping
from functools import cache

from depthwise.machine import team
from depthwise.measure import roofline, state
from depthwise.measure.timing import Summary, interleave
from depthwise.tutorial import doubts

SHORT = bool(os.environ.get("DEPTHWISE_SHORT"))
"""Whether to measure briefly: fewer rounds, fewer problems, the same pages."""
_ROUNDS, _SHORT_ROUNDS = 15, 3
_MALLOC_OPTIONS = {-1: 2**30, -2: 2**26, -4: 0}
"""What glibc's mallopt is told: M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX."""


def microseconds(runs: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Return the microseconds of a call of each: medians of rounds in which all have their turn.

    Below the cell that measures stands how far the machine was not quiet.
    """
    with state.others() as others:
        found = interleave(runs, _SHORT_ROUNDS if SHORT else _ROUNDS)
    summaries = {name: Summary.of(samples) for name, samples in found.items()}
    doubts.note(summaries.values(), others)
    return {name: summary.median for name, summary in summaries.items()}


def keep_memory() -> None:
    """Let the C library keep what is freed for the results to come.

    Otherwise large results are given back to the system and fault in anew with each call, page by
    page, which can take longer than the operator.  (It matters to libraries that make an array for
    each result; does nothing where the C library is not glibc.)
    """
    if tell := getattr(ctypes.CDLL(None), "mallopt", None):
        for option, value in _MALLOC_OPTIONS.items():
            tell(option, value)


@cache
def limits(threads: int = 1) -> roofline.Roofline:
    """Return the limits of this machine, measured once a page."""
    with state.others() as others:
        found = roofline.measure(threads)
    doubts.note((), others)
    return found


def conditions() -> str:
    """Return in words: the machine, the threads, how carefully it was measured, and the date."""
    about = state.describe()
    threads = team.in_words(team.size())
    care = "measured briefly" if SHORT else f"medians of {_ROUNDS} rounds"
    return f"{about['cpu']} ({about['isa']}), {threads}, {care}, {about['date'][:10]}"
