"""Pointwise convolution: a matrix product over pixels in register tiles.

Channels-last, the rows of the product are the pixels of all images and its columns the output
channels, whose weights are packed in panels ahead of the calls.  Channels-first, the rows are the
output channels and the columns the pixels of an image; each panel of pixels is copied side by side
before it is used, because its rows lie a plane apart.  Tasks are runs of rows, of panels, or both.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.schedule import tiling
from depthwise.schedule.form import Form, PanelsForm, PlainForm
from depthwise.schedule.plan import Plan
from depthwise.schedule.rule import needs_wider_sums
from depthwise.schedule.steps import one_step
from depthwise.schedule.tiling import Panels, Runs, Tiling

name = "pointwise"
tiles = {
    "tc": "columns of the product in a tile, whole vectors",
    "tw": "rows of the product in a tile",
}

_ENOUGH_TASKS, _FEW_TASKS = 16, 4
_RUN_ROWS = 128
"""Rows of a task, whose elements of A stay in the second cache from panel to panel."""
_FEWEST_TILES = 2
"""Tiles of a task, so that the last one can overlap the one before."""


def rejects(spec: ConvSpec, target: Target) -> str | None:
    """Take pointwise convolutions."""
    if spec.kind != "pointwise":
        return "only a pointwise convolution is a product of two matrices"
    return needs_wider_sums(spec)


def default_plan(spec: ConvSpec, target: Target, threads: int) -> Plan:
    """Return the tile that takes the fewest cycles."""
    rows, columns = _extents(spec)
    return plan_for(spec.dtype, columns, ((rows, 1),), target)


def plan_for(dtype: str, columns: int, runs: Runs, target: Target) -> Plan:
    """Return the plan of the tile that takes the fewest cycles for a product."""
    lanes = target.lanes(dtype)
    return _plan(tiling.fastest(columns, runs, lanes, target.vector_registers), lanes)


def _plan(tile: Tiling, lanes: int) -> Plan:
    """Return `tc` columns and `tw` rows of the product."""
    return Plan(name, tc=tile.vectors * lanes, tw=tile.rows)


def tiling_of(plan: Plan, lanes: int) -> Tiling:
    """Return what a plan means where a vector has so many lanes."""
    return Tiling(plan.tw, max(1, plan.tc // lanes))


def plans(spec: ConvSpec, target: Target) -> Iterator[Plan]:
    """Yield one to four vectors of columns with as many rows as registers hold, and fewer."""
    rows, columns = _extents(spec)
    lanes, registers = target.lanes(spec.dtype), target.vector_registers
    tilings = tiling.tilings(columns, rows, lanes, registers)
    yield from dict.fromkeys(
        [default_plan(spec, target, 1), *(_plan(tile, lanes) for tile in tilings)]
    )


def form(spec: ConvSpec, plan: Plan, target: Target) -> Form:
    """Take channels-last weights in panels."""
    return PanelsForm(panels_of(spec, plan, target)) if spec.channels_last else PlainForm()


steps = one_step(form)


def tasks(spec: ConvSpec, plan: Plan, target: Target) -> tuple[int, int]:
    """Return into how many runs the rows are cut, and into how many shares the panels."""
    panels = panels_of(spec, plan, target)
    wanted = ceil(_wanted_shares(spec, plan))
    return _row_runs(spec, plan), min(sum(panel.count for panel in panels), wanted)


def panels(columns: int, runs: Runs, plan: Plan, dtype: str, target: Target) -> tuple[Panels, ...]:
    """Cut the columns of a product as its plan says."""
    lanes = target.lanes(dtype)
    return tiling.cut(columns, runs, tiling_of(plan, lanes), lanes, target.vector_registers)


def panels_of(spec: ConvSpec, plan: Plan, target: Target) -> tuple[Panels, ...]:
    """Return the panels of a convolution: of output channels, channels-first of pixels."""
    _, columns = _extents(spec)
    return panels(columns, _runs(spec, plan), plan, spec.dtype, target)


def _extents(spec: ConvSpec) -> tuple[int, int]:
    """Return the rows and the columns of the product."""
    pixels = spec.height * spec.width
    if spec.channels_last:
        return spec.batch * pixels, spec.out_channels
    return spec.out_channels, pixels


def _row_runs(spec: ConvSpec, plan: Plan) -> int:
    """Return into how many runs the rows are cut.

    Channels-first, that is where images are too few tasks: each copies the panels of pixels for
    itself.
    """
    rows, columns = _extents(spec)
    most = max(1, ceil(rows / plan.tw) // _FEWEST_TILES)
    wanted = _FEW_TASKS // spec.batch
    if spec.channels_last:
        few = tiling.few_runs(rows * (spec.channels + columns), spec.channels * columns)
        wanted = max(rows // _RUN_ROWS, few)
    return max(1, min(most, wanted))


def _runs(spec: ConvSpec, plan: Plan) -> Runs:
    """Return the rows of each run, in which all but the last are whole tiles."""
    rows, _ = _extents(spec)
    return tiling.runs_between(tiling.ends(rows, plan.tw, _row_runs(spec, plan)))


def _wanted_shares(spec: ConvSpec, plan: Plan) -> float:
    """Return into how many shares the panels are to be cut."""
    images = 1 if spec.channels_last else spec.batch
    return _ENOUGH_TASKS / (images * _row_runs(spec, plan))
