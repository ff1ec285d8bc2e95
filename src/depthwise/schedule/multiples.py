"""Channels-last depthwise convolution with a multiplier: the outputs of a channel summed apart.

Vectors run over the input's channels, so that each input serves all of its outputs; the sums are
interleaved when they are stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.schedule.plan import Plan
from depthwise.schedule.rule import Form, by_transforming, stage, unrolls

name = "multiples"

_MOST_VECTORS = 8
"""Sums of a tile, which stay in registers."""


def rejects(spec: ConvSpec, target: Target) -> str | None:
    """Take depthwise convolutions of channels-last data whose multiplier is at least 2."""
    if not spec.kind.startswith("depthwise"):
        return "only depthwise convolutions have a multiplier"
    if not spec.channels_last:
        return "the data are channels-first; vectors run over channels here"
    if spec.multiplier == 1:
        return "multiplier 1: there is nothing to interleave"
    return None


def default_plan(spec: ConvSpec, target: Target) -> Plan:
    """Return the widest vector that divides the channels, and the columns that fill registers."""
    lanes = target.lanes(spec.dtype)
    tc = max(width for width in range(1, lanes + 1) if spec.channels % width == 0)
    tw = max(1, min(spec.out_width, _MOST_VECTORS // spec.multiplier))
    return Plan(name, tc=tc, tw=tw)


def plans(spec: ConvSpec, target: Target) -> Iterator[Plan]:
    """Yield one to eight columns of the default vector."""
    tc = default_plan(spec, target).tc
    for tw in (1, 2, 3, 4, 6, 8):
        if tw == 1 or (tw <= spec.out_width and tw * spec.multiplier <= 2 * _MOST_VECTORS):
            yield Plan(name, tc=tc, tw=tw)


def form(spec: ConvSpec, plan: Plan, target: Target) -> Form:
    """Sum the outputs of a channel apart."""
    return Form(multiples=True)


def apply(sch: Any, spec: ConvSpec, plan: Plan) -> None:
    """Tile the columns, and store the tile of each run of channels at once."""
    if (padding := stage(sch, "PaddedX")) is not None:
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
    if unrolls(spec, plan.tw * spec.multiplier):
        sch.unroll(kh)
    sch.annotate(jo, "pragma_loop_partition_hint", True)
    sch.parallel(sch.fuse(n, i))
    sch.decompose_reduction(total, kh)


scheduled = by_transforming(apply)
