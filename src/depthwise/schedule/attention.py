"""Attention, some queries at a time: how many, and the tiles of both products.

The scores of a block of queries lie in a strip of scratch memory, a row for each key, so that
vectors run over queries: their softmax needs no sums across a vector, and the second product takes
the strip as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import ceil

from depthwise.machine.target import Target
from depthwise.problem.attention import AttentionSpec
from depthwise.schedule import tiling
from depthwise.schedule.tiling import MOST_VECTORS, Panels

_ENOUGH_TASKS = 16
_STRIP_BYTES = 2**19
"""About how large a strip of scores may be, which is to stay in the second cache."""
_SOFTMAX_CYCLES = 9.0
"""Cycles that the softmax of a vector of scores takes."""


@dataclass(frozen=True)
class Blocks:
    """How the queries of an image are cut.

    Attributes:
        count: how many blocks there are; the last overlaps the one before where there are several.
        queries: how many each has.
        scores: the columns of the first product, which are a block's queries, in one panel.
        results: the columns of the second product, a head's channels of values.
        runs: in how many tasks the blocks of a head are computed.
    """

    count: int
    queries: int
    scores: Panels
    results: tuple[Panels, ...]
    runs: int

    @property
    def columns(self) -> int:
        """The elements of a row of the strip."""
        return self.scores.width

    @property
    def fewest_rows(self) -> int:
        """The queries that the second product takes at least."""
        return max(panel.rows for panel in self.results)


@cache
def blocks(spec: AttentionSpec, target: Target) -> Blocks:
    """Return the blocks that take the fewest cycles."""
    lanes, registers = target.lanes(spec.dtype), target.vector_registers
    row = spec.keys * lanes * spec.element.computed.bytes
    most = max(1, min(MOST_VECTORS, ceil(spec.pixels / lanes), _STRIP_BYTES // row))
    found = [_blocks(spec, vectors, lanes, registers) for vectors in range(1, most + 1)]
    return min(found, key=lambda each: _cycles(spec, each, lanes))


def _blocks(spec: AttentionSpec, vectors: int, lanes: int, registers: int) -> Blocks:
    """Return blocks of so many vectors of queries."""
    queries = min(spec.pixels, vectors * lanes)
    count = ceil(spec.pixels / queries)
    keys, rows = ((spec.keys, 1),), ((queries, 1),)
    wide = tiling.fastest(spec.width_of_values, rows, lanes, registers)
    return Blocks(
        count=count,
        queries=queries,
        scores=Panels(0, 1, vectors * lanes, queries, tiling.tile_rows(vectors, keys, registers)),
        results=tiling.cut(spec.width_of_values, rows, wide, lanes, registers),
        runs=min(count, ceil(_ENOUGH_TASKS / (spec.batch * spec.heads))),
    )


def _cycles(spec: AttentionSpec, blocks: Blocks, lanes: int) -> float:
    """Return about how many cycles a head of an image takes."""
    fit = tiling.cycles((blocks.scores,), ((spec.keys, 1),), lanes) * spec.depth
    total = tiling.cycles(blocks.results, ((blocks.queries, 1),), lanes) * spec.keys
    softmax = spec.keys * (blocks.columns // lanes) * _SOFTMAX_CYCLES
    return blocks.count * (fit + softmax + total)
