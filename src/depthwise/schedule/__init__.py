"""The schedule rules in the order of preference, and the choice between them."""

from __future__ import annotations

from collections.abc import Iterator

from depthwise.errors import PlanError
from depthwise.machine.target import Target
from depthwise.problem.pixels import PixelSpec
from depthwise.problem.spec import ConvSpec
from depthwise.problem.training import PassSpec
from depthwise.schedule import (
    adjoint,
    channels_first,
    channels_last,
    default,
    dense,
    general,
    input_gradient,
    multiples,
    packed,
    pointwise,
    weight_gradient,
)
from depthwise.schedule.plan import Plan
from depthwise.schedule.rule import GradientRule, Rule

RULES: tuple[Rule, ...] = (
    channels_last, multiples, channels_first, packed, pointwise, dense, general, default,
)  # fmt: skip

GRADIENT_RULES: tuple[GradientRule, ...] = (adjoint, input_gradient, weight_gradient)
PIXEL_PLAN = Plan("pixel_passes")
"""That of every mean and norm of pixels."""


def rule_of(plan: Plan, spec: ConvSpec, target: Target) -> Rule:
    """Return the rule that a plan names.

    Raises:
        PlanError: there is none of that name, or it does not take the problem.
    """
    for rule in RULES:
        if rule.name == plan.schedule:
            if reason := rule.rejects(spec, target):
                raise PlanError(
                    f"schedule {rule.name} does not take this problem: {reason}: {spec}"
                )
            return rule
    names = ", ".join(rule.name for rule in RULES)
    raise PlanError(f"a schedule is one of {names}; got {plan.schedule!r}: {spec}")


def explain(spec: ConvSpec | PassSpec | PixelSpec, target: Target) -> dict[str, str | None]:
    """Return, for each rule in order, why it does not take the problem; None where it does."""
    if isinstance(spec, PixelSpec):
        return {PIXEL_PLAN.schedule: None}
    if isinstance(spec, PassSpec):
        return {rule.name: rule.rejects(spec, target) for rule in GRADIENT_RULES}
    return {rule.name: rule.rejects(spec, target) for rule in RULES}


def default_plan(spec: ConvSpec, target: Target) -> Plan:
    """Return the plan of the first rule that takes the problem."""
    rule = next(rule for rule in RULES if rule.rejects(spec, target) is None)
    return rule.default_plan(spec, target)


def legal_plans(spec: ConvSpec, target: Target) -> Iterator[Plan]:
    """Yield every legal plan of every rule that takes the problem."""
    for rule in RULES:
        if rule.rejects(spec, target) is None:
            yield from rule.plans(spec, target)


def gradient_rule_of(plan: Plan, spec: PassSpec, target: Target) -> GradientRule:
    """Return the rule that a plan of a gradient names; see `rule_of`."""
    for rule in GRADIENT_RULES:
        if rule.name == plan.schedule and rule.rejects(spec, target) is None:
            return rule
    names = ", ".join(r.name for r in GRADIENT_RULES if r.rejects(spec, target) is None)
    raise PlanError(f"the schedule of this gradient is {names}; got {plan.schedule!r}: {spec}")


def default_gradient_plan(spec: PassSpec, target: Target) -> Plan:
    """Return the plan of the rule that takes a gradient."""
    rule = next(rule for rule in GRADIENT_RULES if rule.rejects(spec, target) is None)
    return rule.default_plan(spec, target)
