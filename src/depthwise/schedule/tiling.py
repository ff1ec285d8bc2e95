"""The tiles of a matrix product Y[m, n] = sum over k of A[m, k] B[k, n], chosen by counting.

The columns n are cut into panels of a few vectors, the rows m into tiles that keep their sums in
registers over all of k: a step of k loads the vectors of a panel once and multiplies each by one
element of every row of the tile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from math import ceil
from typing import TypeAlias

Runs: TypeAlias = tuple[tuple[int, int], ...]
"""How many rows are multiplied in one go, and how often that happens."""

_LATENCY = 4
"""Cycles until the sum of a multiply-add can be added to."""
_UNITS, _LOADS = 2, 1.8
"""Multiply-adds, and loads, that begin in a cycle."""
_VECTOR_CYCLES = 1.1
"""Cycles a vector of a panel that comes from the second cache."""
MOST_VECTORS = 4


@dataclass(frozen=True)
class Panels:
    """Neighbouring panels of one width."""

    start: int
    """The first column."""
    count: int
    width: int
    """Columns of each, a multiple of the lanes of a vector."""
    used: int
    """Columns of each that exist: fewer than the width in a panel at the end alone."""
    rows: int
    """Rows of its tiles."""


@dataclass(frozen=True)
class Tiling:
    """The tile of most panels: `rows` times `vectors` sums."""

    rows: int
    vectors: int


@dataclass(frozen=True)
class Ahead:
    """Memory that will be read next, to be brought into the second cache during a product."""

    runs: int
    """Runs of neighbouring cache lines."""
    lines: int
    """Lines of a run."""
    line: int
    """Elements of a line."""
    stride: int
    """Elements from run to run."""
    tiles: int
    """Tiles of the product that share the runs, at most."""
    most: int
    """Runs that a tile fetches at most; their lines are no more than its steps of k."""


@dataclass(frozen=True)
class NextPanel:
    """How the weights of the panel behind one are brought near while its tiles are computed.

    Whatever the weights of a layer are, they were not used since the last call, and come from the
    last cache or from memory.  Each tile fetches some of the lines, one in so many steps of k.
    """

    lines: int
    """Lines that a tile fetches in one turn of the loops around the innermost one over k."""
    stride: int
    """Elements from line to line."""
    steps: int
    """Steps of k between two of them."""


def next_panel(
    panel: Panels, rows: int, depth: int, turns: int, line: int, lanes: int, narrower: int = 1
) -> NextPanel | None:
    """Return how the panel behind one is fetched, or None where that would gain little.

    Args:
        panel: the one that is computed.
        rows: the fewest that are multiplied in one go.
        depth: steps of k.
        turns: of the loops around the innermost one over k.
        line: elements of a cache line.
        lanes: those of a vector.
        narrower: how many elements lie in memory where one is computed.
    """
    tiles, inner = ceil(rows / panel.rows), depth // turns
    if tiles > _MANY_TILES:
        return None
    whole, shares = ceil(depth * panel.width / line), tiles * turns
    every = 1 if whole <= shares * inner else 2  # the processor brings pairs
    wanted = min(ceil(whole / every / shares), inner)
    steps = next(steps for steps in range(inner // wanted, 0, -1) if inner % steps == 0)
    registers = 32 if lanes * narrower == line else 16
    if steps < _ROLLED and 2 * panel.rows * panel.width > registers * lanes:
        steps = 1
    return NextPanel(inner // steps, every * line, steps)


_ROLLED = 8
"""Fewer steps are unrolled by LLVM, and where a tile takes most registers, what is loaded ahead for
the second of them pushes sums out.  With a line in each step there is none to be unrolled."""
_MANY_TILES = 64
"""So many that what a panel takes to arrive is little beside what it is used for."""


_FEW_RUNS = 4


@cache
def fastest(columns: int, runs: Runs, lanes: int, registers: int) -> Tiling:
    """Return the tiling that takes the fewest cycles.

    Args:
        columns: of B and Y.
        runs: how many rows of A and Y are multiplied in one go.
        lanes: elements of a vector.
        registers: vector registers that a tile, the vectors of a step and one element may take.
    """
    vectors = ceil(columns / lanes)
    tilings = [
        Tiling(tile_rows(width, runs, registers), width)
        for width in range(1, min(vectors, MOST_VECTORS) + 1)
    ]

    def cost(tiling: Tiling) -> float:
        widths = _widths(vectors, runs, tiling, registers)
        return _cycles_of_panels(widths, runs, tiling, registers)

    return min(tilings, key=cost)


def tilings(columns: int, rows: int, lanes: int, registers: int) -> Iterator[Tiling]:
    """Yield one to four vectors of columns with as many rows as registers hold, and fewer."""
    for vectors in range(1, min(ceil(columns / lanes), MOST_VECTORS) + 1):
        most = max(1, (registers - vectors - 1) // vectors)
        for tile in (most, most - 1, most // 2):
            if 1 <= tile <= rows:
                yield Tiling(tile, vectors)


def ends(rows: int, tile: int, count: int) -> list[int]:
    """Return where so many runs of rows begin and end; all but the last are whole tiles."""
    tiles = ceil(rows / tile)
    return [min(tiles * run // count * tile, rows) for run in range(count + 1)]


def few_runs(pixels: int, weights: int) -> int:
    """Return into how many runs at least the rows of a product are cut, of pixels and weights.

    Threads that share the columns read all of A each, those that share the rows all weights.  What
    makes A and takes Y is shared by rows too: where the product is not, half of A and Y moves from
    core to core, which takes as long as from the last cache.

    Args:
        pixels: elements of A and Y.
        weights: elements of B.
    """
    return _FEW_RUNS if pixels > weights else 1


def runs_between(ends: list[int]) -> Runs:
    """Return the rows of each run."""
    return tuple(Counter(end - start for start, end in pairwise(ends)).items())


def cycles(panels: tuple[Panels, ...], runs: Runs, lanes: int) -> float:
    """Return the cycles of one step of k over all rows and panels."""
    return sum(p.count * _cycles_of_rows(p.rows, p.width // lanes, runs) for p in panels)


def cut(columns: int, runs: Runs, tiling: Tiling, lanes: int, registers: int) -> tuple[Panels, ...]:
    """Cut the columns into panels; as few as possible are of another width than the tiling's."""
    found: list[Panels] = []
    start = 0
    for width in _widths(ceil(columns / lanes), runs, tiling, registers):
        rows = _rows_of(width, runs, tiling, registers)
        panel = Panels(start, 1, width * lanes, min(width * lanes, columns - start), rows)
        last = found[-1] if found else None
        if last and replace(last, start=start, count=1) == panel:
            found[-1] = replace(last, count=last.count + 1)
        else:
            found.append(panel)
        start += panel.width
    return tuple(found)


