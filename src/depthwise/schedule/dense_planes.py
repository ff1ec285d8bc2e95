"""Ordinary convolution of channels-first data: the product of `dense` between transpositions.

A part is what some output channels of a group of an image are computed from, and is a convolution
of channels-last data in one group.  A task copies the rows that a run of its pixels read into
scratch memory, pixel by pixel and with their border, multiplies there, and writes the products
plane by plane.  Tasks are runs of pixels of a part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import ceil

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.schedule import dense
from depthwise.schedule.form import Form, PartsForm
from depthwise.schedule.plan import Plan
from depthwise.schedule.rule import needs_wider_sums
from depthwise.schedule.steps import one_step

name = "dense_planes"
tiles = dense.tiles

_ENOUGH_TASKS = 16
_PART_VECTORS = 2
"""Vectors of output channels of a part, so that copying its input is repaid."""


def rejects(spec: ConvSpec, target: Target) -> str | None:
    """Take convolutions of channels-first data but those of one channel each."""
    if spec.kind != "conv":
        return f"a {spec.kind} convolution has schedules of its own"
    if spec.channels_last:
        return "the data are channels-last; what a tap reads lies side by side"
    if spec.channels == spec.groups == spec.out_channels:
        return "each output channel has one input channel; vectors of channels would have one"
    return needs_wider_sums(spec)


def part_of(spec: ConvSpec, target: Target) -> ConvSpec:
    """Return the convolution that a part is, the same for all.

    The output channels of a group are cut into parts where images, groups and runs of pixels are
    too few tasks.
    """
    whole = replace(
        spec, channels=spec.channels // spec.groups, out_channels=spec.out_channels // spec.groups,
        groups=1, batch=1, layout="NHWC",
    )  # fmt: skip
    tasks = spec.batch * spec.groups * dense.most_runs(whole)
    fewest = _PART_VECTORS * target.lanes(spec.dtype)
    cuts = [
        cut
        for cut in range(1, min(whole.out_channels, ceil(_ENOUGH_TASKS / tasks)) + 1)
        if cut == 1 or (whole.out_channels % cut == 0 and whole.out_channels // cut >= fewest)
    ]
    return replace(whole, out_channels=whole.out_channels // cuts[-1])


def default_plan(spec: ConvSpec, target: Target, threads: int) -> Plan:
    """Return the tile that takes the fewest cycles."""
    return replace(dense.default_plan(part_of(spec, target), target, threads), schedule=name)


def plans(spec: ConvSpec, target: Target) -> Iterator[Plan]:
    """Yield one to four vectors of columns with as many rows as registers hold, and fewer."""
    for plan in dense.plans(part_of(spec, target), target):
        yield replace(plan, schedule=name)


def form(spec: ConvSpec, plan: Plan, target: Target) -> Form:
    """Take the weights of each part in panels."""
    part = part_of(spec, target)
    return PartsForm(part, dense.panels(part, plan, target))


steps = one_step(form)
