"""The search for the fastest plan of a problem.

Plans are tried one by one, the default first, then those near the best so far (see `space`):
each is built, held against the oracle and timed, in a process of its own (see `trials`).  What came
of it is written down at once (see `store.database`), so that a search which is interrupted, or ends
with its budget, goes on from there the next time.  Then the fastest few and the default are timed
once more, in turns and in a new process, where memory lies elsewhere: that can cost a plan a tenth
of its speed.  The winner is remembered: `compile` takes it from then on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Protocol

import numpy as np

from depthwise.errors import InternalError, SpecError
from depthwise.machine.target import Target
from depthwise.problem.problem import Problem
from depthwise.problem.values import shown
from depthwise.schedule.plan import AnyPlan
from depthwise.store import database
from depthwise.store.database import Failure, Trial
from depthwise.tuning.space import space

BUDGET_SECONDS = 10.0
LARGE_BUDGET_SECONDS = 30.0
"""For kernels of `LARGE_KERNEL` taps and more along an axis, and for blocks: both take longer to
build."""
LARGE_KERNEL = 7
LAST_SHARE = 0.25
"""The part of the budget that is left at most for timing the fastest once more."""
PLAN_SHARE = 0.25
"""The part of the budget that a plan may take until it is verified; the default may take all."""

SAMPLE_SECONDS = 0.0005
"""How long a sample lasts: often shorter than what else the machine does leaves it alone."""
FIRST_SAMPLES, MORE_SAMPLES = 4, 8
"""The latter only of a plan that is not clearly slower than the best one."""
CLEARLY_SLOWER = 1.3
FINALISTS = 4
"""The fastest plans that are timed once more, beside the default."""
ROUNDS = 60
FEWEST_ROUNDS = 5
"""Where a call takes so long that the budget ends before."""
UNDISTURBED = 25
"""Percent of the rounds that are taken to be free of noise, which only ever adds time."""


class TrialError(Exception):
    """A plan that cannot be timed."""

    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(detail)
        self.trial = Trial(failure=failure, detail=detail)


class Laboratory(Protocol):
    """What plans are tried with: `trials.Laboratory`, or recorded times."""

    @property
    def start_seconds(self) -> float:
        """What starting processes and taking up problems has taken so far; no budget has it."""

    def pose(self, spec: Problem) -> None:
        """Take up a problem."""

    def prepare(self, plan: AnyPlan, seconds: float) -> None:
        """Build and verify a plan; raises `TrialError`."""

    def sample(self, plan: AnyPlan, repeats: int, min_seconds: float) -> list[float]:
        """Return so many samples of the time of one call in microseconds; raises `TrialError`."""

    def close(self) -> None:
        """End the process; what is asked next runs in a new one."""


@dataclass(frozen=True)
class Tuning:
    """What a search found."""

    spec: Problem
    threads: int
    plan: AnyPlan
    """The winner, which is the default where nothing is clearly faster."""
    us: float
    """Its time of one call in microseconds: the lower quartile of the last rounds."""
    default: AnyPlan
    """The heuristic's plan."""
    default_us: float | None
    """The default's in the same rounds; None where it failed."""
    trials: Mapping[AnyPlan, Trial]
    """Everything that was tried, now or before."""
    fresh: int
    """How many of these were tried now."""
    start_seconds: float
    """What starting the processes took, with making arrays and what the oracle expects."""
    seconds: float
    """What everything else took: that is what a budget is for."""
    legal: int | None
    """How many plans there are to try; None where what comes of one says which are next."""
    complete: bool
    """Whether there is nothing left to try."""

    @property
    def gain(self) -> float | None:
        """How many times as fast as the default the winner is."""
        return self.default_us / self.us if self.default_us else None

    @property
    def tried(self) -> int:
        """How many plans were tried, now or before."""
        return len(self.trials)


def budget(spec: Problem) -> float:
    """Return how many seconds a search takes at most, unless told otherwise."""
    small = len(spec.parts) == 1 and max(spec.parts[0].kernel) < LARGE_KERNEL
    return BUDGET_SECONDS if small else LARGE_BUDGET_SECONDS


def search(
    spec: Problem,
    target: Target,
    threads: int,
    laboratory: Laboratory,
    seconds: float | None,
    step: Callable[[AnyPlan], object],
    clock: Callable[[], float] = time.monotonic,
) -> Tuning:
    """Find the fastest legal plan of a problem, and remember it.

    Args:
        spec: the problem.
        target: this machine.
        threads: on which every plan is timed.
        laboratory: builds, verifies and times.
        seconds: after which the search ends with the best that was found; None is `budget`.
        step: called before each trial with its plan.
        clock: the seconds that pass.

    Raises:
        SpecError: there are no seconds.
        InternalError: no plan that was tried computes the problem.
    """
    given: Any = seconds
    if given is not None and not (isinstance(given, Real) and float(given) > 0):
        raise SpecError(f"seconds are more than 0; got {shown(seconds)}: {spec}")
    before = laboratory.start_seconds
    spent = _Spent(laboratory, clock)
    hunt = _Search(spec, target, threads, laboratory, seconds or budget(spec), spent)
    laboratory.pose(spec)
    plan = next(hunt.untried, None)
    while plan and hunt.has_time:
        step(plan)
        hunt.attempt(plan)
        plan = next(hunt.untried, None)
    times = hunt.last_rounds()
    if not times:
        raise InternalError(
            f"one plan at least can be timed; got none in {len(hunt.found)}, the first of them "
            f"{hunt.default}, {hunt.found[hunt.default].detail}: {spec}"
        )
    winner = _winner(times, hunt.default, hunt.found[hunt.default].samples)
    database.remember(spec, target, winner)
    return Tuning(
        spec=spec,
        threads=threads,
        plan=winner,
        us=_time(times[winner]),
        default=hunt.default,
        default_us=_time(times[hunt.default]) if hunt.default in times else None,
        trials=hunt.found,
        legal=hunt.space.size,
        complete=plan is None,
        fresh=hunt.fresh,
        start_seconds=laboratory.start_seconds - before,
        seconds=spent(),
    )


