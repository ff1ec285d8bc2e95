"""Channels-last depthwise convolution: a register tile of each segment of channels."""

from __future__ import annotations

from typing import Any

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.programs.transform import Transform, find_block, register_tile
from depthwise.schedule import channels_last as rule
from depthwise.schedule.plan import Plan


def apply(sch: Any, spec: ConvSpec, plan: Plan, target: Target) -> None:
    """Tile each segment."""
    if (padding := find_block(sch, "PaddedX")) is not None:
        sch.compute_inline(padding)
    runs = rule.runs_of_channels(spec, plan, target)
    for index, (_, channels) in enumerate(rule.segments(spec, plan)):
        _tile(sch, str(index), min(plan.tc, channels), runs, spec, plan)


transform = Transform(rule, apply)


def _tile(sch: Any, segment: str, tc: int, runs: int, spec: ConvSpec, plan: Plan) -> None:
    total, store = register_tile(sch, segment)
    n, i, j, c, kh, kw = sch.get_loops(total)
    io, ii = sch.split(i, [None, plan.th])
    jo, ji = sch.split(j, [None, plan.tw])
    run, co, ci = sch.split(c, [runs, None, tc])
    sch.reorder(n, run, io, jo, co, kh, kw, ii, ji, ci)
    sch.reverse_compute_at(store, co, preserve_unit_loops=True)
    *_, store_i, store_j, store_c = sch.get_loops(store)
    for row, column, lane in ((ii, ji, ci), (store_i, store_j, store_c)):
        sch.unroll(row)
        sch.unroll(column)
        sch.vectorize(lane)
    sch.unroll(kw)
    if rule.unrolls_rows(spec, plan):
        sch.unroll(kh)
    sch.annotate(jo, "pragma_loop_partition_hint", True)
    sch.parallel(sch.fuse(n, run, io))
    sch.decompose_reduction(total, kh)
