"""When each step of a network runs within a call: means of calls that were timed as a whole too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np


@dataclass(frozen=True)
class Span:
    """When something runs, in microseconds from where the call begins.

    Attributes:
        begin_us: when it begins.
        us: how long it takes, without what lies between its own parts.
    """

    begin_us: float
    us: float


def typical(calls: Sequence[Sequence[float]]) -> list[float]:
    """Return the moments of a call in microseconds from its first: means of the fastest quarter.

    These are means of the very same calls, so what lies between moments adds up to the whole call,
    and none of it is negative.  The slower calls are left out: something disturbed them.

    Args:
        calls: of each, as many moments by the clock in seconds, in order, its end the last.
    """
    moments = np.array(calls)
    moments -= moments[:, :1].copy()
    fastest = np.argsort(moments[:, -1], kind="stable")[: ceil(len(moments) / 4)]
    found: list[float] = (moments[fastest].mean(axis=0) * 1e6).tolist()
    return found


def spans(makes: Sequence[int], moments: Sequence[float]) -> dict[int, Span]:
    """Return when each value is made or moved.

    Args:
        makes: the number of the value that each run makes or moves.
        moments: `typical` of calls of `Execution.clocked`.
    """
    found: dict[int, Span] = {}
    for number, begin, end in zip(makes, moments[1:-1:2], moments[2:-1:2], strict=True):
        before = found.get(number, Span(begin, 0.0))
        found[number] = Span(before.begin_us, before.us + end - begin)
    return found
