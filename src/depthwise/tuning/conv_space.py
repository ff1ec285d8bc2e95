"""The plans of a convolution: few enough to try them all, the most promising first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple
from typing import Any

from depthwise import schedule
from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.schedule.plan import Plan

OTHER_SCHEDULE = 1.0
"""How much farther a plan of another schedule than the best one's is: one doubling of a tile."""


class ConvSpace:
    """The legal plans of a convolution: those of every rule that takes it."""

    def __init__(self, spec: ConvSpec, target: Target) -> None:
        default: Any = schedule.default_plan(spec, target)
        legal: Iterator[Any] = schedule.legal_plans(spec, target)
        self.default: Plan = default
        self._plans: dict[Plan, None] = dict.fromkeys([default, *legal])
        self.size = len(self._plans)
        self._defaults: dict[str, Plan] = {
            rule.name: rule.default_plan(spec, target, 1)
            for rule, reason in schedule.ranking(spec, target, 1).items()
            if reason is None
        }

    def __contains__(self, plan: object) -> bool:
        return plan in self._plans

    def __iter__(self) -> Iterator[Plan]:
        return iter(self._plans)

    def walk(self, times: Mapping[Plan, float]) -> Iterator[Plan]:
        """Yield each plan that is not in `times`, the one that is nearest to the best so far next.

        At first that is the default.  Tiles of another schedule mean something else: there, it is
        the one nearest to the best of that schedule, or to its default.
        """
        untried = [plan for plan in self._plans if plan not in times]
        while untried:
            plan = self.default if self.default in untried else self._nearest(untried, times)
            untried.remove(plan)
            yield plan

    def _nearest(self, untried: Iterable[Plan], times: Mapping[Plan, float]) -> Plan:
        best = min(times, key=times.__getitem__)
        centres = {
            name: min(
                (plan for plan in times if plan.schedule == name),
                key=times.__getitem__,
                default=default,
            )
            for name, default in self._defaults.items()
        }

        def distance(plan: Plan) -> float:
            farther = 0.0 if plan.schedule == best.schedule else OTHER_SCHEDULE
            return farther + doublings(plan, centres[plan.schedule])

        return min(untried, key=distance)


def doublings(a: Plan, b: Plan) -> float:
    """Return how many times the tiles of a plan are to be doubled or halved to get another's."""
    tiles = zip(astuple(a)[1:], astuple(b)[1:], strict=True)
    return sum(abs(math.log2(one / other)) for one, other in tiles)
