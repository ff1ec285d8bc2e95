"""The search for the fastest plan of a problem.

Plans are tried one by one, the default first, then whichever is nearest to the best so far: each is
built, held against the oracle and timed, in a process of its own (see `trials`).  What came of it
is written down at once (see `plan_database`), so that a search which is interrupted, or ends with
its budget, goes on from there the next time.  Then the fastest few and the default are timed once
more, in turns, and the winner of that is remembered: `compile` takes it from then on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Protocol

import numpy as np

from depthwise import plan_database, schedule
from depthwise.errors import InternalError, SpecError
from depthwise.plan import Plan
from depthwise.plan_database import Failure, Trial
from depthwise.spec import ConvSpec
from depthwise.target import Target

BUDGET_SECONDS = 10.0
LARGE_KERNEL_BUDGET_SECONDS = 30.0
"""For kernels of `LARGE_KERNEL` taps and more along an axis, which take longer to build."""
LARGE_KERNEL = 7
SEARCH_SHARE = 0.75
"""The part of the budget after which no further plan is tried."""
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
OTHER_SCHEDULE = 1.0
"""How much farther a plan of another schedule than the best one's is: one doubling of a tile."""


class TrialError(Exception):
    """A plan that cannot be timed."""

    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(detail)
        self.trial = Trial(failure=failure, detail=detail)


class Laboratory(Protocol):
    """What plans are tried with: `trials.Laboratory`, or recorded times."""

    def pose(self, spec: ConvSpec) -> None:
        """Take up a problem."""

    def prepare(self, plan: Plan, seconds: float) -> None:
        """Build and verify a plan; raises `TrialError`."""

    def sample(self, plan: Plan, repeats: int, min_seconds: float) -> list[float]:
        """Return so many samples of the time of one call in microseconds; raises `TrialError`."""


@dataclass(frozen=True)
class Tuning:
    """What a search found."""

    spec: ConvSpec
    threads: int
    plan: Plan
    """The winner, which is the default where nothing is clearly faster."""
    us: float
    """Its time of one call in microseconds: the lower quartile of the last rounds."""
    default: Plan
    """The heuristic's plan."""
    default_us: float | None
    """The default's in the same rounds; None where it failed."""
    trials: Mapping[Plan, Trial]
    """Everything that was tried, now or before."""
    legal: int
    """How many plans there are to try."""

    @property
    def gain(self) -> float | None:
        """How many times as fast as the default the winner is."""
        return self.default_us / self.us if self.default_us else None

    @property
    def tried(self) -> int:
        """How many plans were tried, now or before."""
        return len(self.trials)


def budget(spec: ConvSpec) -> float:
    """Return how many seconds a search takes at most, unless told otherwise."""
    large = max(spec.kernel) >= LARGE_KERNEL
    return LARGE_KERNEL_BUDGET_SECONDS if large else BUDGET_SECONDS


