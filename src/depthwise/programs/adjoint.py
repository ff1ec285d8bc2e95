"""The gradient with respect to the input of channels-first sequences, as a convolution."""

from __future__ import annotations

from dataclasses import replace

from depthwise.machine.target import Target
from depthwise.problem.training import PassSpec
from depthwise.programs import channels_first, define_gradient
from depthwise.programs.build import SYMBOL, Program
from depthwise.schedule.adjoint import adjoint
from depthwise.schedule.plan import Plan


def programs(spec: PassSpec, plan: Plan, target: Target) -> tuple[Program]:
    """Return the one program of a gradient: that of the convolution that it is."""
    transform = channels_first.transform
    tiles = replace(plan, schedule=transform.rule.name)
    _, function = transform.functions(adjoint(spec.conv), tiles, target)
    return (Program({SYMBOL: define_gradient.define(spec)}, {SYMBOL: function}, target),)
