"""NCHW data packed to NCHW[x]c, summed through a cached block, and unpacked again."""

from __future__ import annotations

from typing import Any

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.programs.transform import Transform, find_block
from depthwise.schedule import packed as rule
from depthwise.schedule.plan import Plan


def apply(sch: Any, spec: ConvSpec, plan: Plan, target: Target) -> None:
    """Pack, sum and unpack strip by strip."""
    strips = _unpack(sch, plan)
    total = sch.get_sblock("PackedY")
    sch.compute_at(total, strips, preserve_unit_loops=True)
    _pack(sch, strips)
    _cached_block(sch, total, spec, plan)


transform = Transform(rule, apply)


def _unpack(sch: Any, plan: Plan) -> Any:
    """Write the channels of a block side by side; return the loop over strips."""
    n, c, i, j = sch.get_loops(sch.get_sblock("Y"))
    co, ci = sch.split(c, [None, plan.tc])
    io, ii = sch.split(i, [None, plan.th])
    sch.reorder(n, co, io, ii, j, ci)
    sch.unroll(ci)
    strips = sch.fuse(n, co, io)
    sch.parallel(strips)
    return strips


def _pack(sch: Any, strips: Any) -> None:
    """Read the channels of a block side by side, the border of the columns peeled off.

    (Not of the rows: a strip may lie in the padding alone, and then the inside would be peeled off
    beyond the strip.)
    """
    if (padding := find_block(sch, "PaddedX")) is not None:
        sch.compute_inline(padding)
    packing = sch.get_sblock("PackedX")
    sch.compute_at(packing, strips, preserve_unit_loops=True)
    *_, w, ci = sch.get_loops(packing)
    sch.unroll(ci)
    sch.annotate(w, "pragma_loop_partition_hint", True)


def _cached_block(sch: Any, total: Any, spec: ConvSpec, plan: Plan) -> None:
    store = sch.cache_write(total, 0, "local")
    *_, h, w, ci, kh, kw = sch.get_loops(total)
    wo, wi = sch.split(w, [None, plan.tw])
    sch.reorder(h, wo, kh, kw, wi, ci)
    sch.reverse_compute_at(store, wo, preserve_unit_loops=True)
    sch.vectorize(ci)
    sch.unroll(wi)
    sch.unroll(kw)
    if rule.unrolls_rows(spec, plan):
        sch.unroll(kh)
    sch.annotate(wo, "pragma_loop_partition_hint", True)
    *_, store_w, store_c = sch.get_loops(store)
    sch.vectorize(store_c)
    sch.unroll(store_w)
    sch.decompose_reduction(total, kh)
