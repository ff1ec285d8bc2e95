"""The rules for each kind of problem in the order of preference, and the choice between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from depthwise.errors import PlanError
from depthwise.machine.target import Target
from depthwise.problem.attention import AttentionSpec
from depthwise.problem.block import BlockSpec
from depthwise.problem.causal import CausalSpec
from depthwise.problem.causal_gradient import CausalGradientSpec
from depthwise.problem.elementwise import ElementwiseSpec
from depthwise.problem.gathers import GatherSpec
from depthwise.problem.html import as_html
from depthwise.problem.pixels import PixelSpec
from depthwise.problem.pools import PoolSpec
from depthwise.problem.problem import Problem
from depthwise.problem.quantized_images import QuantizedSpec
from depthwise.problem.resizes import ResizeSpec
from depthwise.problem.spec import ConvSpec
from depthwise.problem.training import PassSpec
from depthwise.problem.values import meant
from depthwise.schedule import (
    adjoint,
    convolutions,
    fusion,
    input_gradient,
    weight_gradient,
)
from depthwise.schedule.causal import Causal
from depthwise.schedule.causal_gradient import CausalGradient
from depthwise.schedule.one_way import OneWay
from depthwise.schedule.pixel_passes import PixelPasses
from depthwise.schedule.plan import AnyPlan, BlockPlan
from depthwise.schedule.rule import Rule

AnyRule = Rule[Any, Any]

RULES: dict[type[Any], tuple[AnyRule, ...]] = {
    ConvSpec: convolutions.RULES,
    BlockSpec: fusion.WAYS,
    CausalSpec: (Causal(),),
    CausalGradientSpec: (CausalGradient(),),
    PassSpec: (adjoint, input_gradient, weight_gradient),
    PixelSpec: (PixelPasses(),),
    ElementwiseSpec: (OneWay("elementwise", sums=False),),
    PoolSpec: (OneWay("pools", sums=False),),
    GatherSpec: (OneWay("gathers", sums=False),),
    AttentionSpec: (OneWay("attention"),),
    ResizeSpec: (OneWay("resizes", sums=False),),
    QuantizedSpec: (OneWay("quantized_images", sums=False),),
}
"""By the type of a problem."""


def rules_for(problem: Problem) -> tuple[AnyRule, ...]:
    """Return the rules of the kind of a problem; quantized convolutions have rules of their own."""
    if isinstance(problem, ConvSpec) and problem.quantized:
        return convolutions.QUANTIZED_RULES
    return RULES[type(problem)]


_RANKINGS: dict[type[Any], Callable[..., dict[Any, str | None]]] = {BlockSpec: fusion.ranking}
"""Of the types whose order of preference depends on the problem."""


def ranking(problem: Problem, target: Target, threads: int) -> dict[AnyRule, str | None]:
    """Return the rules for a problem, the preferred first, each with the reason against it."""
    kind = type(problem)
    if kind in _RANKINGS:
        return _RANKINGS[kind](problem, target, threads)
    return {rule: rule.rejects(problem, target) for rule in rules_for(problem)}


class Explanation(dict[str, "str | None"]):
    """For each rule in order, why it does not take a problem; None where it does."""

    def _repr_html_(self) -> str:
        rows = [(name, "taken" if why is None else why) for name, why in self.items()]
        return as_html("schedules", ("schedule", "why not"), rows, words=2)


def explain(problem: Problem, target: Target, threads: int) -> Explanation:
    """Return, for each rule in order, why it does not take the problem; None where it does."""
    found = ranking(problem, target, threads)
    return Explanation({rule.name: reason for rule, reason in found.items()})


@cache
def default_plan(problem: Problem, target: Target, threads: int = 1) -> AnyPlan:
    """Return the plan of the first rule that takes the problem, for so many threads.

    Raises:
        PlanError: none does.
    """
    found = ranking(problem, target, threads)
    for rule, reason in found.items():
        if reason is None:
            plan: AnyPlan = rule.default_plan(problem, target, threads)
            return plan
    reasons = "; ".join(f"{rule.name}: {reason}" for rule, reason in found.items())
    raise PlanError(f"a problem is one that some schedule takes; {reasons}: {problem}")


def legal_plans(problem: Problem, target: Target) -> Iterator[AnyPlan]:
    """Yield every legal plan of every rule that takes the problem."""
    for rule in rules_for(problem):
        if rule.rejects(problem, target) is None:
            yield from rule.plans(problem, target)


def rule_of(plan: AnyPlan, problem: Problem, target: Target) -> AnyRule:
    """Return the rule that a plan names.

    Raises:
        PlanError: there is none of that name, it does not take the problem, or it has no use for
            a tile of the plan; or so it is for a part of a block.
    """
    rules = {rule.name: rule for rule in rules_for(problem)}
    rule = rules.get(plan.schedule)
    if rule is None:
        taking = [name for name, rule in rules.items() if rule.rejects(problem, target) is None]
        raise PlanError(
            f"a schedule of this problem is one of {', '.join(taking)}; got {plan.schedule!r}"
            f"{meant(plan.schedule, taking)}: {problem}"
        )
    if reason := rule.rejects(problem, target):
        raise PlanError(f"schedule {rule.name} does not take this problem: {reason}: {problem}")
    if unread := [tile for tile in plan.tiles if tile not in rule.tiles]:
        read = ", ".join(rule.tiles) or "none"
        raise PlanError(
            f"the tiles of schedule {rule.name} are {read}; got {', '.join(unread)} in {plan}: "
            f"{problem}"
        )
    if isinstance(plan, BlockPlan):
        _check_parts(plan, problem, target)
    return rule


def _check_parts(plan: BlockPlan, block: Any, target: Target) -> None:
    """Refuse a plan of a block with one that its part cannot have."""
    for part, own, in_chain in fusion.parts_of(plan, block):
        name = rule_of(own, part, target).name
        strips = convolutions.default_plan(part, target).schedule
        if in_chain and name != strips:
            raise PlanError(f"strips of this part are computed by {strips}; got {own}: {part}")


def is_legal(plan: AnyPlan, problem: Problem, target: Target) -> bool:
    """Whether a plan is one that a rule has for a problem: a stored one may be of another time."""
    try:
        rule = rule_of(plan, problem, target)
    except PlanError:
        return False
    return plan in rule.plans(problem, target)
