"""Which parts of a block are computed in one kernel, and in strips of how many rows.

The choice is made by counting: cycles of multiply-adds, in whole tiles and on the thread that has
the most to do, and cycles in which data come from beyond a core's own caches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, pairwise
from math import ceil
from typing import TypeAlias

from depthwise import schedule
from depthwise.machine import team
from depthwise.machine.target import Target, private_cache_bytes
from depthwise.problem.block import BlockSpec
from depthwise.problem.costs import cost
from depthwise.problem.spec import ConvSpec
from depthwise.problem.values import nbytes
from depthwise.schedule import channels_last, pointwise, tiling
from depthwise.schedule.chain import Chain, inner
from depthwise.schedule.plan import PARTS, BlockPlan, Plan

_DEPTHWISE_SHARE = 0.6
"""The share of the peak at which a depthwise convolution runs, about."""
_PRODUCT_SHARES = 0.75, 0.95
"""The share at which a pointwise one does, channels-first and channels-last."""
_FAR_BYTES, _FAR_WEIGHT_BYTES = 24.0, 48.0
"""Bytes a cycle that come from beyond a core's own caches, about; weights are read in order."""
_LAUNCH_CYCLES = 1000, 4000
"""A launch on one thread, and on several, about."""
_UNITS = 2
"""Multiply-adds that begin in a cycle."""

Stage: TypeAlias = "Chain | tuple[ConvSpec, Plan]"
"""What one kernel computes: several parts, or one convolution."""


@dataclass(frozen=True)
class Estimate:
    """What a plan is expected to cost; of use to compare plans with each other."""

    plan: BlockPlan
    flops: int
    """Floating point operations of multiply-adds, what several threads compute counted twice."""
    far_bytes: int
    """Bytes that move between a core's own caches and what lies beyond."""
    scratch_bytes: int
    """Scratch memory of a thread."""
    cycles: float
    """Of the thread that has the most to do."""


def default_plan(spec: BlockSpec, target: Target) -> BlockPlan:
    """Return the plan that is expected to be fastest on the team's threads, without measuring."""
    return _default_plan(spec, target, team.size())


@cache
def _default_plan(spec: BlockSpec, target: Target, threads: int) -> BlockPlan:
    found = ways(spec, target, threads).values()
    return next(way.plan for way in found if isinstance(way, Estimate))


def ways(spec: BlockSpec, target: Target, threads: int) -> dict[str, Estimate | str]:
    """Return each way of fusing with its best plan, or the reason against it, cheapest first."""
    found: dict[str, Estimate | str] = {}
    for fused in ways_of_fusing(spec):
        reason = rejects(spec, fused) or _too_large(spec, fused, target)
        found[_title(fused)] = reason or min(
            (estimate(spec, plan, target, threads) for plan in plans(spec, fused, target)),
            key=_cycles,
        )
    return dict(sorted(found.items(), key=lambda item: _cycles(item[1])))


def why(ways: dict[str, Estimate | str]) -> str:
    """Say in numbers why the first way is taken and not the next."""
    possible = [(name, way) for name, way in ways.items() if isinstance(way, Estimate)]
    (name, taken), *others = possible
    if not others:
        return f"{name}, the only way"
    next_name, other = others[0]
    return (
        f"{name}, {taken.cycles:,.0f} cycles against {other.cycles:,.0f} of {next_name}: "
        f"{taken.far_bytes:,} against {other.far_bytes:,} bytes from beyond a core's caches, "
        f"{taken.flops:,} against {other.flops:,} FLOPs"
    )


def _cycles(way: Estimate | str) -> float:
    return way.cycles if isinstance(way, Estimate) else math.inf


def ways_of_fusing(spec: BlockSpec) -> tuple[tuple[int, ...], ...]:
    """Return how many neighbouring parts each kernel computes, in every way."""
    return ((2,), (1, 1)) if len(spec.parts) == 2 else ((3,), (1, 2), (2, 1), (1, 1, 1))


