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

from depthwise.machine.target import Target
from depthwise.problem.costs import cost
from depthwise.problem.spec import ConvSpec
from depthwise.problem.values import itemsize
from depthwise.problem.vocabulary import Pair
from depthwise.schedule.form import Form, PlainForm
from depthwise.schedule.plan import Plan
from depthwise.schedule.rule import unrolls
from depthwise.schedule.steps import one_step

name = "channels_last"
tiles = {
    "tc": "neighbouring channels, a vector",
    "tw": "columns of the register tile",
    "th": "rows of the register tile",
}

_SQUARE = ((2, 4), (2, 3), (2, 2))
"""Rows and columns of tiles in the order of preference: two rows share the input that both read."""
_WIDE_COLUMNS, _WIDE_TAPS = 8, 7
"""The columns of a tile of one row, for so many taps a row, and for planes that are no wider."""
_FEW_TAPS = 9
_MOST_VECTORS = 12
_UNROLLED_STEPS = 400
"""Multiply-adds of a tile that are unrolled; more take seconds to compile."""

_PAGE_BYTES = 4096
"""The lines of a page fall into all sets of a first cache, each into another one."""
_NEAR_BYTES = 3 * 2**19
_MOST_WEIGHT_BYTES, _RUN_WEIGHT_BYTES = 16 * 2**10, 4 * 2**10
"""Weights that stay in the first cache beside the data, and those of a run where they do not."""
_ENOUGH_TASKS, _SHORTEST_RUN = 8, 4


def rejects(spec: ConvSpec, target: Target) -> str | None:
    """Take depthwise convolutions of channels-last data with multiplier 1."""
    if not spec.is_depthwise:
        return "only depthwise convolutions keep each channel in its vector lane"
    if not spec.channels_last:
        return "the data are channels-first; vectors run over channels here"
    if spec.multiplier != 1:
        return f"multiplier {spec.multiplier}: a vector of outputs would gather its inputs"
    return None


def default_plan(spec: ConvSpec, target: Target, threads: int) -> Plan:
    """Return the first tile whose input lines fit into the sets of the first cache.

    Tiles are one vector of channels wide, so that a cache line that is longer than a vector waits
    in the cache for the next tile; where the channels are a power of two, lines of neighbouring
    pixels fall into few sets and push each other out.  Then, and where data come from far and tiles
    share little of them, tiles take whole lines of channels and fewer pixels.  (Many taps read a
    line so often that it does not matter.)
    """
    lanes = target.lanes(spec.dtype)
    line = max(lanes, target.line_bytes // itemsize(spec.dtype))
    strided = spec.stride != (1, 1)
    if cost(spec).bytes > (target.private_cache_bytes if strided else target.shared_cache_bytes):
        return _far(spec, lanes, line)
    wide = spec.kernel[1] >= _WIDE_TAPS or spec.out_width <= _WIDE_COLUMNS
    shapes = ((1, _WIDE_COLUMNS),) if wide else _SQUARE
    if prod(spec.kernel) > _FEW_TAPS:
        return _plan(spec, lanes, *shapes[0])
    fitting = [tile for tile in shapes if _fits_into_sets(spec, target, *tile)]
    return _plan(spec, lanes, *fitting[0]) if fitting else _far(spec, lanes, line)


def _far(spec: ConvSpec, lanes: int, line: int) -> Plan:
    """Return the tile of data from far: one of more pixels where each that is read is converted."""
    if not spec.element.storage:
        return _plan(spec, line, 2, 2)
    if spec.out_height == 1:
        return _plan(spec, lanes, 1, _WIDE_COLUMNS)
    return _plan(spec, line, *_SQUARE[0])


def _plan(spec: ConvSpec, tc: int, th: int, tw: int) -> Plan:
    """Return a tile no larger than the plane."""
    return Plan(name, tc=tc, tw=min(tw, spec.out_width), th=min(th, spec.out_height))


def _fits_into_sets(spec: ConvSpec, target: Target, th: int, tw: int) -> bool:
    """Whether each set of the first cache has room for the lines of a tile that fall into it."""
    pixel, line = spec.pitch("x") * itemsize(spec.dtype), target.line_bytes
    rows, columns = (
        {output * stride + tap * dilation for output in range(tile) for tap in range(taps)}
        for tile, stride, taps, dilation in zip(
            (th, tw), spec.stride, spec.kernel, spec.dilation, strict=True
        )
    )
    lines = ((row * spec.width + column) * pixel // line for row in rows for column in columns)
    sets = _PAGE_BYTES // line
    return max(Counter(line % sets for line in lines).values()) <= (
        target.first_cache_bytes // _PAGE_BYTES
    )


def plans(spec: ConvSpec, target: Target) -> Iterator[Plan]:
    """Yield vectors of one to two registers (or the channels there are), one row or two."""
    lanes = target.lanes(spec.dtype)
    found = {default_plan(spec, target, 1): None}
    for tc in sorted({min(width, spec.channels) for width in (lanes, 2 * lanes)}):
        for th in range(1, min(2, spec.out_height) + 1):
            for tw in sorted({1, 2, 3, 4, 6, 8, 12, spec.out_width}):
                if th * tw * tc <= _MOST_VECTORS * lanes and tw <= spec.out_width:
                    found[Plan(name, tc=tc, tw=tw, th=th)] = None
    yield from found


def form(spec: ConvSpec, plan: Plan, target: Target) -> Form:
    """Compute the full vectors in one loop nest, the channels that are left in another."""
    return PlainForm(segments(spec, plan))


steps = one_step(form)


def segments(spec: ConvSpec, plan: Plan) -> tuple[Pair, ...]:
    """Return (first channel, how many) of the full vectors, then of the channels that are left."""
    full = spec.channels - spec.channels % plan.tc
    runs = ((0, full), (full, spec.channels - full))
    return tuple(run for run in runs if run[1])


def unrolls_rows(spec: ConvSpec, plan: Plan) -> bool:
    """Whether the rows of taps are unrolled in all segments, and not only the columns."""
    tile = plan.th * plan.tw * len(segments(spec, plan))
    return unrolls(spec, tile, _UNROLLED_STEPS)


def runs_of_channels(spec: ConvSpec, plan: Plan, target: Target) -> int:
    """Return into how many runs the channels are cut, each a walk down the rows of its own.

    One, unless the weights would leave the first cache from row to row (where few taps read data
    from far, or lines that push each other out, runs cost more than they gain), or rows make few
    tasks.
    """
    vectors, rest = divmod(spec.channels, plan.tc)
    if rest:
        return 1
    weights = prod(spec.kernel) * spec.channels * itemsize(spec.dtype)
    crowded = not _fits_into_sets(spec, target, *_SQUARE[0])
    enough = 2 if crowded else _ENOUGH_TASKS
    wanted = ceil(enough / (spec.batch * ceil(spec.out_height / plan.th)))
    near = cost(spec).bytes <= _NEAR_BYTES and not crowded
    if weights > _MOST_WEIGHT_BYTES and (near or prod(spec.kernel) > _FEW_TAPS):
        wanted = max(wanted, ceil(weights / _RUN_WEIGHT_BYTES))
    longest = max(1, vectors // _SHORTEST_RUN)
    divisors = [runs for runs in range(1, longest + 1) if vectors % runs == 0]
    return next((runs for runs in divisors if runs >= wanted), divisors[-1])
