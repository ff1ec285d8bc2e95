"""Depthwise NCHW[x]c: each block of channels of an image is a channels-last image of its own.

The data stay as they are: a block is computed as `channels_last` computes an image of so many
channels, with the weights of the block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.schedule import channels_last
from depthwise.schedule.form import Form, PackedForm
from depthwise.schedule.plan import Plan
from depthwise.schedule.steps import one_step

name = "blocked"
tiles = channels_last.tiles


def rejects(spec: ConvSpec, target: Target) -> str | None:
    """Take the convolutions whose layout is packed."""
    return None if spec.packed else "the data are not packed in blocks of channels"


def block_of(spec: ConvSpec) -> ConvSpec:
    """Return the convolution of one block of an image, the same for all."""
    return replace(
        spec, channels=spec.packed, out_channels=spec.packed, groups=spec.packed, batch=1,
        layout="NHWC",
    )  # fmt: skip


def default_plan(spec: ConvSpec, target: Target, threads: int) -> Plan:
    """Return the tile of the channels-last image."""
    return replace(channels_last.default_plan(block_of(spec), target, threads), schedule=name)


def plans(spec: ConvSpec, target: Target) -> Iterator[Plan]:
    """Yield those of the channels-last image."""
    for plan in channels_last.plans(block_of(spec), target):
        yield replace(plan, schedule=name)


def form(spec: ConvSpec, plan: Plan, target: Target) -> Form:
    """Take the weights of each block as its image takes them."""
    return PackedForm(spec.packed)


steps = one_step(form)
