"""Which parts of a block are computed in one kernel, and in strips of how many rows."""

from __future__ import annotations

from dataclasses import replace

from depthwise import schedule
from depthwise.block import BlockSpec
from depthwise.errors import PlanError
from depthwise.plan import BlockPlan, Plan
from depthwise.schedule import channels_last, multiples, pointwise
from depthwise.schedule.chain import Chain
from depthwise.spec import ConvSpec
from depthwise.target import Target


def default_plan(spec: BlockSpec, target: Target) -> BlockPlan:
    """Return the plan that is expected to be fastest, without measuring."""
    return fused_plan(spec, 4, target)


def fused_plan(spec: BlockSpec, rows: int, target: Target) -> BlockPlan:
    conv = inner(spec.depthwise)
    rule = channels_last if conv.multiplier == 1 else multiples
    plan = rule.default_plan(conv, target)
    rows = -(-min(rows, conv.out_height) // plan.th) * plan.th
    parts = []
    for part in spec.parts:
        if part.kind == "depthwise":
            parts.append(plan)
        else:
            pixels = part.width * (1 if part is spec.expand else min(rows, part.height))
            parts.append(pointwise.tile_plan(part.dtype, pixels, part.out_channels, target))
    return BlockPlan((len(parts),), rows, tuple(parts))


def inner(part: ConvSpec) -> ConvSpec:
    """Return a part as a chain computes it: one image, channels-last."""
    return replace(part, batch=1, layout="NHWC", residual=part.residual and part.channels_last)


def chain(spec: BlockSpec, plan: BlockPlan, start: int, end: int, target: Target) -> Chain:
    return Chain(spec.parts[start:end], plan.parts[start:end], plan.rows, target)
