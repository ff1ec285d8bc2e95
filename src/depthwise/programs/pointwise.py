"""Pointwise convolution: the product, written with its schedule."""

from __future__ import annotations

from dataclasses import replace

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.programs import dense_sums, products
from depthwise.programs.build import SYMBOL, Program
from depthwise.programs.define import define
from depthwise.schedule import pointwise as rule
from depthwise.schedule.plan import Plan


def programs(spec: ConvSpec, plan: Plan, target: Target) -> tuple[Program]:
    """Return the one program of a convolution."""
    panels, tasks = rule.panels_of(spec, plan, target), rule.tasks(spec, plan, target)
    lanes = target.lanes(spec.dtype)
    if spec.element.storage and spec.channels_last:  # so that each pixel is widened once
        lines = replace(spec, height=spec.height * spec.width, width=1)
        function = dense_sums.function(lines, panels, plan.tw, tasks, lanes)
    else:
        function = products.pointwise(spec, panels, plan.tw, tasks, lanes)
    definition = define(spec, rule.form(spec, plan, target))
    return (Program({SYMBOL: definition}, {SYMBOL: function}, target),)
