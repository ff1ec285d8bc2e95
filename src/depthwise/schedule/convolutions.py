"""The rules for convolutions in the order of preference."""

from __future__ import annotations

from functools import cache

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.schedule import (
    blocked,
    channels_first,
    channels_last,
    default,
    dense,
    dense_planes,
    general,
    multiples,
    packed,
    pointwise,
    quantized_depthwise,
    quantized_products,
)
from depthwise.schedule.plan import Plan
from depthwise.schedule.rule import ConvRule

RULES: tuple[ConvRule, ...] = (
    channels_last, multiples, channels_first, packed, blocked, pointwise, dense, dense_planes,
    general, default,
)  # fmt: skip
QUANTIZED_RULES: tuple[ConvRule, ...] = (quantized_products, quantized_depthwise)
"""The rules for quantized convolutions."""
_BY_NAME = {rule.name: rule for rule in (*RULES, *QUANTIZED_RULES)}


def rule_named(name: str) -> ConvRule:
    """Return the rule of a plan that is known to be one of a convolution."""
    return _BY_NAME[name]


@cache
def default_plan(spec: ConvSpec, target: Target) -> Plan:
    """Return the plan of the first rule that takes a convolution, whatever the threads."""
    rules = QUANTIZED_RULES if spec.quantized else RULES
    rule = next(rule for rule in rules if rule.rejects(spec, target) is None)
    return rule.default_plan(spec, target, 1)
