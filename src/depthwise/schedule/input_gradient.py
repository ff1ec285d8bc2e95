"""The gradient of a depthwise convolution with respect to its input, any attributes, both layouts.

Each input sums what the outputs that read it contribute: again a depthwise sum, backward.
Channels-last it is computed in place; otherwise strips of a block of channels are brought near.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from depthwise.machine.target import Target
from depthwise.problem.costs import cost
from depthwise.problem.training import PassSpec
from depthwise.problem.vocabulary import Layout
from depthwise.schedule.form import MultiplesForm, PlainForm
from depthwise.schedule.plan import Plan
from depthwise.schedule.rule import needs_wider_sums
from depthwise.schedule.steps import Packing, Step, alone

name = "input_gradient"
tiles = {
    "tc": "channels of a block that is brought near, where data do not stay",
    "tw": "neighbouring inputs in one register tile",
}

TILES = (2, 3, 4, 6, 7, 8, 10, 12)
"""Targets of the tiles among which a search chooses."""
_TILE = 8
_ENOUGH_TASKS, _SHORTEST_RUN = 8, 4


def rejects(spec: PassSpec, target: Target) -> str | None:
    """Take every gradient with respect to the input."""
    if spec.kind != "input_gradient":
        return "only the gradient with respect to the input sums what outputs contribute"
    return needs_wider_sums(spec)


def default_plan(spec: PassSpec, target: Target, threads: int) -> Plan:
    """Return the widest tile whose sums, weights of a row of taps and source are in registers."""
    conv = spec.conv
    weights = min(conv.kernel[1], target.vector_registers // 2)
    tile = max(1, min(_TILE, target.vector_registers - weights - 1, conv.width))
    return Plan(name, tc=block_channels(spec, target), tw=tile)


def plans(spec: PassSpec, target: Target) -> Iterator[Plan]:
    """Yield tiles of two to twelve inputs."""
    tc = block_channels(spec, target)
    tiles_of = [Plan(name, tc=tc, tw=tw) for tw in TILES if tw <= spec.conv.width]
    yield from dict.fromkeys([default_plan(spec, target, 1), *tiles_of])


def steps(spec: PassSpec, plan: Plan, target: Target) -> tuple[Step, ...]:
    """Return the one launch, which takes the weight as channels-last data have it."""
    conv = spec.conv
    layout: Layout = "NLC" if conv.kind == "depthwise1d" else "NHWC"
    form = MultiplesForm() if conv.multiplier > 1 else PlainForm()
    return (alone(spec, plan, {"weight": Packing(replace(conv, layout=layout), form)}),)


def runs(spec: PassSpec, target: Target) -> int:
    """Return into how many runs the channels are cut where data are computed in place."""
    conv = spec.conv
    return runs_of_channels(conv.channels // target.lanes(spec.dtype), conv.batch * conv.height)


def block_channels(spec: PassSpec, target: Target) -> int:
    """Return the channels of a block that is brought near: a vector, so that strips are long."""
    return min(spec.conv.channels, target.lanes(spec.dtype))


def fetches_ahead(spec: PassSpec, runs: int, target: Target) -> bool:
    """Whether rows are fetched ahead: the arrays leave the caches, and a row is read in order."""
    return runs == 1 and cost(spec).bytes > target.shared_cache_bytes


def runs_of_channels(vectors: int, rows: int) -> int:
    """Return into how many runs the vectors of channels are cut so that there are enough tasks."""
    return max(1, min(-(-_ENOUGH_TASKS // rows), vectors // _SHORTEST_RUN))
