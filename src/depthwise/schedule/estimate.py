"""What a plan of a block is expected to cost, by counting.

Cycles of multiply-adds, in whole tiles and on the thread that has the most to do, and cycles in
which data come from beyond a core's own caches.
"""

from __future__ import annotations

from dataclasses import dataclass

from depthwise.machine import team
from depthwise.machine.target import Target
from depthwise.problem.block import BlockSpec
from depthwise.problem.costs import cost
from depthwise.problem.spec import ConvSpec
from depthwise.problem.values import nbytes
from depthwise.schedule import pointwise, tiling
from depthwise.schedule.chain import Chain
from depthwise.schedule.groups import groups, scratch_bytes
from depthwise.schedule.plan import BlockPlan, Plan

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


def estimate(spec: BlockSpec, plan: BlockPlan, target: Target, threads: int) -> Estimate:
    """Count what a plan costs."""
    costs = [
        _chain_cost(group, threads)
        if isinstance(group, Chain)
        else _conv_cost(*group, target, threads)
        for group in groups(spec, plan, target)
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
    far = _far(spec.input_shape, spec.output_shape, spec, target)
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
    near = weights + chain.scratch_bytes <= chain.target.private_cache_bytes
    far = _far(chain.parts[0].input_shape, chain.parts[-1].output_shape, conv, chain.target)
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
        place = index - chain.first
        panels, runs = chain.panels(place), chain.runs(place, tasks)
        pixels = sum(count * times for count, times in runs)
        macs += pixels * part.channels * part.out_channels
        cycles += part.channels * tiling.cycles(panels, runs, lanes)
    return 2 * macs, cycles


def _far(given: tuple[int, ...], made: tuple[int, ...], spec: ConvSpec, target: Target) -> int:
    """Return the bytes of an input and an output, 0 where both stay near."""
    both = _bytes(given, spec) + _bytes(made, spec)
    return both if both > target.private_cache_bytes else 0


def _bytes(shape: tuple[int, ...], spec: ConvSpec) -> int:
    return nbytes(shape, spec.dtype)
