"""Any convolution: the contiguous axis innermost, rows in parallel."""

from __future__ import annotations

from typing import Any

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.programs.transform import Transform, find_block, register_tile
from depthwise.schedule import general as rule
from depthwise.schedule.plan import Plan


def apply(sch: Any, spec: ConvSpec, plan: Plan, target: Target) -> None:
    """Put the contiguous axis innermost, below the reduction, and rows in parallel."""
    if (padding := find_block(sch, "PaddedX")) is not None:
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


transform = Transform(rule, apply)