def rejects(spec: BlockSpec, fused: tuple[int, ...]) -> str | None:
    """Say why parts of a block cannot be computed in these kernels, or None where they can."""
    names = PARTS[-len(spec.parts) :]
    groups = [names[end - count : end] for count, end in zip(fused, accumulate(fused), strict=True)]
    group = next(group for group in groups if "depthwise" in group)
    if spec.squeeze_excite and "project" in group:
        return "the gate between depthwise and project needs the mean of all pixels"
    return None


def _too_large(spec: BlockSpec, fused: tuple[int, ...], target: Target) -> str | None:
    """Say why parts had better not be fused: the memory of the lowest strips leaves the caches."""
    lowest = scratch_bytes(spec, plan_of_rows(spec, fused, 1, target), target)
    if max(fused) == 1 or lowest <= private_cache_bytes():
        return None
    return (
        f"strips of one row take {lowest:,} bytes, more than a core's own cache has: "
        f"{private_cache_bytes():,}"
    )


def plans(spec: BlockSpec, fused: tuple[int, ...], target: Target) -> Iterator[BlockPlan]:
    """Yield the plan for each height of strips, as far as they stay in a core's own caches."""
    height = spec.depthwise.out_height
    if max(fused) == 1 and not spec.squeeze_excite:
        height = 1
    halves = {ceil(height / parts) for parts in (1, 2, 4)}
    for rows in sorted({rows for rows in (1, 2, 3, 4, 6, 8, 12, 16) if rows < height} | halves):
        plan = plan_of_rows(spec, fused, rows, target)
        if rows == 1 or scratch_bytes(spec, plan, target) <= private_cache_bytes():
            yield plan


def plan_of_rows(spec: BlockSpec, fused: tuple[int, ...], rows: int, target: Target) -> BlockPlan:
    """Return the plan with strips of so many rows and the fastest tiles for them."""
    parts = [
        schedule.default_plan(inner(part) if is_in_chain(spec, fused, index) else part, target)
        for index, part in enumerate(spec.parts)
    ]
    for stage in stages(spec, BlockPlan(fused, rows, tuple(parts)), target):
        if isinstance(stage, Chain):
            for index, part in stage.products():
                runs = stage.runs(part)
                parts[index] = pointwise.plan_for(part.dtype, part.out_channels, runs, target)
    return BlockPlan(fused, rows, tuple(parts))


def is_in_chain(spec: BlockSpec, fused: tuple[int, ...], part: int) -> bool:
    """Whether a part is computed in strips, and not as a convolution of its own."""
    kernels = [count for count in fused for _ in range(count)]
    gated = spec.squeeze_excite is not None and spec.parts[part] is not spec.expand
    return gated or kernels[part] > 1


def stages(spec: BlockSpec, plan: BlockPlan, target: Target) -> list[Stage]:
    """Return what each kernel of a plan computes, in the order in which they run.

    The gate of a squeeze-and-excite block, which stands before the last one, is not among them.
    """
    found: list[Stage] = []
    gated = spec.squeeze_excite is not None
    for start, end in plan.kernels[: -1 if gated else None]:
        parts, plans = spec.parts[start:end], plan.parts[start:end]
        if len(parts) == 1 and not (gated and parts[0].kind == "depthwise"):
            found.append((parts[0], plans[0]))
        else:
            last_planes = not spec.depthwise.channels_last and not gated
            planes = not spec.depthwise.channels_last, last_planes
            chain = Chain(parts, plans, plan.rows, target, start, planes, sums=gated)
            found.append(chain if chain.has_strip else chain.in_whole_tiles())
    return [*found, _scaled(spec, plan, target)] if gated else found


def _scaled(spec: BlockSpec, plan: BlockPlan, target: Target) -> Chain:
    """Return the projection behind a gate: a depthwise convolution of one tap scales its input."""
    conv = spec.depthwise
    scale = ConvSpec.depthwise(
        conv.out_channels, (conv.out_height, conv.out_width), 1, batch=conv.batch,
        layout=conv.layout, dtype=conv.dtype,
    )  # fmt: skip
    plans = channels_last.default_plan(inner(scale), target), plan.parts[-1]
    planes = False, not conv.channels_last
    first = len(spec.parts) - 2
    return Chain((scale, spec.project), plans, plan.rows, target, first, planes, scaled=True)


