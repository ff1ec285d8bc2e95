"""The loops as they are defined."""

from __future__ import annotations

from typing import Any

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.programs.transform import Transform
from depthwise.schedule import default as rule
from depthwise.schedule.plan import Plan


def apply(sch: Any, spec: ConvSpec, plan: Plan, target: Target) -> None:
    """Leave the program as it is."""


transform = Transform(rule, apply)
