"""The mean of pixels and their normalisation: one way, with nothing to choose."""

from __future__ import annotations

from depthwise.machine.target import Target
from depthwise.problem.pixels import PixelSpec
from depthwise.schedule.plan import Plan
from depthwise.schedule.rule import needs_wider_sums
from depthwise.schedule.steps import Step, alone

name = "pixel_passes"
tiles: dict[str, str] = {}


def rejects(spec: PixelSpec, target: Target) -> str | None:
    """Take every mean and norm."""
    return needs_wider_sums(spec)


def default_plan(spec: PixelSpec, target: Target, threads: int) -> Plan:
    """Return the only plan."""
    return Plan(name)


def plans(spec: PixelSpec, target: Target) -> tuple[Plan, ...]:
    """Return the only plan."""
    return (Plan(name),)


def steps(spec: PixelSpec, plan: Plan, target: Target) -> tuple[Step, ...]:
    """Return the one launch, which takes the arrays as a call gives them."""
    return (alone(spec, plan, {}),)
