"""NCHW data packed to NCHW[tc]c, computed through a cached block, and unpacked again.

The schedule of the tutorial chapters: one vector holds `tc` channels of a pixel, `tw` neighbouring
outputs of a row are summed in a cached block, rows run in parallel.  Packing and unpacking are
part of the program, and most of its time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from depthwise.plan import Plan
from depthwise.schedule.rule import Form, stage, tiles
from depthwise.spec import ConvSpec
from depthwise.target import Target

name = "packed"

_UNPACKED_COLUMNS = 16


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
    """Return one vector of channels, four columns: the sums stay in registers."""
    return Plan(name, tc=target.lanes(spec.dtype), tw=min(4, spec.out_width))


def plans(spec: ConvSpec, target: Target) -> Iterator[Plan]:
    """Yield blocks of powers of two up to four vectors, and columns up to sixteen."""
    most = min(4 * target.lanes(spec.dtype), 2 * spec.channels - 1)
    for tc in tiles(most):
        if tc & (tc - 1) == 0:
            for tw in tiles(min(16, spec.out_width)):
                yield Plan(name, tc=tc, tw=tw)


def form(spec: ConvSpec, plan: Plan) -> Form:
    """Compute in NCHW[tc]c."""
    return Form(block=plan.tc)


def apply(sch: Any, spec: ConvSpec, plan: Plan) -> None:
    """Pack in parallel, sum through a cached block, unpack in parallel."""
    _pack(sch)
    _cached_block(sch, plan)
    _unpack(sch, plan)


def _pack(sch: Any) -> None:
    if (padding := stage(sch, "PaddedX")) is not None:
        n, c, *_ = sch.get_loops(padding)
        sch.parallel(sch.fuse(n, c))
    n, co, h, _w, ci = sch.get_loops(sch.get_sblock("PackedX"))
    sch.parallel(sch.fuse(n, co, h))
    sch.unroll(ci)
    co, kh, _kw, ci = sch.get_loops(sch.get_sblock("PackedK"))
    sch.parallel(sch.fuse(co, kh))
    sch.unroll(ci)


def _cached_block(sch: Any, plan: Plan) -> None:
    total = sch.get_sblock("PackedY")
    store = sch.cache_write(total, 0, "local")
    n, co, h, w, ci, kh, kw = sch.get_loops(total)
    wo, wi = sch.split(w, [None, plan.tw])
    sch.reorder(n, co, h, wo, kh, kw, wi, ci)
    rows = sch.fuse(n, co, h)
    sch.parallel(rows)
    sch.reverse_compute_at(store, wo, preserve_unit_loops=True)
    sch.vectorize(ci)
    for loop in (kh, kw, wi):
        sch.unroll(loop)
    sch.annotate(wo, "pragma_loop_partition_hint", True)
    *_, store_w, store_c = sch.get_loops(store)
    sch.vectorize(store_c)
    sch.unroll(store_w)
    sch.decompose_reduction(total, kh)


def _unpack(sch: Any, plan: Plan) -> None:
    """Write a line of memory of each channel in turn, from a tile that stays in L1."""
    n, c, i, j = sch.get_loops(sch.get_sblock("Y"))
    co, ci = sch.split(c, [None, plan.tc])
    jo, ji = sch.split(j, [None, _UNPACKED_COLUMNS])
    sch.reorder(n, co, i, jo, ci, ji)
    sch.parallel(sch.fuse(n, co, i))
