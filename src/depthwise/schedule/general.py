"""Any convolution: rows in parallel, the sums of a row in a local buffer, the data's own layout.

Correct for everything and fast for nothing in particular: it takes what no other rule does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.schedule.plan import Plan
from depthwise.schedule.rule import Form, by_transforming, register_tile, stage

name = "general"


def rejects(spec: ConvSpec, target: Target) -> str | None:
    """Take everything."""
    return None


def default_plan(spec: ConvSpec, target: Target) -> Plan:
    """Return the plan of four columns, which share each weight that they load."""
    return Plan(name, tw=min(4, spec.out_width))


def plans(spec: ConvSpec, target: Target) -> Iterator[Plan]:
    """Yield the default plan."""
    yield default_plan(spec, target)


def form(spec: ConvSpec, plan: Plan, target: Target) -> Form:
    """Compute in the layout of the data."""
    return Form()


def apply(sch: Any, spec: ConvSpec, plan: Plan) -> None:
    """Put the contiguous axis innermost, below the reduction, and rows in parallel."""
    if (padding := stage(sch, "PaddedX")) is not None:
        sch.compute_inline(padding)
    total, store = register_tile(sch)
    if spec.channels_last:
        n, i, j, o, *taps = sch.get_loops(total)
        rows = sch.fuse(n, i)
        jo, ji = sch.split(j, [None, plan.tw])
        sch.reorder(rows, jo, *taps, ji, o)
        inner = jo
    else:
        n, o, i, j, *taps = sch.get_loops(total)
        rows = sch.fuse(n, o, i)
        sch.reorder(rows, *taps, j)
        inner = rows
    sch.parallel(rows)
    sch.reverse_compute_at(store, inner, preserve_unit_loops=True)
    sch.decompose_reduction(total, taps[0])


scheduled = by_transforming(apply)
