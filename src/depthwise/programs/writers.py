"""The writer of each schedule rule: from a problem and its plan to programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from depthwise.machine.target import Target
from depthwise.problem.problem import Problem
from depthwise.programs import (
    adjoint,
    attention,
    block,
    blocked,
    causal,
    causal_gradient,
    channels_first,
    channels_last,
    default,
    dense,
    dense_planes,
    elementwise,
    gathers,
    general,
    input_gradient,
    multiples,
    packed,
    pixel_passes,
    pointwise,
    pools,
    quantized_depthwise,
    quantized_images,
    quantized_products,
    resizes,
    weight_gradient,
)
from depthwise.programs.build import Program
from depthwise.programs.storage import stored
from depthwise.schedule import rule_of
from depthwise.schedule.fusion import WAYS
from depthwise.schedule.plan import AnyPlan

Writer: TypeAlias = Callable[[Any, Any, Target], tuple[Program, ...]]

WRITERS: dict[str, Writer] = {
    "blocked": blocked.programs,
    "channels_last": channels_last.transform,
    "multiples": multiples.transform,
    "channels_first": channels_first.transform,
    "packed": packed.transform,
    "pointwise": pointwise.programs,
    "dense": dense.programs,
    "dense_planes": dense_planes.programs,
    "quantized_products": quantized_products.programs,
    "quantized_depthwise": quantized_depthwise.programs,
    "general": general.transform,
    "default": default.transform,
    "adjoint": adjoint.programs,
    "causal": causal.programs,
    "causal_gradient": causal_gradient.programs,
    "input_gradient": input_gradient.programs,
    "weight_gradient": weight_gradient.programs,
    "pixel_passes": pixel_passes.programs,
    "elementwise": elementwise.programs,
    "pools": pools.programs,
    "resizes": resizes.programs,
    "gathers": gathers.programs,
    "attention": attention.programs,
    "quantized_images": quantized_images.programs,
    **dict.fromkeys((way.name for way in WAYS), block.programs),
}
"""By the name of the rule."""


def programs(problem: Problem, plan: AnyPlan, target: Target) -> tuple[Program, ...]:
    """Return the programs that a problem has of its own, by the number that its steps call them.

    Raises:
        PlanError: the plan's schedule does not take the problem.
    """
    rule = rule_of(plan, problem, target)
    written = WRITERS[rule.name](problem, plan, target)
    if not problem.element.storage:
        return written
    return stored(written, problem, rule.steps(problem, plan, target), target)
