"""The gradient of a depthwise convolution with respect to its input, any attributes, both layouts.

Each input sums what the outputs that read it contribute: again a depthwise sum, backward.
Channels-last it is computed in place; otherwise strips of a block of channels are brought near.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from depthwise.machine.target import Target
from depthwise.problem.block import Spec
from depthwise.problem.costs import cost
from depthwise.problem.training import PassSpec
from depthwise.schedule.plan import Plan

name = "input_gradient"
stages = 1

FAR_BYTES = 8 * 2**20
"""About what a core's share of the last cache holds: beyond it, rows are fetched ahead."""
TILES = (2, 3, 4, 6, 7, 8, 10, 12)
"""Targets of the tiles among which a search chooses."""
_TILE = 8
_ENOUGH_TASKS, _SHORTEST_RUN = 8, 4


def rejects(spec: PassSpec, target: Target) -> str | None:
    """Take every gradient with respect to the input."""
    if spec.kind != "input_gradient":
        return "only the gradient with respect to the input sums what outputs contribute"
    return None


def default_plan(spec: PassSpec, target: Target) -> Plan:
    """Return the widest tile whose sums, weights of a row of taps and source are in registers."""
    conv = spec.conv
    weights = min(conv.kernel[1], target.vector_registers // 2)
    tile = max(1, min(_TILE, target.vector_registers - weights - 1, conv.width))
    return Plan(name, tc=block_channels(spec, target), tw=tile)


def plans(spec: PassSpec, target: Target) -> Iterator[Plan]:
    """Yield tiles of two to twelve inputs."""
    tc = block_channels(spec, target)
    yield from (Plan(name, tc=tc, tw=tw) for tw in TILES if tw <= spec.conv.width)


def functions(spec: PassSpec, plan: Plan, target: Target) -> Sequence[dict[str, Any]]:
    """Return the functions of the kernel."""
    from depthwise.programs import input_sums

    conv, lanes = spec.conv, target.lanes(spec.dtype)
    runs = runs_of_channels(conv.channels // lanes, conv.batch * conv.height)
    ahead = runs == 1 and is_far(spec)
    return [input_sums.functions(conv, plan, lanes, ahead=ahead, runs=runs)]


def block_channels(spec: PassSpec, target: Target) -> int:
    """Return the channels of a block that is brought near: a vector, so that strips are long."""
    return min(spec.conv.channels, target.lanes(spec.dtype))


def is_far(spec: Spec) -> bool:
    """Whether its arrays do not fit into the caches."""
    return cost(spec).bytes > FAR_BYTES


def runs_of_channels(vectors: int, rows: int) -> int:
    """Return into how many runs the vectors of channels are cut so that there are enough tasks."""
    return max(1, min(-(-_ENOUGH_TASKS // rows), vectors // _SHORTEST_RUN))
