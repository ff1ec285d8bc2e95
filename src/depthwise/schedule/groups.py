"""What a plan of a block launches: groups of neighbouring parts, and the gate."""

from __future__ import annotations

from typing import TypeAlias

from depthwise.machine.target import Target
from depthwise.problem.block import BlockSpec
from depthwise.problem.spec import ConvSpec
from depthwise.schedule import channels_last
from depthwise.schedule.chain import Chain, inner
from depthwise.schedule.gate import Gate
from depthwise.schedule.plan import BlockPlan, Plan

Group: TypeAlias = "Chain | tuple[ConvSpec, Plan]"
"""Several parts that are computed strip by strip, or one convolution by itself."""
Launch: TypeAlias = "Group | Gate"


def launches(spec: BlockSpec, plan: BlockPlan, target: Target) -> list[Launch]:
    """Return what a block launches, in this order: its groups, and the gate before the last one."""
    found: list[Launch] = [*groups(spec, plan, target)]
    if spec.squeeze_excite:
        found.insert(-1, Gate.of(spec, target))
    return found


def groups(spec: BlockSpec, plan: BlockPlan, target: Target) -> list[Group]:
    """Return the groups of a plan in the order in which they run."""
    found: list[Group] = []
    gated = spec.squeeze_excite is not None
    for start, end in plan.groups[: -1 if gated else None]:
        parts, plans = spec.parts[start:end], plan.parts[start:end]
        if not is_in_chain(spec, plan.fused, start):
            found.append((parts[0], plans[0]))
        else:
            last_planes = not spec.depthwise.channels_last and not gated
            planes = not spec.depthwise.channels_last, last_planes
            chain = Chain(parts, plans, plan.rows, target, start, planes, sums=gated)
            found.append(chain if chain.has_strip else chain.in_whole_tiles())
    return [*found, _scaled(spec, plan, target)] if gated else found


def is_in_chain(spec: BlockSpec, fused: tuple[int, ...], part: int) -> bool:
    """Whether a part is computed in strips, and not as a convolution of its own."""
    group_sizes = [count for count in fused for _ in range(count)]
    gated = spec.squeeze_excite is not None and part >= len(spec.parts) - 2
    return gated or group_sizes[part] > 1


def scratch_bytes(spec: BlockSpec, plan: BlockPlan, target: Target) -> int:
    """Return the scratch memory of a thread."""
    found = (group for group in groups(spec, plan, target) if isinstance(group, Chain))
    return max((chain.scratch_bytes for chain in found), default=0)


def _scaled(spec: BlockSpec, plan: BlockPlan, target: Target) -> Chain:
    """Return the projection behind a gate: a depthwise convolution of one tap scales its input."""
    conv = spec.depthwise
    scale = ConvSpec.depthwise(
        conv.out_channels, (conv.out_height, conv.out_width), 1, batch=conv.batch,
        layout=conv.layout, dtype=conv.dtype,
    )  # fmt: skip
    plans = channels_last.default_plan(inner(scale), target, 1), plan.parts[-1]
    planes = False, not conv.channels_last
    first = len(spec.parts) - 2
    return Chain((scale, spec.project), plans, plan.rows, target, first, planes, scaled=True)
