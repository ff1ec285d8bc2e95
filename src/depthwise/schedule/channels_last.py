"""Channels-last depthwise convolution: vectors over channels, a register tile of rows and columns.

A tile is `th` rows and `tw` columns of neighbouring outputs times `tc` channels; rows share the
input rows that both read, and the taps are unrolled over the tile.  The padding is computed in
place: the border of columns is peeled off the loop, so that the inside has no condition; rows are
tested tap by tap, which costs little and leaves one parallel loop.  Channels beyond the last full
vector form a narrower vector in a loop nest of their own, so no vector straddles the channel count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import ceil, prod
from typing import Any

from depthwise.machine.target import Target
from depthwise.problem.costs import cost
from depthwise.problem.spec import ConvSpec
from depthwise.problem.vocabulary import Pair
from depthwise.schedule.plan import Plan
from depthwise.schedule.rule import Form, by_transforming, register_tile, stage, unrolls

name = "channels_last"

_SQUARE = ((2, 4), (2, 3), (2, 2))
"""Rows and columns of tiles in the order of preference: two rows share the input that both read."""
_WIDE_COLUMNS, _WIDE_TAPS = 8, 7
"""The columns of a tile of one row, for so many taps a row, and for planes that are no wider."""
_FEW_TAPS = 9
_MOST_VECTORS = 12
_UNROLLED_STEPS = 400
"""Multiply-adds of a tile that are unrolled; more take seconds to compile."""

_ITEM_BYTES = {"float32": 4, "float64": 8}
_LINE_BYTES, _SETS, _WAYS = 64, 64, 8
"""The first cache as almost every core has it, at least."""
_PRIVATE_CACHE_BYTES = 2**20
"""About what a core's own second cache holds."""
_SHARED_CACHE_BYTES = 8 * 2**20
"""About what a core's share of the last cache holds."""
_NEAR_BYTES = 3 * 2**19
_MOST_WEIGHT_BYTES, _RUN_WEIGHT_BYTES = 16 * 2**10, 4 * 2**10
"""Weights that stay in the first cache beside the data, and those of a run where they do not."""
_ENOUGH_TASKS, _SHORTEST_RUN = 8, 4


def rejects(spec: ConvSpec, target: Target) -> str | None:
    """Take depthwise convolutions of channels-last data with multiplier 1."""
    if not spec.kind.startswith("depthwise"):
        return "only depthwise convolutions keep each channel in its vector lane"
    if not spec.channels_last:
        return "the data are channels-first; vectors run over channels here"
    if spec.multiplier != 1:
        return f"multiplier {spec.multiplier}: a vector of outputs would gather its inputs"
    return None


