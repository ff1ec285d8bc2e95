"""The gradient with respect to the input of channels-first sequences: a convolution, read in place.

With a stride of 1 the gradient is itself a depthwise convolution, of the output's gradient with the
taps in reverse order; for kernels of one row `channels_first` reads it where it lies.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.problem.training import PassSpec
from depthwise.schedule import channels_first
from depthwise.schedule.form import ReversedForm
from depthwise.schedule.plan import Plan
from depthwise.schedule.steps import Packing, Step, alone

name = "adjoint"
tiles = channels_first.tiles


def rejects(spec: PassSpec, target: Target) -> str | None:
    """Take gradients with respect to the input of channels-first rows, of one stride and output."""
    conv = spec.conv
    if spec.kind != "input_gradient":
        return "only the gradient with respect to the input is a convolution"
    if conv.channels_last:
        return "the data are channels-last; rows are read in place here"
    if conv.kernel[0] != 1 or conv.padding[0] != (0, 0):
        return "the kernel has several rows, or rows are padded; planes would be copied"
    if conv.stride != (1, 1) or conv.multiplier != 1:
        return "strides, or several outputs of a channel, make it no convolution"
    if max(conv.padding[1]) > _reach(conv):
        return "the padding is wider than the taps reach"
    return None


def default_plan(spec: PassSpec, target: Target, threads: int) -> Plan:
    """Return the plan of the convolution."""
    return _named(channels_first.default_plan(adjoint(spec.conv), target, threads))


def plans(spec: PassSpec, target: Target) -> Iterator[Plan]:
    """Yield those of the convolution."""
    yield from map(_named, channels_first.plans(adjoint(spec.conv), target))


def steps(spec: PassSpec, plan: Plan, target: Target) -> tuple[Step, ...]:
    """Return the one launch, whose weight has its taps in reverse order."""
    return (alone(spec, plan, {"weight": Packing(spec.conv, ReversedForm())}),)


def adjoint(conv: ConvSpec) -> ConvSpec:
    """Return the convolution that takes the gradient of a convolution's output to its input's."""
    left, right = (_reach(conv) - pad for pad in conv.padding[1])
    return replace(conv, width=conv.out_width, padding=((0, 0), (left, right)), bias=False)


def _reach(conv: ConvSpec) -> int:
    return (conv.kernel[1] - 1) * conv.dilation[1]


def _named(plan: Plan) -> Plan:
    return replace(plan, schedule=name)