def _widths(vectors: int, runs: Runs, tiling: Tiling, registers: int) -> list[int]:
    """Return the vectors of each panel, the odd ones at the end."""
    usual = min(tiling.vectors, vectors)
    ways = []
    for odd in ((), (vectors % usual,), (3,), (2, 2), (3, 3)):
        others = [width for width in odd if width]
        rest = vectors - sum(others)
        if rest > 0 and rest % usual == 0:
            ways.append([usual] * (rest // usual) + others)
    return min(ways, key=lambda widths: _cycles_of_panels(widths, runs, tiling, registers))


def _cycles_of_panels(widths: list[int], runs: Runs, tiling: Tiling, registers: int) -> float:
    counts = Counter(widths)
    return sum(
        counts[width] * _cycles_of_rows(_rows_of(width, runs, tiling, registers), width, runs)
        for width in counts
    )


def _rows_of(width: int, runs: Runs, tiling: Tiling, registers: int) -> int:
    """Return the rows of the tiles of a panel of so many vectors."""
    if width != tiling.vectors:
        return tile_rows(width, runs, registers)
    return min(tiling.rows, _shortest(runs))


def tile_rows(width: int, runs: Runs, registers: int) -> int:
    """Return the rows of the tile that takes the fewest cycles for a panel of so many vectors."""
    most = max(1, min(_shortest(runs), (registers - width - 1) // width))
    return min(range(most, 0, -1), key=lambda rows: _cycles_of_rows(rows, width, runs))


def _shortest(runs: Runs) -> int:
    return min(rows for rows, _ in runs)


def _cycles_of_rows(tile: int, width: int, runs: Runs) -> float:
    """Return the cycles of one step of k over all tiles of all runs."""
    loads = max((tile + width) / _LOADS, width * _VECTOR_CYCLES)
    step = max(tile * width / _UNITS, loads, _LATENCY)
    return step * sum(ceil(rows / tile) * count for rows, count in runs)


def packed_columns(panels: tuple[Panels, ...]) -> int:
    """Return how many columns all panels have, those that do not exist included."""
    return panels[-1].start + panels[-1].count * panels[-1].width