def default_plan(spec: ConvSpec, target: Target) -> Plan:
    """Return the first tile whose input lines fit into the sets of the first cache.

    Tiles are one vector of channels wide, so that a cache line that is longer than a vector waits
    in the cache for the next tile; where the channels are a power of two, lines of neighbouring
    pixels fall into few sets and push each other out.  Then, and where data come from far and tiles
    share little of them, tiles take whole lines of channels and fewer pixels.  (Many taps read a
    line so often that it does not matter.)
    """
    lanes = target.lanes(spec.dtype)
    line = max(lanes, _LINE_BYTES // _ITEM_BYTES[spec.dtype])
    near = _PRIVATE_CACHE_BYTES if spec.stride != (1, 1) else _SHARED_CACHE_BYTES
    if cost(spec).bytes > near:
        return _plan(spec, line, 2, 2)
    wide = spec.kernel[1] >= _WIDE_TAPS or spec.out_width <= _WIDE_COLUMNS
    tiles = ((1, _WIDE_COLUMNS),) if wide else _SQUARE
    if prod(spec.kernel) > _FEW_TAPS:
        return _plan(spec, lanes, *tiles[0])
    fitting = [tile for tile in tiles if _lines_in_a_set(spec, *tile) <= _WAYS]
    return _plan(spec, lanes, *fitting[0]) if fitting else _plan(spec, line, 2, 2)


def _plan(spec: ConvSpec, tc: int, th: int, tw: int) -> Plan:
    """Return a tile no larger than the plane."""
    return Plan(name, tc=tc, tw=min(tw, spec.out_width), th=min(th, spec.out_height))


def _lines_in_a_set(spec: ConvSpec, th: int, tw: int) -> int:
    """Return how many of the lines that a tile reads fall into the same set of the first cache."""
    pixel = spec.channels * _ITEM_BYTES[spec.dtype]
    rows, columns = (
        {output * stride + tap * dilation for output in range(tile) for tap in range(taps)}
        for tile, stride, taps, dilation in zip(
            (th, tw), spec.stride, spec.kernel, spec.dilation, strict=True
        )
    )
    lines = (
        (row * spec.width + column) * pixel // _LINE_BYTES for row in rows for column in columns
    )
    return max(Counter(line % _SETS for line in lines).values())


def plans(spec: ConvSpec, target: Target) -> Iterator[Plan]:
    """Yield vectors of one to two registers (or the channels there are), one row or two."""
    lanes = target.lanes(spec.dtype)
    found = {default_plan(spec, target): None}
    for tc in sorted({min(width, spec.channels) for width in (lanes, 2 * lanes)}):
        for th in range(1, min(2, spec.out_height) + 1):
            for tw in sorted({1, 2, 3, 4, 6, 8, 12, spec.out_width}):
                if th * tw * tc <= _MOST_VECTORS * lanes and tw <= spec.out_width:
                    found[Plan(name, tc=tc, tw=tw, th=th)] = None
    yield from found


def form(spec: ConvSpec, plan: Plan, target: Target) -> Form:
    """Compute the full vectors in one loop nest, the channels that are left in another."""
    return Form(segments=_segments(spec, plan))


def _segments(spec: ConvSpec, plan: Plan) -> tuple[Pair, ...]:
    full = spec.channels - spec.channels % plan.tc
    runs = ((0, full), (full, spec.channels - full))
    return tuple(run for run in runs if run[1])


def apply(sch: Any, spec: ConvSpec, plan: Plan) -> None:
    """Tile each segment."""
    if (padding := stage(sch, "PaddedX")) is not None:
        sch.compute_inline(padding)
    segments = _segments(spec, plan)
    unrolled = unrolls(spec, plan.th * plan.tw * len(segments), _UNROLLED_STEPS)
    for index, (_, channels) in enumerate(segments):
        _tile(sch, str(index), min(plan.tc, channels), unrolled, spec, plan)


scheduled = by_transforming(apply)


def _tile(sch: Any, segment: str, tc: int, unrolled: bool, spec: ConvSpec, plan: Plan) -> None:
    total, store = register_tile(sch, segment)
    n, i, j, c, kh, kw = sch.get_loops(total)
    io, ii = sch.split(i, [None, plan.th])
    jo, ji = sch.split(j, [None, plan.tw])
    runs, co, ci = sch.split(c, [_runs_of_channels(spec, plan), None, tc])
    sch.reorder(n, runs, io, jo, co, kh, kw, ii, ji, ci)
    sch.reverse_compute_at(store, co, preserve_unit_loops=True)
    *_, store_i, store_j, store_c = sch.get_loops(store)
    for row, column, lane in ((ii, ji, ci), (store_i, store_j, store_c)):
        sch.unroll(row)
        sch.unroll(column)
        sch.vectorize(lane)
    sch.unroll(kw)
    if unrolled:
        sch.unroll(kh)
    sch.annotate(jo, "pragma_loop_partition_hint", True)
    sch.parallel(sch.fuse(n, runs, io))
    sch.decompose_reduction(total, kh)


def _runs_of_channels(spec: ConvSpec, plan: Plan) -> int:
    """Return into how many runs the channels are cut, each a walk down the rows of its own.

    One, unless the weights would leave the first cache from row to row (where few taps read data
    from far, or lines that push each other out, runs cost more than they gain), or rows make few
    tasks.
    """
    vectors, rest = divmod(spec.channels, plan.tc)
    if rest:
        return 1
    weights = prod(spec.kernel) * spec.channels * _ITEM_BYTES[spec.dtype]
    crowded = _lines_in_a_set(spec, *_SQUARE[0]) > _WAYS
    enough = 2 if crowded else _ENOUGH_TASKS
    wanted = ceil(enough / (spec.batch * ceil(spec.out_height / plan.th)))
    near = cost(spec).bytes <= _NEAR_BYTES and not crowded
    if weights > _MOST_WEIGHT_BYTES and (near or prod(spec.kernel) > _FEW_TAPS):
        wanted = max(wanted, ceil(weights / _RUN_WEIGHT_BYTES))
    longest = max(1, vectors // _SHORTEST_RUN)
    divisors = [runs for runs in range(1, longest + 1) if vectors % runs == 0]
    return next((runs for runs in divisors if runs >= wanted), divisors[-1])
