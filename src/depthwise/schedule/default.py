"""No schedule at all: the loops as they are defined, the baseline that TVM gives."""

from __future__ import annotations

from collections.abc import Iterator

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.schedule.form import Form, PlainForm
from depthwise.schedule.plan import Plan
from depthwise.schedule.steps import one_step

name = "default"
tiles: dict[str, str] = {}


def rejects(spec: ConvSpec, target: Target) -> str | None:
    """Take every convolution that is not packed."""
    return "packed data have a schedule of their own" if spec.packed else None


def default_plan(spec: ConvSpec, target: Target, threads: int) -> Plan:
    """Return the only plan."""
    return Plan(name)


def plans(spec: ConvSpec, target: Target) -> Iterator[Plan]:
    """Yield the only plan."""
    yield Plan(name)


def form(spec: ConvSpec, plan: Plan, target: Target) -> Form:
    """Compute in the layout of the data."""
    return PlainForm()


steps = one_step(form)
