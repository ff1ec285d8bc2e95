"""Ordinary convolution of channels-last data: the product, written with its schedule."""

from __future__ import annotations

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.programs import dense_sums
from depthwise.programs.build import SYMBOL, Program
from depthwise.programs.define import define
from depthwise.schedule import dense as rule
from depthwise.schedule.plan import Plan


def programs(spec: ConvSpec, plan: Plan, target: Target) -> tuple[Program]:
    """Return the one program of a convolution."""
    panels, tasks = rule.panels(spec, plan, target), rule.tasks(spec, plan, target)
    function = dense_sums.function(spec, panels, plan.tw, tasks, target.lanes(spec.dtype))
    definition = define(spec, rule.form(spec, plan, target))
    return (Program({SYMBOL: definition}, {SYMBOL: function}, target),)
