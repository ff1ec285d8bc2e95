"""The gradient with respect to the weight and the bias: its definition and its functions."""

from __future__ import annotations

from depthwise.machine.target import Target
from depthwise.problem.training import PassSpec
from depthwise.programs import define_gradient, weight_sums
from depthwise.programs.build import SYMBOL, Program
from depthwise.schedule import weight_gradient as rule
from depthwise.schedule.plan import Plan


def programs(spec: PassSpec, plan: Plan, target: Target) -> tuple[Program, ...]:
    """Return the program that sums parts of the rows, and that which adds the parts up."""
    parts, total = weight_sums.functions(rule.sums(spec, plan, target))
    definition = {SYMBOL: define_gradient.define(spec)}
    return Program(definition, parts, target), Program({}, total, target)
