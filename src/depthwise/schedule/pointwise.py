"""Pointwise convolution: a matrix product over pixels in register tiles.

Channels-last, the rows of the product are the pixels of all images and its columns the output
channels, whose weights are packed in panels ahead of the calls.  Channels-first, the rows are the
output channels and the columns the pixels of an image; each panel of pixels is copied side by side
before it is used, because its rows lie a plane apart.  Tasks are runs of rows, of panels, or both.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import ceil
from typing import Any

from depthwise.plan import Plan
from depthwise.schedule import tiling
from depthwise.schedule.rule import Form
from depthwise.schedule.tiling import Panels, Tiling
from depthwise.spec import ConvSpec
from depthwise.target import Target

name = "pointwise"

_ENOUGH_TASKS, _FEW_TASKS = 16, 4
_RUN_ROWS = 128
"""Rows of a task, whose elements of A stay in the second cache from panel to panel."""
_FEWEST_TILES = 2
"""Tiles of a task, so that the last one can overlap the one before."""


def rejects(spec: ConvSpec, target: Target) -> str | None:
    """Take pointwise convolutions."""
    if spec.kind != "pointwise":
        return "only a pointwise convolution is a product of two matrices"
    return None


def default_plan(spec: ConvSpec, target: Target) -> Plan:
    """Return the tile that takes the fewest cycles."""
    rows, columns = _extents(spec)
    return tile_plan(spec.dtype, rows, columns, target)


def tile_plan(dtype: str, rows: int, columns: int, target: Target) -> Plan:
    """Return the plan of the tile that takes the fewest cycles for a product of this size."""
    lanes = target.lanes(dtype)
    return _plan(tiling.fastest(columns, rows, lanes, target.vector_registers), lanes)


def _plan(tile: Tiling, lanes: int) -> Plan:
    """Return `tc` columns and `tw` rows of the product."""
    return Plan(name, tc=tile.vectors * lanes, tw=tile.rows)


def plans(spec: ConvSpec, target: Target) -> Iterator[Plan]:
    """Yield one to four vectors of columns with as many rows as registers hold, and fewer."""
    rows, columns = _extents(spec)
    lanes, registers = target.lanes(spec.dtype), target.vector_registers
    found = {default_plan(spec, target): None}
    for vectors in range(1, min(ceil(columns / lanes), tiling.MOST_VECTORS) + 1):
        most = max(1, (registers - vectors - 1) // vectors)
        for tile in (most, most - 1, most // 2):
            if 1 <= tile <= rows:
                found[_plan(Tiling(tile, vectors), lanes)] = None
    yield from found


def form(spec: ConvSpec, plan: Plan, target: Target) -> Form:
    """Take channels-last weights in panels."""
    if not spec.channels_last:
        return Form()
    return Form(panels=panels(spec, plan, _rows_of_a_run(spec, plan), target))


def panels(spec: ConvSpec, plan: Plan, rows: int, target: Target) -> tuple[Panels, ...]:
    """Cut the columns of the product, of which at least so many rows are computed in one go."""
    _, columns = _extents(spec)
    lanes = target.lanes(spec.dtype)
    tile = Tiling(min(plan.tw, rows), max(1, plan.tc // lanes))
    return tiling.cut(columns, rows, tile, lanes, target.vector_registers)


def scheduled(definition: Any, spec: ConvSpec, plan: Plan, target: Target) -> Any:
    """Write the product anew."""
    from depthwise.schedule import products

    del definition
    cut = panels(spec, plan, _rows_of_a_run(spec, plan), target)
    shares = min(cut[0].count, ceil(_wanted_shares(spec, plan)))
    tasks = _row_runs(spec, plan), shares
    return products.pointwise(spec, cut, plan.tw, tasks, target.lanes(spec.dtype))


def _extents(spec: ConvSpec) -> tuple[int, int]:
    """Return the rows and the columns of the product."""
    pixels = spec.height * spec.width
    if spec.channels_last:
        return spec.batch * pixels, spec.out_channels
    return spec.out_channels, pixels


def _row_runs(spec: ConvSpec, plan: Plan) -> int:
    """Return into how many runs the rows are cut: channels-first, where images are too few tasks.

    (There, each task copies the panels of pixels for itself.)
    """
    rows, _ = _extents(spec)
    most = max(1, ceil(rows / plan.tw) // _FEWEST_TILES)
    wanted = rows // _RUN_ROWS if spec.channels_last else _FEW_TASKS // spec.batch
    return max(1, min(most, wanted))


def _rows_of_a_run(spec: ConvSpec, plan: Plan) -> int:
    """Return the rows of the shortest run."""
    rows, _ = _extents(spec)
    runs = _row_runs(spec, plan)
    tiles = ceil(rows / plan.tw)
    ends = [min(tiles * run // runs * plan.tw, rows) for run in range(runs + 1)]
    return min(end - start for start, end in pairwise(ends))


def _wanted_shares(spec: ConvSpec, plan: Plan) -> float:
    """Return into how many shares the panels are to be cut."""
    images = 1 if spec.channels_last else spec.batch
    return _ENOUGH_TASKS / (images * _row_runs(spec, plan))
