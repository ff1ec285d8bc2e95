"""Channels-first depthwise convolution: a padded plane per channel, vectors over the width.

Each channel's plane is padded into a buffer that stays in L1, then read by register tiles of `th`
rows and `tw` columns.
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
    """Take depthwise convolutions of channels-first data whose rows are whole vectors."""
    if not spec.kind.startswith("depthwise"):
        return "only depthwise convolutions read one plane for each that they write"
    if spec.channels_last:
        return "the data are channels-last; vectors run over the width here"
    if spec.stride[1] != 1:
        return f"stride {spec.stride[1]}: a vector of outputs would gather its inputs"
    lanes = target.lanes(spec.dtype)
    if spec.out_width % lanes:
        return f"rows of {spec.out_width} outputs are not whole vectors of {lanes}"
    return None


def default_plan(spec: ConvSpec, target: Target) -> Plan:
    """Return two rows of one vector, which share the input rows that both read."""
    return Plan(name, tw=target.lanes(spec.dtype), th=min(2, spec.out_height))


def plans(spec: ConvSpec, target: Target) -> Iterator[Plan]:
    """Yield tiles of one and two vectors on one to four rows."""
    lanes = target.lanes(spec.dtype)
    for tw in (lanes, 2 * lanes):
        if spec.out_width % tw == 0:
            for th in range(1, min(4, spec.out_height) + 1):
                yield Plan(name, tw=tw, th=th)


def form(spec: ConvSpec, plan: Plan) -> Form:
    """Compute in the layout of the data."""
    return Form()


def apply(sch: Any, spec: ConvSpec, plan: Plan) -> None:
    """Run planes in parallel, each padded just before it is read."""
    total, store = register_tile(sch)
    n, c, i, j, kh, kw = sch.get_loops(total)
    planes = sch.fuse(n, c)
    io, ii = sch.split(i, [None, plan.th])
    jo, ji = sch.split(j, [None, plan.tw])
    sch.reorder(planes, io, jo, kh, kw, ii, ji)
    sch.reverse_compute_at(store, jo, preserve_unit_loops=True)
    *_, store_i, store_j = sch.get_loops(store)
    for row, columns in ((ii, ji), (store_i, store_j)):
        sch.unroll(row)
        sch.vectorize(columns)
    sch.unroll(kw)
    if unrolls(spec, plan.th):
        sch.unroll(kh)
    sch.parallel(planes)
    if (padding := stage(sch, "PaddedX")) is not None:
        sch.compute_at(padding, planes, preserve_unit_loops=True)
        sch.set_scope(padding, 0, "local")
    sch.decompose_reduction(total, kh)
