"""A laboratory that replays recorded times: no process, no compiler, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle

from depthwise import Plan
from depthwise.store.database import Failure
from depthwise.tuning.search import TrialError


class Recorded:
    """Each plan has a time, a list of times that are given in turn, or the failure that it ends in.

    Args:
        times: by plan; in microseconds.
        otherwise: the time of every plan that is not in `times`.
    """

    def __init__(
        self, times: Mapping[Plan, float | list[float] | Failure], otherwise: float = 100.0
    ) -> None:
        self._times, self._otherwise = times, otherwise
        self._turns = {
            plan: cycle(found) for plan, found in times.items() if isinstance(found, list)
        }
        self.posed: list[str] = []
        self.closed = 0
        self.prepared: list[Plan] = []
        self.seconds: list[float] = []
        self.start_seconds = 0.0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def close(self):
        self.closed += 1

    def pose(self, spec):
        self.posed.append(str(spec))

    def prepare(self, plan, seconds):
        self.prepared.append(plan)
        self.seconds.append(seconds)
        if isinstance(failure := self._times.get(plan), str):
            raise TrialError(failure, f"recorded as {failure}")

    def sample(self, plan, repeats, *_):
        if isinstance(failure := self._times.get(plan), str):
            raise TrialError(failure, f"recorded as {failure}")
        if plan in self._turns:
            return [next(self._turns[plan]) for _ in range(repeats)]
        return [self._times.get(plan, self._otherwise)] * repeats
