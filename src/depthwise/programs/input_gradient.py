"""The gradient with respect to the input: its definition and its functions."""

from __future__ import annotations

from depthwise.machine.target import Target
from depthwise.problem.training import PassSpec
from depthwise.programs import define_gradient, input_sums
from depthwise.programs.build import SYMBOL, Program
from depthwise.schedule import input_gradient as rule
from depthwise.schedule.plan import Plan


def programs(spec: PassSpec, plan: Plan, target: Target) -> tuple[Program]:
    """Return the one program of a gradient."""
    runs = rule.runs(spec, target)
    functions = input_sums.functions(
        spec.conv, plan, target.lanes(spec.dtype),
        ahead=rule.fetches_ahead(spec, runs, target), runs=runs,
    )  # fmt: skip
    return (Program({SYMBOL: define_gradient.define(spec)}, functions, target),)
