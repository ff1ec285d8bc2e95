"""Channels-first depthwise convolution: padded planes, register tiles of rows and columns."""

from __future__ import annotations

from typing import Any

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.programs.transform import Transform, find_block
from depthwise.schedule import channels_first as rule
from depthwise.schedule.plan import Plan


def apply(sch: Any, spec: ConvSpec, plan: Plan, target: Target) -> None:
    """Run groups of planes in parallel, each padded before it is read."""
    if (padding := find_block(sch, "PaddedX")) is not None:
        sch.compute_inline(padding)
    total, y = sch.get_sblock("Acc"), sch.get_sblock("Y")
    whole = spec.out_height % plan.th == 0 and spec.out_width % plan.tw == 0
    sch.set_scope(total, 0, "local")
    store = y if whole else sch.cache_write(total, 0, "local")
    n, o, i, j, kh, kw = sch.get_loops(total)
    together = rule.padded_together(spec, plan.tc)
    runs, group, c, m = sch.split(o, [None, plan.tc // together, together, spec.multiplier])
    io, ii = sch.split(i, [None, plan.th])
    jo, ji = sch.split(j, [None, plan.tw])
    sch.reorder(n, runs, group, c, m, io, jo, kh, kw, ii, ji)
    sch.reverse_compute_at(store, jo, preserve_unit_loops=True)
    if not whole:
        sch.reverse_compute_at(y, io, preserve_unit_loops=True)
    *_, store_i, store_j = sch.get_loops(store)
    for row, columns in ((ii, ji), (store_i, store_j)):
        sch.unroll(row)
        sch.vectorize(columns)
    sch.unroll(kw)
    if rule.unrolls_rows(spec, plan):
        sch.unroll(kh)
    sch.parallel(sch.fuse(n, runs))
    if rule.reads_in_place(spec):
        sch.compute_inline(sch.get_sblock("Phases"))
        sch.compute_inline(sch.get_sblock("Planes"))
        sch.annotate(jo, "pragma_loop_partition_hint", True)
    else:
        _pad(sch, group, spec)
    sch.decompose_reduction(total, kh)


transform = Transform(rule, apply)


def _pad(sch: Any, group: Any, spec: ConvSpec) -> None:
    """Copy planes row by row, each column to its phase."""
    padded, phases = sch.get_sblock("Planes"), sch.get_sblock("Phases")
    if spec.stride[1] == 1:
        sch.compute_inline(phases)
        sch.compute_at(padded, group, preserve_unit_loops=True)
    else:
        sch.compute_at(phases, group, preserve_unit_loops=True)
        *_, row, phase, w = sch.get_loops(phases)
        sch.reorder(w, phase)
        sch.unroll(phase)
        sch.set_scope(phases, 0, "local")
        sch.compute_at(padded, row, preserve_unit_loops=True)
    sch.set_scope(padded, 0, "local")
    sch.annotate(sch.get_loops(padded)[-1], "pragma_loop_partition_hint", True)
