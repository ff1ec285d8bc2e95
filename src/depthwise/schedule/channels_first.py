"""Channels-first depthwise convolution: a padded plane per channel, vectors over the width.

Each channel's plane is copied once, padded, into a buffer that stays in cache; where the stride of
the columns is not 1, every SW-th column goes to a row of its own, so that the outputs of a vector
read neighbours.  The sums run over whole register tiles of `th` rows and `tw` columns: rows and
columns beyond the plane are computed and not stored.  Kernels of one row, as those of sequences,
read the input where it lies.  A task computes `tc` planes; small ones are padded several at a time,
because a vector that was just stored in parts cannot be loaded at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.schedule.plan import LARGEST_TILE, Plan
from depthwise.schedule.rule import Form, by_transforming, stage, unrolls

name = "channels_first"

_TASK_STEPS = 100_000
"""Multiply-adds that make a task worth its launch: some microseconds."""
_LONG_VECTORS = 4
"""Vectors of a tile that reads rows in place."""
_FEW_ROWS, _MOST_ROWS = 4, 8
_UNROLLED_STEPS = 40
"""Multiply-adds of a tile beyond which its taps' rows are a loop: its weights would spill."""
_SMALL_PLANE = 256
"""Elements of a padded plane that the core's store buffer may still hold when they are loaded."""
_SMALL_PLANES = 4


def rejects(spec: ConvSpec, target: Target) -> str | None:
    """Take depthwise convolutions of channels-first data."""
    if not spec.kind.startswith("depthwise"):
        return "only depthwise convolutions read one plane for each that they write"
    if spec.channels_last:
        return "the data are channels-last; vectors run over the width here"
    return None


def default_plan(spec: ConvSpec, target: Target) -> Plan:
    """Return one vector of columns on as many rows as divide the plane, within the registers.

    Each weight is loaded once for the rows of a tile; where taps are unrolled, the weights of few
    rows stay in registers.  Rows that are read in place are tiles of four vectors.
    """
    tc, lanes = _planes_per_task(spec), target.lanes(spec.dtype)
    if _reads_in_place(spec) and spec.out_width % (_LONG_VECTORS * lanes) == 0:
        return Plan(name, tc=tc, tw=_LONG_VECTORS * lanes)
    most = _UNROLLED_STEPS // prod(spec.kernel)
    most = min(most, _MOST_ROWS) if most >= _FEW_ROWS else _MOST_ROWS
    th = max(d for d in range(1, most + 1) if spec.out_height % d == 0)
    return Plan(name, tc=tc, tw=lanes, th=th)


def _planes_per_task(spec: ConvSpec) -> int:
    """Return the smallest divisor of the channels that makes a task long enough."""
    steps = spec.multiplier * spec.out_height * spec.out_width * prod(spec.kernel)
    divisors = [n for n in range(1, LARGEST_TILE + 1) if spec.channels % n == 0]
    return next((n for n in divisors if n * steps >= _TASK_STEPS), divisors[-1])


def plans(spec: ConvSpec, target: Target) -> Iterator[Plan]:
    """Yield tiles of one, two and four vectors on one to eight rows."""
    lanes, tc = target.lanes(spec.dtype), _planes_per_task(spec)
    for tw in (lanes, 2 * lanes, 4 * lanes):
        if tw == lanes or spec.out_width > tw // 2:
            for th in range(1, min(_MOST_ROWS, spec.out_height) + 1):
                yield Plan(name, tc=tc, tw=tw, th=th)


def form(spec: ConvSpec, plan: Plan, target: Target) -> Form:
    """Compute whole tiles."""
    return Form(tile=(plan.th, plan.tw))


def apply(sch: Any, spec: ConvSpec, plan: Plan) -> None:
    """Run groups of planes in parallel, each padded before it is read."""
    if (padding := stage(sch, "PaddedX")) is not None:
        sch.compute_inline(padding)
    total, y = sch.get_sblock("Acc"), sch.get_sblock("Y")
    whole = spec.out_height % plan.th == 0 and spec.out_width % plan.tw == 0
    sch.set_scope(total, 0, "local")
    store = y if whole else sch.cache_write(total, 0, "local")
    n, o, i, j, kh, kw = sch.get_loops(total)
    together = _padded_together(spec, plan.tc)
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
    if unrolls(spec, plan.th, _UNROLLED_STEPS):
        sch.unroll(kh)
    sch.parallel(sch.fuse(n, runs))
    if _reads_in_place(spec):
        sch.compute_inline(sch.get_sblock("Phases"))
        sch.compute_inline(sch.get_sblock("Planes"))
        sch.annotate(jo, "pragma_loop_partition_hint", True)
    else:
        _pad(sch, group, spec)
    sch.decompose_reduction(total, kh)


scheduled = by_transforming(apply)


def _reads_in_place(spec: ConvSpec) -> bool:
    """Whether outputs share so little that a copy costs more than testing the ends of a row."""
    return spec.kernel[0] == 1 and spec.stride == (1, 1) and spec.padding[0] == (0, 0)


def _padded_together(spec: ConvSpec, planes: int) -> int:
    small = spec.padded_height * spec.padded_width <= _SMALL_PLANE
    return _SMALL_PLANES if small and planes % _SMALL_PLANES == 0 else 1


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
