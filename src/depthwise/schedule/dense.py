"""Ordinary convolution of channels-last data: a matrix product whose rows are windows of the input.

A row holds what an output pixel reads, tap by tap, where it lies: no window is copied.  The columns
are the output channels, as in `pointwise`.  Where the input is padded, a task copies the rows that
its pixels read into scratch memory, with their border.  Tasks are runs of pixels, of panels, or
both.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, prod

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.problem.values import itemsize
from depthwise.schedule import tiling
from depthwise.schedule.form import Form, PanelsForm
from depthwise.schedule.plan import Plan
from depthwise.schedule.rule import needs_wider_sums
from depthwise.schedule.stack import Stack
from depthwise.schedule.steps import one_step
from depthwise.schedule.tiling import Panels, Tiling

name = "dense"
tiles = {"tc": "output channels in a tile, whole vectors", "tw": "output pixels in a tile"}

_ENOUGH_TASKS = 16
_RUN_PIXELS = 128
"""Pixels of a task, fewer than which would not repay the reading of all panels."""
_RUN_BYTES = 2**17
"""About what the pixels of a task read, so that it stays in the second cache."""
_FEWEST_TILES = 2
"""Tiles of a task, so that the last one can overlap the one before."""


def rejects(spec: ConvSpec, target: Target) -> str | None:
    """Take convolutions of channels-last data in one group."""
    if spec.kind != "conv":
        return f"a {spec.kind} convolution has schedules of its own"
    if spec.groups != 1:
        return f"{spec.groups} groups: the channels of each would be a product of their own"
    if not spec.channels_last:
        return "the data are channels-first; what a tap reads lies a plane apart"
    return needs_wider_sums(spec)


def default_plan(spec: ConvSpec, target: Target, threads: int) -> Plan:
    """Return the tile that takes the fewest cycles."""
    lanes, rows = target.lanes(spec.dtype), ((Stack.of(spec).pixels, 1),)
    return _plan(tiling.fastest(spec.out_channels, rows, lanes, target.vector_registers), lanes)


def _plan(tile: Tiling, lanes: int) -> Plan:
    """Return `tc` columns and `tw` rows of the product."""
    return Plan(name, tc=tile.vectors * lanes, tw=tile.rows)


def plans(spec: ConvSpec, target: Target) -> Iterator[Plan]:
    """Yield one to four vectors of columns with as many rows as registers hold, and fewer."""
    lanes, pixels = target.lanes(spec.dtype), Stack.of(spec).pixels
    tilings = tiling.tilings(spec.out_channels, pixels, lanes, target.vector_registers)
    yield from dict.fromkeys(
        [default_plan(spec, target, 1), *(_plan(tile, lanes) for tile in tilings)]
    )


def form(spec: ConvSpec, plan: Plan, target: Target) -> Form:
    """Take the weights in panels."""
    return PanelsForm(panels(spec, plan, target))


steps = one_step(form)


def tasks(spec: ConvSpec, plan: Plan, target: Target) -> tuple[int, int]:
    """Return into how many runs the pixels are cut, and into how many shares the panels."""
    count = runs(spec, plan)
    shares = sum(panel.count for panel in panels(spec, plan, target))
    return count, min(shares, ceil(_ENOUGH_TASKS / count))


def panels(spec: ConvSpec, plan: Plan, target: Target) -> tuple[Panels, ...]:
    """Return the panels of output channels."""
    lanes = target.lanes(spec.dtype)
    ends = tiling.ends(Stack.of(spec).pixels, plan.tw, runs(spec, plan))
    return tiling.cut(
        spec.out_channels, tiling.runs_between(ends), Tiling(plan.tw, max(1, plan.tc // lanes)),
        lanes, target.vector_registers,
    )  # fmt: skip


def runs(spec: ConvSpec, plan: Plan) -> int:
    """Return into how many runs the pixels are cut."""
    most = max(1, ceil(Stack.of(spec).pixels / plan.tw) // _FEWEST_TILES)
    return min(most, most_runs(spec))


def most_runs(spec: ConvSpec) -> int:
    """Return into how many runs the pixels are cut at most, whatever the tile."""
    stack = Stack.of(spec)
    far = stack.images * stack.height * stack.row * itemsize(spec.dtype)
    wanted = max(_ENOUGH_TASKS, ceil(far / _RUN_BYTES))
    pixels = prod(spec.input_shape) + prod(spec.output_shape)
    few = tiling.few_runs(pixels, prod(spec.weight_shape))
    return min(max(stack.pixels // _RUN_PIXELS, few), wanted)
