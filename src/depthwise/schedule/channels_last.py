"""Channels-last depthwise convolution: vectors over channels, a register tile of columns.

A tile is `tw` neighbouring outputs of a row times one vector of `tc` channels; all taps are
unrolled over it.  The padding is computed in place: the border of columns is peeled off the loop,
so that the inside has no condition; rows are tested tap by tap, which costs little and leaves one
parallel loop.  Channels beyond the last full vector form a narrower vector in a loop nest of their
own, so no vector straddles the channel count.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from depthwise.plan import Plan
from depthwise.schedule.rule import Form, register_tile, stage, tiles, unrolls
from depthwise.spec import ConvSpec
from depthwise.target import Target

name = "channels_last"


def rejects(spec: ConvSpec, target: Target) -> str | None:
    """Take depthwise convolutions of channels-last data with multiplier 1."""
    if not spec.kind.startswith("depthwise"):
        return "only depthwise convolutions keep each channel in its vector lane"
    if not spec.channels_last:
        return "the data are channels-first; vectors run over channels here"
    if spec.multiplier != 1:
        return f"multiplier {spec.multiplier}: a vector of outputs would gather its inputs"
    return None


def default_plan(spec: ConvSpec, target: Target) -> Plan:
    """Return one vector of channels and as many columns as leave registers for the taps.

    A row that is not twice as long is one tile, so that no narrower one is left over.
    """
    columns = 8 if target.vector_registers >= 32 else 4
    tw = spec.out_width if spec.out_width < 2 * columns else columns
    return Plan(name, tc=target.lanes(spec.dtype), tw=tw)


def plans(spec: ConvSpec, target: Target) -> Iterator[Plan]:
    """Yield vectors of one to two registers (or the channels there are) and columns to sixteen."""
    lanes = target.lanes(spec.dtype)
    for tc in sorted({min(width, spec.channels) for width in (lanes, 2 * lanes)}):
        for tw in tiles(min(16, spec.out_width)):
            yield Plan(name, tc=tc, tw=tw)


def form(spec: ConvSpec, plan: Plan) -> Form:
    """Compute the full vectors in one loop nest, the channels that are left in another."""
    full = spec.channels - spec.channels % plan.tc
    runs = ((0, full), (full, spec.channels - full))
    return Form(segments=tuple(run for run in runs if run[1]))


def apply(sch: Any, spec: ConvSpec, plan: Plan) -> None:
    """Tile each segment."""
    if (padding := stage(sch, "PaddedX")) is not None:
        sch.compute_inline(padding)
    for index, (_, channels) in enumerate(form(spec, plan).segments):
        _tile(sch, str(index), min(plan.tc, channels), plan.tw, spec)


def _tile(sch: Any, segment: str, tc: int, tw: int, spec: ConvSpec) -> None:
    total, store = register_tile(sch, segment)
    n, i, j, c, kh, kw = sch.get_loops(total)
    rows = sch.fuse(n, i) if spec.batch > 1 else i
    jo, ji = sch.split(j, [None, tw])
    co, ci = sch.split(c, [None, tc])
    sch.reorder(jo, co, kh, kw, ji, ci)
    sch.reverse_compute_at(store, co, preserve_unit_loops=True)
    *_, store_j, store_c = sch.get_loops(store)
    for column, lane in ((ji, ci), (store_j, store_c)):
        sch.unroll(column)
        sch.vectorize(lane)
    sch.unroll(kw)
    if unrolls(spec, tw):
        sch.unroll(kh)
        sch.annotate(jo, "pragma_loop_partition_hint", True)
    sch.parallel(rows)
    sch.decompose_reduction(total, kh)
