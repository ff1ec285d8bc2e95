"""What is computed in one way, with nothing to choose: passes over pixels, pools, and the like."""

from __future__ import annotations

from dataclasses import dataclass, field

from depthwise.machine.target import Target
from depthwise.problem.problem import Problem
from depthwise.schedule.plan import Plan
from depthwise.schedule.rule import needs_wider_sums
from depthwise.schedule.steps import Step, alone


@dataclass(frozen=True)
class OneWay:
    """A rule with one plan, which takes every problem of its kind but for some element types.

    Attributes:
        name: how plans call it.
        sums: whether it adds up elements, in their own type.
    """

    name: str
    sums: bool = True
    tiles: dict[str, str] = field(default_factory=dict, hash=False)

    def rejects(self, problem: Problem, target: Target) -> str | None:
        """Say why the rule does not take a problem, or None where it does."""
        del target
        return needs_wider_sums(problem) if self.sums else None

    def default_plan(self, problem: Problem, target: Target, threads: int) -> Plan:
        """Return the only plan."""
        del problem, target, threads
        return Plan(self.name)

    def plans(self, problem: Problem, target: Target) -> tuple[Plan, ...]:
        """Return the only plan."""
        del problem, target
        return (Plan(self.name),)

    def steps(self, problem: Problem, plan: Plan, target: Target) -> tuple[Step, ...]:
        """Return the one launch, which takes the arrays as a call gives them."""
        del target
        return (alone(problem, plan, {}),)
