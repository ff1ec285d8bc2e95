"""The gradient of a depthwise convolution with respect to its weight, and to its bias."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from depthwise.machine.target import Target
from depthwise.problem.costs import cost
from depthwise.problem.spec import ConvSpec
from depthwise.problem.training import PassSpec
from depthwise.problem.values import MAX_ELEMENTS, itemsize
from depthwise.schedule.input_gradient import TILES, block_channels, fetches_ahead, runs_of_channels
from depthwise.schedule.plan import Plan
from depthwise.schedule.rule import needs_wider_sums
from depthwise.schedule.steps import INPUT, OUTPUT, Buffer, Step, worth_waking

name = "weight_gradient"
tiles = {
    "tc": "channels of a block that is brought near, where data do not stay",
    "tw": "neighbouring outputs in one register tile",
}

_TILE = 8
_MOST_PARTS = 16
_SUMS_SHARE = 8
"""How many times the data outweigh the sums of all parts."""


@dataclass(frozen=True)
class Sums:
    """How a gradient with respect to the weight is computed."""

    conv: ConvSpec
    tile: int
    """Outputs of a tile."""
    taps: int
    """Taps of a row whose sums are in registers together."""
    parts: int
    """Parts of the rows with sums of their own."""
    runs: int
    """Into how many runs the channels are cut where data stay in place."""
    block: int
    """Channels that are brought near together where they do not."""
    lanes: int
    ahead: bool
    """Whether rows are fetched ahead where data stay."""

    @property
    def places(self) -> int:
        """Sums of an output channel."""
        return prod(self.conv.kernel) + self.conv.bias

    @property
    def size(self) -> int:
        """Elements of the sums of all parts."""
        return self.parts * self.places * self.conv.out_channels


def rejects(spec: PassSpec, target: Target) -> str | None:
    """Take every gradient with respect to the weight."""
    if spec.kind != "weight_gradient":
        return "only the gradient with respect to the weight sums over pixels"
    return needs_wider_sums(spec)


def default_plan(spec: PassSpec, target: Target, threads: int) -> Plan:
    """Return the widest tile that leaves registers for the sums of a row of taps."""
    taps = _taps(spec, target)
    tile = max(1, min(_TILE, target.vector_registers - taps - 1, spec.conv.out_width))
    return Plan(name, tc=block_channels(spec, target), tw=tile)


def plans(spec: PassSpec, target: Target) -> Iterator[Plan]:
    """Yield tiles of two to twelve outputs."""
    tc, width = block_channels(spec, target), spec.conv.out_width
    tiles_of = [Plan(name, tc=tc, tw=tw) for tw in TILES if tw <= width]
    yield from dict.fromkeys([default_plan(spec, target, 1), *tiles_of])


def steps(spec: PassSpec, plan: Plan, target: Target) -> tuple[Step, ...]:
    """Return the launch that sums parts of the rows, and that which adds the parts up."""
    most, size = worth_waking(spec), sums(spec, plan, target).size
    buffers = {"sums": Buffer.of_sums((size,), spec)}
    x, *_ = spec.operands
    return (
        Step(f"{spec}: parts", spec, plan, (INPUT, x, *buffers), most, buffers=buffers),
        Step(f"{spec}: their sum", spec, plan, (*buffers, OUTPUT), most, number=1),
    )


def sums(spec: PassSpec, plan: Plan, target: Target) -> Sums:
    """Return how a plan computes it."""
    conv, lanes = spec.conv, target.lanes(spec.dtype)
    size = itemsize(spec.dtype) * spec.output_shape[0]
    rows = conv.batch * conv.out_height
    worth = cost(spec).bytes // (_SUMS_SHARE * size)
    parts = max(1, min(worth, _MOST_PARTS, rows, MAX_ELEMENTS // rows))
    runs = runs_of_channels(conv.channels // lanes, parts)
    ahead = fetches_ahead(spec, runs, target)
    return Sums(conv, plan.tw, _taps(spec, target), parts, runs, plan.tc, lanes, ahead)


def _taps(spec: PassSpec, target: Target) -> int:
    """Return how many taps of a row are summed together."""
    return min(spec.conv.kernel[1], target.vector_registers // 2)
