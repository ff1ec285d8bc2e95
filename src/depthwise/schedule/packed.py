"""NCHW data packed to NCHW[tc]c, computed through a cached block, and unpacked again.

The schedule of the tutorial chapters: one vector holds `tc` channels of a pixel, and `tw`
neighbouring outputs of a row are summed in a cached block.  Packing, sums and unpacking are stages
of their own; each strip of `th` rows of a block of channels passes through all three while it is in
cache, and strips run in parallel.  Packing and unpacking are still most of the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.schedule.plan import Plan
from depthwise.schedule.rule import Form, by_transforming, stage, tiles, unrolls

name = "packed"

_MOST_STREAMS = 8
"""The compiler interleaves at most so many channels into vectors; more are gathered singly."""
_STRIP_ROWS = 16


def rejects(spec: ConvSpec, target: Target) -> str | None:
    """Take depthwise convolutions of channels-first data with multiplier 1."""
    if not spec.kind.startswith("depthwise"):
        return "only depthwise convolutions have channels that stay in their block"
    if spec.channels_last:
        return "the data are channels-last already; packing would only copy them"
    if spec.multiplier != 1:
        return f"multiplier {spec.multiplier}: input and output blocks would differ"
    return None


def default_plan(spec: ConvSpec, target: Target) -> Plan:
    """Return one vector of channels, four columns (sums stay in registers), strips within L2."""
    tc = min(target.lanes(spec.dtype), _MOST_STREAMS)
    return Plan(name, tc, tw=min(4, spec.out_width), th=min(_STRIP_ROWS, spec.out_height))


def plans(spec: ConvSpec, target: Target) -> Iterator[Plan]:
    """Yield blocks of powers of two up to four vectors, and columns up to sixteen."""
    most = min(4 * target.lanes(spec.dtype), 2 * spec.channels - 1)
    for tc in tiles(most):
        if tc & (tc - 1) == 0:
            for tw in tiles(min(16, spec.out_width)):
                yield Plan(name, tc, tw, th=min(_STRIP_ROWS, spec.out_height))


def form(spec: ConvSpec, plan: Plan, target: Target) -> Form:
    """Compute in NCHW[tc]c."""
    return Form(block=plan.tc)


def apply(sch: Any, spec: ConvSpec, plan: Plan) -> None:
    """Pack, sum and unpack strip by strip."""
    strips = _unpack(sch, plan)
    total = sch.get_sblock("PackedY")
    sch.compute_at(total, strips, preserve_unit_loops=True)
    _pack(sch, strips)
    _cached_block(sch, total, spec, plan)


scheduled = by_transforming(apply)


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
    if (padding := stage(sch, "PaddedX")) is not None:
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
    if unrolls(spec, plan.tw):
        sch.unroll(kh)
    sch.annotate(wo, "pragma_loop_partition_hint", True)
    *_, store_w, store_c = sch.get_loops(store)
    sch.vectorize(store_c)
    sch.unroll(store_w)
    sch.decompose_reduction(total, kh)
