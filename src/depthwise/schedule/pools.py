"""Pools: one way, with nothing to choose."""

from __future__ import annotations

from depthwise.machine.target import Target
from depthwise.problem.pools import PoolSpec
from depthwise.schedule.plan import Plan
from depthwise.schedule.rule import needs_wider_sums
from depthwise.schedule.steps import Step, alone

name = "pools"
tiles: dict[str, str] = {}


def rejects(spec: PoolSpec, target: Target) -> str | None:
    """Take every pool."""
    return needs_wider_sums(spec)


def default_plan(spec: PoolSpec, target: Target, threads: int) -> Plan:
    """Return the only plan."""
    return Plan(name)


def plans(spec: PoolSpec, target: Target) -> tuple[Plan, ...]:
    """Return the only plan."""
    return (Plan(name),)


def steps(spec: PoolSpec, plan: Plan, target: Target) -> tuple[Step, ...]:
    """Return the one launch, which takes the arrays as a call gives them."""
    return (alone(spec, plan, {}),)
