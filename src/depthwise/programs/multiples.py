"""Channels-last depthwise convolution whose outputs of a channel are summed apart."""

from __future__ import annotations

from typing import Any

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.programs.transform import Transform, find_block
from depthwise.schedule import multiples as rule
from depthwise.schedule.plan import Plan


def apply(sch: Any, spec: ConvSpec, plan: Plan, target: Target) -> None:
    """Tile the columns, and store the tile of each run of channels at once."""
    if (padding := find_block(sch, "PaddedX")) is not None:
        sch.compute_inline(padding)
    total, store = sch.get_sblock("Acc"), sch.get_sblock("Y")
    sch.set_scope(total, 0, "local")
    n, i, j, k, c, kh, kw = sch.get_loops(total)
    jo, ji = sch.split(j, [None, plan.tw])
    co, ci = sch.split(c, [None, plan.tc])
    sch.reorder(n, i, jo, co, kh, kw, ji, k, ci)
    sch.reverse_compute_at(store, co, preserve_unit_loops=True)
    for loop in (ji, k, kw):
        sch.unroll(loop)
    sch.vectorize(ci)
    *_, store_j, o = sch.get_loops(store)
    _, multiple = sch.split(o, [None, spec.multiplier])
    sch.unroll(store_j)
    sch.unroll(multiple)
    if rule.unrolls_rows(spec, plan):
        sch.unroll(kh)
    sch.annotate(jo, "pragma_loop_partition_hint", True)
    sch.parallel(sch.fuse(n, i))
    sch.decompose_reduction(total, kh)


transform = Transform(rule, apply)
