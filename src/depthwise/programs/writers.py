"""The writer of each schedule rule: from a problem and its plan to programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from depthwise.machine.target import Target
from depthwise.problem.problem import Problem
from depthwise.programs import (
    adjoint,
    block,
    channels_first,
    channels_last,
    default,
    dense,
    general,
    input_gradient,
    multiples,
    packed,
    pixel_passes,
    pointwise,
    weight_gradient,
)
from depthwise.programs.build import Program
from depthwise.schedule import rule_of
from depthwise.schedule.fusion import WAYS
from depthwise.schedule.plan import AnyPlan

Writer: TypeAlias = Callable[[Any, Any, Target], tuple[Program, ...]]

WRITERS: dict[str, Writer] = {
    "channels_last": channels_last.programs,
    "multiples": multiples.programs,
    "channels_first": channels_first.programs,
    "packed": packed.programs,
    "pointwise": pointwise.programs,
    "dense": dense.programs,
    "general": general.programs,
    "default": default.programs,
    "adjoint": adjoint.programs,
    "input_gradient": input_gradient.programs,
    "weight_gradient": weight_gradient.programs,
    "pixel_passes": pixel_passes.programs,
    **dict.fromkeys((way.name for way in WAYS), block.programs),
}
"""By the name of the rule."""


def programs(problem: Problem, plan: AnyPlan, target: Target) -> tuple[Program, ...]:
    """Return the programs that a problem has of its own, by the number that its steps call them.

    Raises:
        PlanError: the plan's schedule does not take the problem.
    """
    return WRITERS[rule_of(plan, problem, target).name](problem, plan, target)