def search(
    spec: ConvSpec,
    target: Target,
    threads: int,
    laboratory: Laboratory,
    seconds: float | None,
    step: Callable[[Plan], object],
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
    if seconds is not None and not seconds > 0:
        raise SpecError(f"seconds are more than 0; got {seconds}: {spec}")
    start, allowed = clock(), budget(spec) if seconds is None else seconds
    hunt = _Search(spec, target, threads, laboratory)
    laboratory.pose(spec)
    fresh = True
    while hunt.untried and (fresh or clock() < start + SEARCH_SHARE * allowed):
        plan = hunt.next_plan()
        step(plan)
        hunt.attempt(plan, allowed if plan == hunt.default else PLAN_SHARE * allowed)
        fresh = False
    times = hunt.last_rounds(lambda: clock() >= start + allowed)
    if not times:
        raise InternalError(
            f"one plan at least can be timed; got none in {len(hunt.found)}, the first of them "
            f"{hunt.default}, {hunt.found[hunt.default].detail}: {spec}"
        )
    winner = _winner(times, hunt.default)
    plan_database.remember(spec, target, winner)
    return Tuning(
        spec=spec,
        threads=threads,
        plan=winner,
        us=_time(times[winner]),
        default=hunt.default,
        default_us=_time(times[hunt.default]) if hunt.default in times else None,
        trials=hunt.found,
        legal=len(legal_plans(spec, target)),
    )


def legal_plans(spec: ConvSpec, target: Target) -> list[Plan]:
    """Return every legal plan of a problem once, the heuristic's first."""
    plans = [schedule.default_plan(spec, target), *schedule.legal_plans(spec, target)]
    return list(dict.fromkeys(plans))


class _Search:
    """The plans of one problem: what came of those that were tried, and those that were not."""

    def __init__(
        self, spec: ConvSpec, target: Target, threads: int, laboratory: Laboratory
    ) -> None:
        self._place = spec, target, threads
        self._laboratory = laboratory
        legal = legal_plans(spec, target)
        self.default = legal[0]
        known = plan_database.trials(spec, target, threads)
        self.found = {plan: known[plan] for plan in legal if plan in known}
        self.untried = [plan for plan in legal if plan not in known]
        self._defaults = {
            rule.name: rule.default_plan(spec, target)
            for rule in schedule.RULES
            if rule.rejects(spec, target) is None
        }

    def next_plan(self) -> Plan:
        """Return the untried plan that is nearest to the best so far; at first the default.

        Tiles of another schedule mean something else: there, it is the one nearest to the best of
        that schedule, or to its default.
        """
        if self.default in self.untried:
            return self.default
        best = self._best(self.found)
        centres = {
            name: self._best([plan for plan in self.found if plan.schedule == name], default)
            for name, default in self._defaults.items()
        }

        def distance(plan: Plan) -> float:
            farther = 0.0 if plan.schedule == best.schedule else OTHER_SCHEDULE
            return farther + _doublings(plan, centres[plan.schedule])

        return min(self.untried, key=distance)

    def attempt(self, plan: Plan, seconds: float) -> None:
        """Build, verify and time a plan; one that is clearly slower than the best only shortly."""
        enough = CLEARLY_SLOWER * min((trial.us for trial in self.found.values()), default=math.inf)
        try:
            self._laboratory.prepare(plan, seconds)
            samples = self._laboratory.sample(plan, FIRST_SAMPLES, SAMPLE_SECONDS)
            if min(samples) <= enough:
                samples += self._laboratory.sample(plan, MORE_SAMPLES, SAMPLE_SECONDS)
        except TrialError as error:
            self._note(plan, error.trial)
        else:
            self._note(plan, Trial(tuple(samples)))

    def last_rounds(self, late: Callable[[], bool]) -> dict[Plan, list[float]]:
        """Time the default and the fastest plans in turns, so that noise meets them all alike."""
        timed = sorted((p for p in self.found if self.found[p].samples), key=self._us)
        finalists = [plan for plan in timed if plan == self.default or plan in timed[:FINALISTS]]
        times: dict[Plan, list[float]] = {plan: [] for plan in finalists}
        for finished in range(ROUNDS):
            if finished >= FEWEST_ROUNDS and late():
                break
            for plan in list(times):
                try:
                    times[plan] += self._laboratory.sample(plan, 1, SAMPLE_SECONDS)
                except TrialError as error:
                    self._note(plan, error.trial)
                    del times[plan]
        return times

    def _note(self, plan: Plan, trial: Trial) -> None:
        self.found[plan] = trial
        self.untried = [other for other in self.untried if other != plan]
        plan_database.add_trial(*self._place, plan, trial)

    def _best(self, plans: Iterable[Plan], default: Plan | None = None) -> Plan:
        return min(plans, key=self._us, default=default or self.default)

    def _us(self, plan: Plan) -> float:
        return self.found[plan].us


def _winner(times: Mapping[Plan, Sequence[float]], default: Plan) -> Plan:
    """Return the fastest plan if its time is below every one of the default's, else the default."""
    fastest = min(times, key=lambda plan: _time(times[plan]))
    clear = default not in times or _time(times[fastest]) < min(times[default])
    return fastest if clear else default


def _time(rounds: Sequence[float]) -> float:
    """Return the time of a plan without the noise in it."""
    return float(np.percentile(rounds, UNDISTURBED))


def _doublings(a: Plan, b: Plan) -> float:
    """Return how many times the tiles of a plan are to be doubled or halved to get another's."""
    tiles = zip(astuple(a)[1:], astuple(b)[1:], strict=True)
    return sum(abs(math.log2(one / other)) for one, other in tiles)
