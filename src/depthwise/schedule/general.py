"""Any convolution: rows in parallel, the sums of a row in a local buffer, the data's own layout.

Correct for every convolution and fast for none in particular: it takes what no other rule does.
"""

from __future__ import annotations

from collections.abc import Iterator

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.schedule.form import Form, PlainForm
from depthwise.schedule.plan import Plan
from depthwise.schedule.steps import one_step

name = "general"
tiles = {"tw": "neighbouring columns that share each weight, channels-last"}


def rejects(spec: ConvSpec, target: Target) -> str | None:
    """Take every convolution that is not packed: the program is the definition, of any type."""
    return "packed data have a schedule of their own" if spec.packed else None


def default_plan(spec: ConvSpec, target: Target, threads: int) -> Plan:
    """Return the plan of four columns, which share each weight that they load."""
    return Plan(name, tw=min(4, spec.out_width))


def plans(spec: ConvSpec, target: Target) -> Iterator[Plan]:
    """Yield the default plan."""
    yield default_plan(spec, target, 1)


def form(spec: ConvSpec, plan: Plan, target: Target) -> Form:
    """Compute in the layout of the data."""
    return PlainForm()


steps = one_step(form)