class _Spent:
    """The seconds since it was made, without those that the laboratory took to start."""

    def __init__(self, laboratory: Laboratory, clock: Callable[[], float]) -> None:
        self._laboratory, self._clock = laboratory, clock
        self._begin = self._now()

    def __call__(self) -> float:
        return self._now() - self._begin

    def _now(self) -> float:
        return self._clock() - self._laboratory.start_seconds


class _Search:
    """The plans of one problem: what came of those that were tried, and those that were not."""

    def __init__(
        self,
        spec: Problem,
        target: Target,
        threads: int,
        laboratory: Laboratory,
        allowed: float,
        spent: Callable[[], float],
    ) -> None:
        self._place = spec, target, threads
        self._laboratory = laboratory
        self._allowed, self._spent = allowed, spent
        self.space = space(spec, target)
        self.default = self.space.default
        known = database.trials(spec, target, threads)
        self.found = {plan: trial for plan, trial in known.items() if plan in self.space}
        self._times = {plan: trial.us for plan, trial in self.found.items()}
        self.untried = self.space.walk(self._times)
        self.fresh = 0
        self._longest = 0.0

    @property
    def has_time(self) -> bool:
        """Whether another plan can be tried, and the last rounds have the time that they take.

        One plan is tried however little time there is.
        """
        a_round = sum(max(SAMPLE_SECONDS, self._us(plan) / 1e6) for plan in self._finalists())
        last = min(LAST_SHARE * self._allowed, ROUNDS * a_round)
        return not self.fresh or self._spent() + self._longest + last <= self._allowed

    def attempt(self, plan: AnyPlan) -> None:
        """Build, verify and time a plan; one that is clearly slower than the best only shortly."""
        enough = CLEARLY_SLOWER * min(self._times.values(), default=math.inf)
        self.fresh += 1
        begin = self._spent()
        try:
            share = 1.0 if plan == self.default else PLAN_SHARE
            self._laboratory.prepare(plan, share * self._allowed)
            samples = self._laboratory.sample(plan, FIRST_SAMPLES, SAMPLE_SECONDS)
            if min(samples) <= enough:
                samples += self._laboratory.sample(plan, MORE_SAMPLES, SAMPLE_SECONDS)
        except TrialError as error:
            self._note(plan, error.trial)
        else:
            self._note(plan, Trial(tuple(samples)))
        self._longest = max(self._longest, self._spent() - begin)

    def last_rounds(self) -> dict[AnyPlan, list[float]]:
        """Time the default and the fastest plans in turns, so that noise meets them all alike."""
        times: dict[AnyPlan, list[float]] = {plan: [] for plan in self._finalists()}
        self._laboratory.close()
        self._add_round(times)  # which loads them
        for finished in range(1, ROUNDS):
            if finished >= FEWEST_ROUNDS and self._spent() >= self._allowed:
                break
            self._add_round(times)
        return times

    def _finalists(self) -> list[AnyPlan]:
        """Return the fastest plans so far, and the default."""
        timed = sorted((plan for plan in self.found if self.found[plan].samples), key=self._us)
        return [plan for plan in timed if plan == self.default or plan in timed[:FINALISTS]]

    def _add_round(self, times: dict[AnyPlan, list[float]]) -> None:
        """Take a sample of each plan; one that fails is a finalist no longer."""
        for plan in list(times):
            try:
                times[plan] += self._laboratory.sample(plan, 1, SAMPLE_SECONDS)
            except TrialError as error:
                self._note(plan, error.trial)
                del times[plan]

    def _us(self, plan: AnyPlan) -> float:
        return self._times[plan]

    def _note(self, plan: AnyPlan, trial: Trial) -> None:
        """Take down what came of a plan; of one that was given little time, not for good."""
        self.found[plan] = trial
        self._times[plan] = trial.us
        if trial.failure != "slow" or self._allowed >= budget(self._place[0]):
            database.add_trial(*self._place, plan, trial)


def _winner(
    times: Mapping[AnyPlan, Sequence[float]], default: AnyPlan, earlier: Sequence[float]
) -> AnyPlan:
    """Return the fastest plan if its time is below every one of the default's, else the default.

    Args:
        times: of the last rounds.
        default: the heuristic's plan.
        earlier: its times before, in another process.
    """
    fastest = min(times, key=lambda plan: _time(times[plan]))
    clear = default not in times or _time(times[fastest]) < min(*times[default], *earlier)
    return fastest if clear else default


def _time(rounds: Sequence[float]) -> float:
    """Return the time of a plan without the noise in it."""
    return float(np.percentile(rounds, UNDISTURBED))
