"""Channels-last depthwise convolution with a multiplier: the outputs of a channel summed apart.

Vectors run over the input's channels, so that each input serves all of its outputs; the sums are
interleaved when they are stored.
"""

from __future__ import annotations

from collections.abc import Iterator

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.schedule.form import Form, MultiplesForm
from depthwise.schedule.plan import Plan
from depthwise.schedule.rule import unrolls
from depthwise.schedule.steps import one_step

name = "multiples"
tiles = {"tc": "neighbouring channels, a vector", "tw": "columns of the register tile"}

_MOST_VECTORS = 8
"""Sums of a tile, which stay in registers."""
_MOST_OUTPUTS = 32
"""Outputs of a channel; with twice as many `general` is faster, and faster to compile."""


def rejects(spec: ConvSpec, target: Target) -> str | None:
    """Take depthwise convolutions of channels-last data, from 2 to 32 outputs a channel."""
    if not spec.is_depthwise:
        return "only depthwise convolutions have a multiplier"
    if not spec.channels_last:
        return "the data are channels-first; vectors run over channels here"
    if spec.multiplier == 1:
        return "multiplier 1: there is nothing to interleave"
    if spec.multiplier > _MOST_OUTPUTS:
        return f"more than {_MOST_OUTPUTS} sums of each channel are far too many for the registers"
    return None


def default_plan(spec: ConvSpec, target: Target, threads: int) -> Plan:
    """Return the widest vector that divides the channels, and the columns that fill registers."""
    lanes = target.lanes(spec.dtype)
    tc = max(width for width in range(1, lanes + 1) if spec.channels % width == 0)
    tw = max(1, min(spec.out_width, _MOST_VECTORS // spec.multiplier))
    return Plan(name, tc=tc, tw=tw)


def plans(spec: ConvSpec, target: Target) -> Iterator[Plan]:
    """Yield one to eight columns of the default vector."""
    tc = default_plan(spec, target, 1).tc
    for tw in (1, 2, 3, 4, 6, 8):
        if tw == 1 or (tw <= spec.out_width and tw * spec.multiplier <= 2 * _MOST_VECTORS):
            yield Plan(name, tc=tc, tw=tw)


def form(spec: ConvSpec, plan: Plan, target: Target) -> Form:
    """Sum the outputs of a channel apart."""
    return MultiplesForm()


steps = one_step(form)


def unrolls_rows(spec: ConvSpec, plan: Plan) -> bool:
    """Whether the rows of taps are unrolled, and not only the columns."""
    return unrolls(spec, plan.tw * spec.multiplier)
