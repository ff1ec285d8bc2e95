"""Channels-first depthwise convolution: a padded plane per channel, vectors over the width.

Each channel's plane is padded into a buffer that stays in L1, then read by register tiles of `th`
rows and `tw` columns.  Where vectors do not fit the width or the stride, `tw` is the whole row and
the compiler finds the vectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from depthwise.plan import Plan
from depthwise.schedule.rule import Form, register_tile, stage, unrolls
from depthwise.spec import ConvSpec
from depthwise.target import Target

name = "channels_first"


def rejects(spec: ConvSpec, target: Target) -> str | None:
    """Take depthwise convolutions of channels-first data."""
    if not spec.kind.startswith("depthwise"):
        return "only depthwise convolutions read one plane for each that they write"
    if spec.channels_last:
        return "the data are channels-last; vectors run over the width here"
    return None


def default_plan(spec: ConvSpec, target: Target) -> Plan:
    """Return two rows of one vector where vectors fit, else whole rows."""
    lanes = target.lanes(spec.dtype)
    if spec.stride[1] == 1 and spec.out_width % lanes == 0:
        return Plan(name, tw=lanes, th=min(2, spec.out_height))
    return Plan(name, tw=spec.out_width)


def plans(spec: ConvSpec, target: Target) -> Iterator[Plan]:
    """Yield tiles of one and two vectors on one to four rows, and whole rows."""
    lanes = target.lanes(spec.dtype)
    for tw in (lanes, 2 * lanes):
        if spec.stride[1] == 1 and spec.out_width % tw == 0:
            for th in range(1, min(4, spec.out_height) + 1):
                yield Plan(name, tw=tw, th=th)
    yield Plan(name, tw=spec.out_width)


def form(spec: ConvSpec, plan: Plan) -> Form:
    """Compute in the layout of the data."""
    return Form()


def apply(sch: Any, spec: ConvSpec, plan: Plan) -> None:
    """Run planes in parallel, each padded just before it is read."""
    total, store = register_tile(sch)
    n, c, i, j, kh, kw = sch.get_loops(total)
    planes = sch.fuse(n, c)
    if plan.tw < spec.out_width:
        io, ii = sch.split(i, [None, plan.th])
        jo, ji = sch.split(j, [None, plan.tw])
        sch.reorder(planes, io, jo, kh, kw, ii, ji)
        sch.reverse_compute_at(store, jo, preserve_unit_loops=True)
        *_, store_i, store_j = sch.get_loops(store)
        for row, columns in ((ii, ji), (store_i, store_j)):
            sch.unroll(row)
            sch.vectorize(columns)
        if unrolls(spec, plan.th):
            sch.unroll(kh)
        sch.unroll(kw)
    else:
        sch.reorder(planes, i, kh, kw, j)
        sch.reverse_compute_at(store, i, preserve_unit_loops=True)
    sch.parallel(planes)
    if (padding := stage(sch, "PaddedX")) is not None:
        sch.compute_at(padding, planes, preserve_unit_loops=True)
        sch.set_scope(padding, 0, "local")
    sch.decompose_reduction(total, kh)
