"""Channels-last depthwise convolution: vectors over channels, a register tile of rows and columns.

A tile is `th` rows and `tw` columns of neighbouring outputs times one vector of `tc` channels; rows
share the input rows that both read, and all taps are unrolled over the tile.  The padding is
computed in place: the border of columns is peeled off the loop, so that the inside has no
condition; rows are tested tap by tap, which costs little and leaves one parallel loop.  Channels
beyond the last full vector form a narrower vector in a loop nest of their own, so no vector
straddles the channel count.
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
    """Return one vector of channels, two rows, and the columns that leave registers for the taps.

    Rows that do not pair up, or too many taps to unroll over two, make tiles of one row.  A row
    that is not twice as long is one tile, so that no narrower one is left over.
    """
    one_row, two_rows = (8, 4) if target.vector_registers >= 32 else (4, 3)
    th = 2 if spec.out_height % 2 == 0 and unrolls(spec, 2 * two_rows) else 1
    columns = two_rows if th == 2 else one_row
    tw = spec.out_width if spec.out_width < 2 * columns else columns
    return Plan(name, tc=target.lanes(spec.dtype), tw=tw, th=th)


def plans(spec: ConvSpec, target: Target) -> Iterator[Plan]:
    """Yield vectors of one to two registers (or the channels there are), one row or two."""
    lanes = target.lanes(spec.dtype)
    for tc in sorted({min(width, spec.channels) for width in (lanes, 2 * lanes)}):
        for th in (1, 2) if spec.out_height % 2 == 0 else (1,):
            for tw in tiles(min(16 // th, spec.out_width)):
                yield Plan(name, tc=tc, tw=tw, th=th)


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
        _tile(sch, str(index), min(plan.tc, channels), spec, plan)


def _tile(sch: Any, segment: str, tc: int, spec: ConvSpec, plan: Plan) -> None:
    total, store = register_tile(sch, segment)
    n, i, j, c, kh, kw = sch.get_loops(total)
    io, ii = sch.split(i, [None, plan.th])
    jo, ji = sch.split(j, [None, plan.tw])
    co, ci = sch.split(c, [None, tc])
    sch.reorder(n, io, jo, co, kh, kw, ii, ji, ci)
    sch.reverse_compute_at(store, co, preserve_unit_loops=True)
    *_, store_i, store_j, store_c = sch.get_loops(store)
    for row, column, lane in ((ii, ji, ci), (store_i, store_j, store_c)):
        sch.unroll(row)
        sch.unroll(column)
        sch.vectorize(lane)
    sch.unroll(kw)
    if unrolls(spec, plan.th * plan.tw):
        sch.unroll(kh)
        sch.annotate(jo, "pragma_loop_partition_hint", True)
    sch.parallel(sch.fuse(n, io))
    sch.decompose_reduction(total, kh)
