"""Functions of each element, one after the other: one way, with nothing to choose."""

from __future__ import annotations

from depthwise.machine.target import Target
from depthwise.problem.elementwise import ElementwiseSpec
from depthwise.schedule.plan import Plan
from depthwise.schedule.steps import Step, alone

name = "elementwise"
tiles: dict[str, str] = {}


def rejects(spec: ElementwiseSpec, target: Target) -> str | None:
    """Take every chain."""
    return None


def default_plan(spec: ElementwiseSpec, target: Target, threads: int) -> Plan:
    """Return the only plan."""
    return Plan(name)


def plans(spec: ElementwiseSpec, target: Target) -> tuple[Plan, ...]:
    """Return the only plan."""
    return (Plan(name),)


def steps(spec: ElementwiseSpec, plan: Plan, target: Target) -> tuple[Step, ...]:
    """Return the one launch, which takes the arrays as a call gives them."""
    return (alone(spec, plan, {}),)