def scratch_bytes(spec: BlockSpec, plan: BlockPlan, target: Target) -> int:
    """Return the scratch memory of a thread."""
    found = (stage for stage in stages(spec, plan, target) if isinstance(stage, Chain))
    return max((chain.scratch_bytes for chain in found), default=0)


def estimate(spec: BlockSpec, plan: BlockPlan, target: Target, threads: int) -> Estimate:
    """Count what a plan costs."""
    costs = [
        _chain_cost(stage, threads)
        if isinstance(stage, Chain)
        else _conv_cost(*stage, target, threads)
        for stage in stages(spec, plan, target)
    ]
    flops, far_bytes, cycles = (sum(column) for column in zip(*costs, strict=True))
    cycles += len(costs) * _LAUNCH_CYCLES[threads > 1]
    scratch = scratch_bytes(spec, plan, target)
    return Estimate(plan, int(flops), int(far_bytes), scratch, cycles)


def _conv_cost(
    spec: ConvSpec, plan: Plan, target: Target, threads: int
) -> tuple[float, float, float]:
    """Return the FLOPs, the far bytes and the cycles of a convolution of its own."""
    costs, lanes = cost(spec), target.lanes(spec.dtype)
    share = _DEPTHWISE_SHARE
    if plan.schedule == pointwise.name:
        share = _PRODUCT_SHARES[spec.channels_last]
    cycles = costs.macs / (lanes * _UNITS * share)
    far = _far(spec.input_shape, spec.output_shape, spec)
    weights = _bytes(spec.weight_shape, spec)
    cycles += far / _FAR_BYTES + weights / _FAR_WEIGHT_BYTES
    return 2 * costs.macs, far + weights, cycles / threads


def _chain_cost(chain: Chain, threads: int) -> tuple[float, float, float]:
    """Return the FLOPs, the far bytes and the cycles of a chain.

    A thread reads the weights anew for each strip; they come from afar where they do not stay
    beside its memory.
    """
    conv = chain.depthwise
    weights = sum(_bytes(part.weight_shape, part) for part in chain.inner)
    near = weights + chain.scratch_bytes <= private_cache_bytes()
    far = _far(chain.parts[0].input_shape, chain.parts[-1].output_shape, conv)
    flops, far_weights, cycles = 0.0, 0, 0.0
    for runs in team.shares(chain.tasks, threads):
        works = [_work(chain, run) for run in runs]
        own_flops, own_cycles = (sum(column) for column in zip(*works, strict=True))
        tasks = sum(map(len, runs))
        own_weights = weights * (1 if near else tasks)
        own_cycles += far * tasks / chain.tasks / _FAR_BYTES
        own_cycles += own_weights / _FAR_WEIGHT_BYTES
        flops += own_flops
        far_weights += own_weights
        cycles = max(cycles, own_cycles)
    return flops, far + far_weights, cycles


def _work(chain: Chain, tasks: range) -> tuple[float, float]:
    """Return the FLOPs and the cycles of arithmetic of a run of strips."""
    conv, lanes = chain.depthwise, chain.target.lanes(chain.depthwise.dtype)
    macs = chain.computed_rows(tasks) * cost(conv).macs / conv.out_height
    cycles = macs / (lanes * _UNITS * _DEPTHWISE_SHARE)
    for index, part in chain.products():
        panels, runs = chain.forms[index - chain.first].panels, chain.runs(part, tasks)
        pixels = sum(count * times for count, times in runs)
        macs += pixels * part.channels * part.out_channels
        cycles += part.channels * tiling.cycles(panels, runs, lanes)
    return 2 * macs, cycles


def _far(given: tuple[int, ...], made: tuple[int, ...], spec: ConvSpec) -> int:
    """Return the bytes of an input and an output, 0 where both stay near."""
    both = _bytes(given, spec) + _bytes(made, spec)
    return both if both > private_cache_bytes() else 0


def _bytes(shape: tuple[int, ...], spec: ConvSpec) -> int:
    return nbytes(shape, spec.dtype)


def _title(fused: tuple[int, ...]) -> str:
    """Return a way of fusing as plans have it: "expand depthwise+project"."""
    names = PARTS[-sum(fused) :]
    ends = list(accumulate(fused, initial=0))
    return " ".join("+".join(names[start:end]) for start, end in pairwise(ends))
