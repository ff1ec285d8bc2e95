"""No schedule at all: the loops as they are defined, the baseline that TVM gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.schedule.plan import Plan
from depthwise.schedule.rule import Form, by_transforming

name = "default"


def rejects(spec: ConvSpec, target: Target) -> str | None:
    """Take everything."""
    return None


def default_plan(spec: ConvSpec, target: Target) -> Plan:
    """Return the only plan."""
    return Plan(name)


def plans(spec: ConvSpec, target: Target) -> Iterator[Plan]:
    """Yield the only plan."""
    yield Plan(name)


def form(spec: ConvSpec, plan: Plan, target: Target) -> Form:
    """Compute in the layout of the data."""
    return Form()


def apply(sch: Any, spec: ConvSpec, plan: Plan) -> None:
    """Leave the program as it is."""


scheduled = by_transforming(apply)
