"""NCHW data packed to NCHW[tc]c, computed through a cached block, and unpacked again.

The schedule of the tutorial chapters: one vector holds `tc` channels of a pixel, and `tw`
neighbouring outputs of a row are summed in a cached block.  Packing, sums and unpacking are loops
of their own; each strip of `th` rows of a block of channels passes through all three while it is in
cache, and strips run in parallel.  Packing and unpacking are still most of the time.
"""

from __future__ import annotations

from collections.abc import Iterator

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.schedule.form import Form, PackedForm
from depthwise.schedule.plan import Plan
from depthwise.schedule.rule import powers_and_halves, unrolls
from depthwise.schedule.steps import one_step

name = "packed"
tiles = {
    "tc": "channels of a block",
    "tw": "columns of the cached block",
    "th": "rows of a strip that is packed, summed and unpacked in one go",
}

_MOST_STREAMS = 8
"""The compiler interleaves at most so many channels into vectors; more are gathered singly."""
_STRIP_ROWS = 16


def rejects(spec: ConvSpec, target: Target) -> str | None:
    """Take depthwise convolutions of channels-first data with multiplier 1."""
    if not spec.is_depthwise:
        return "only depthwise convolutions have channels that stay in their block"
    if spec.packed:
        return "the data are packed already"
    if spec.channels_last:
        return "the data are channels-last already; packing would only copy them"
    if spec.multiplier != 1:
        return f"multiplier {spec.multiplier}: input and output blocks would differ"
    return None


def default_plan(spec: ConvSpec, target: Target, threads: int) -> Plan:
    """Return one vector of channels, four columns (sums stay in registers), strips within L2."""
    tc = min(target.lanes(spec.dtype), _MOST_STREAMS)
    return Plan(name, tc, tw=min(4, spec.out_width), th=min(_STRIP_ROWS, spec.out_height))


def plans(spec: ConvSpec, target: Target) -> Iterator[Plan]:
    """Yield blocks of powers of two up to four vectors, and columns up to sixteen."""
    found = {default_plan(spec, target, 1): None}
    most = min(4 * target.lanes(spec.dtype), 2 * spec.channels - 1)
    for tc in powers_and_halves(most):
        if tc & (tc - 1) == 0:
            for tw in powers_and_halves(min(16, spec.out_width)):
                found[Plan(name, tc, tw, th=min(_STRIP_ROWS, spec.out_height))] = None
    yield from found


def form(spec: ConvSpec, plan: Plan, target: Target) -> Form:
    """Compute in NCHW[tc]c."""
    return PackedForm(plan.tc)


steps = one_step(form)


def unrolls_rows(spec: ConvSpec, plan: Plan) -> bool:
    """Whether the rows of taps are unrolled, and not only the columns."""
    return unrolls(spec, plan.tw)
