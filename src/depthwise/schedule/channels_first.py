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

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.schedule.form import Form, PlanesForm
from depthwise.schedule.plan import LARGEST_TILE, Plan
from depthwise.schedule.rule import unrolls
from depthwise.schedule.steps import one_step

name = "channels_first"
tiles = {
    "tc": "planes of a task",
    "tw": "columns of the register tile, whole vectors",
    "th": "rows of the register tile",
}

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
    if not spec.is_depthwise:
        return "only depthwise convolutions read one plane for each that they write"
    if spec.packed:
        return "the data are packed already"
    if spec.channels_last:
        return "the data are channels-last; vectors run over the width here"
    return None


def default_plan(spec: ConvSpec, target: Target, threads: int) -> Plan:
    """Return one vector of columns on as many rows as divide the plane, within the registers.

    Each weight is loaded once for the rows of a tile; where taps are unrolled, the weights of few
    rows stay in registers.  Rows that are read in place are tiles of four vectors.
    """
    tc, lanes = _planes_per_task(spec), target.lanes(spec.dtype)
    if reads_in_place(spec) and spec.out_width % (_LONG_VECTORS * lanes) == 0:
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
    return PlanesForm((plan.th, plan.tw))


steps = one_step(form)


def reads_in_place(spec: ConvSpec) -> bool:
    """Whether outputs share so little that a copy costs more than testing the ends of a row."""
    return spec.kernel[0] == 1 and spec.stride == (1, 1) and spec.padding[0] == (0, 0)


def padded_together(spec: ConvSpec, planes: int) -> int:
    """Return how many of the planes of a task are padded before their sums begin."""
    small = spec.padded_height * spec.padded_width <= _SMALL_PLANE
    return _SMALL_PLANES if small and planes % _SMALL_PLANES == 0 else 1


def unrolls_rows(spec: ConvSpec, plan: Plan) -> bool:
    """Whether the rows of taps are unrolled, and not only the columns."""
    return unrolls(spec, plan.th, _UNROLLED_STEPS)
