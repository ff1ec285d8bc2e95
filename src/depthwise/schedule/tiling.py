"""The tiles of a matrix product, Y[m, n] = sum over k of A[m, k] B[k, n], chosen by counting cycles.

The columns n are cut into panels of a few vectors, the rows m into tiles that keep their sums in
registers over all of k: a step of k loads the vectors of a panel once and multiplies each by one
element of every row of the tile.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

_LATENCY = 4
"""Cycles until the sum of a multiply-add can be added to."""
_UNITS = 2
"""Multiply-adds, and loads, that begin in a cycle."""
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


def fastest(columns: int, rows: int, lanes: int, registers: int) -> Tiling:
    """Return the tiling that takes the fewest cycles.

    Args:
        columns: of B and Y.
        rows: of A and Y that are multiplied in one go, at least.
        lanes: elements of a vector.
        registers: vector registers that a tile, the vectors of a step and one element may take.
    """
    vectors = ceil(columns / lanes)
    tilings = [
        Tiling(_tile_rows(width, rows, registers), width)
        for width in range(1, min(vectors, MOST_VECTORS) + 1)
    ]
    return min(tilings, key=lambda tiling: _least_cycles(vectors, rows, tiling, registers))


def cut(
    columns: int, rows: int, tiling: Tiling, lanes: int, registers: int
) -> tuple[Panels, ...]:
    """Cut the columns into panels; as few as possible are of another width than the tiling's."""
    found: list[Panels] = []
    start = 0
    for width in _widths(ceil(columns / lanes), rows, tiling, registers):
        tile = tiling.rows if width == tiling.vectors else _tile_rows(width, rows, registers)
        panel = Panels(start, 1, width * lanes, min(width * lanes, columns - start), tile)
        last = found[-1] if found else None
        if last and replace(last, start=start, count=1) == panel:
            found[-1] = replace(last, count=last.count + 1)
        else:
            found.append(panel)
        start += panel.width
    return tuple(found)


def _widths(vectors: int, rows: int, tiling: Tiling, registers: int) -> list[int]:
    """Return the vectors of each panel, the odd ones at the end."""
    ways = []
    for others in ([], [1], [2], [3], [2, 2], [3, 3]):
        rest = vectors - sum(others)
        if rest > 0 and rest % tiling.vectors == 0:
            ways.append([tiling.vectors] * (rest // tiling.vectors) + others)
    return min(ways, key=lambda widths: _cycles_of_all(widths, rows, tiling, registers))


def _least_cycles(vectors: int, rows: int, tiling: Tiling, registers: int) -> float:
    widths = _widths(vectors, rows, tiling, registers)
    return _cycles_of_all(widths, rows, tiling, registers)


def _cycles_of_all(widths: list[int], rows: int, tiling: Tiling, registers: int) -> float:
    """Return the cycles of one step of k over all rows and panels."""

    def cycles(width: int) -> float:
        tile = tiling.rows if width == tiling.vectors else _tile_rows(width, rows, registers)
        return ceil(rows / tile) * _cycles(tile, width)

    return sum(map(cycles, widths))


def _tile_rows(width: int, rows: int, registers: int) -> int:
    """Return the rows of a tile that takes the fewest cycles for a panel of so many vectors."""
    most = max(1, min(rows, (registers - width - 1) // width))
    return min(range(most, 0, -1), key=lambda tile: ceil(rows / tile) * _cycles(tile, width))


def _cycles(rows: int, width: int) -> float:
    """Return the cycles of one step of k over a tile."""
    return max(rows * width / _UNITS, (rows + width) / _UNITS, _LATENCY)


def packed_columns(panels: tuple[Panels, ...]) -> int:
    """Return how many columns all panels have, those that do not exist included."""
    return panels[-1].start + panels[-1].count * panels[-1].width
