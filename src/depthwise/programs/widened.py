"""Operands of products that lie in 16 bits, brought near as float32: each number widened once.

Otherwise each would be widened again for every panel and every tile that it is multiplied in, and
one by one where it is broadcast.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import tvm_ffi
from tvm import tirx
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.programs.direct import vector
from depthwise.programs.fetching import LINE_BYTES
from depthwise.programs.pixel_runs import vectors

Expr: TypeAlias = Any

_NEAR_ELEMENTS = 2**15
"""About how many elements rows have that are widened together."""
FEWEST_TILES = 4
"""Tiles of them at the least, each of which uses what is widened of the other operand: for fewer
that is not worth its while."""


def rows_together(tile: int, depth: int) -> int:
    """Return how many rows of so many elements are widened together: whole tiles."""
    return max(FEWEST_TILES, _NEAR_ELEMENTS // (tile * depth)) * tile


def runs_of_rows(first: Expr, last: Expr, tile: int, most: int) -> Iterator[tuple[Expr, Expr]]:
    """Write a loop over runs of at most so many rows, all but the last of them whole tiles.

    None has fewer rows than a tile, unless all are fewer.
    """
    tiles = T.Bind((last - first + (tile - 1)) // tile)
    runs = T.Bind((tiles + (most // tile - 1)) // (most // tile))
    with T.serial(0, runs) as run:
        begin = T.Bind(first + run * tiles // runs * tile)
        yield begin, T.Bind(T.min(first + (run + 1) * tiles // runs * tile, last))


class Near:
    """New memory that begins with a cache line; the stack's own begins anywhere.

    (Vectors that lie across two lines cost up to a tenth of a kernel's speed.)
    """

    def __init__(self, size: int, dtype: str) -> None:
        line = LINE_BYTES // tvm_ffi.dtype(dtype).itemsize
        self._buffer = T.alloc_buffer((size + line,), dtype)
        address = tirx.reinterpret("uint64", T.address_of(self._buffer[0]))
        beyond = tirx.Cast("int32", address % tirx.const(LINE_BYTES, "uint64"))
        self._start = T.Bind((LINE_BYTES - beyond) // (LINE_BYTES // line) % line)

    def __getitem__(self, at: Expr) -> Expr:
        """Return an element."""
        return self._buffer[self._start + at]

    def copy(self, array: Any, start: Expr, to: Expr, count: int, lanes: int) -> None:
        """Write the loops that copy neighbouring elements of an array."""
        for at, (number, width) in vectors(count, lanes):
            with T.serial(0, number) as turn:
                here = T.Bind(turn * width + at)
                place = vector(self._start + to + here, width)
                T.buffer_store(self._buffer, array[vector(start + here, width)], [place])


def bring_rows(
    array: Any, pitch: int, begin: Expr, end: Expr, depth: int, most: int, lanes: int
) -> Near:
    """Return new memory with rows of a matrix behind one another.

    Args:
        array: the matrix.
        pitch: elements from row to row.
        begin: the first row.
        end: the row to stop before.
        depth: elements of a row.
        most: how many rows there are at most.
        lanes: elements of a vector.
    """
    near = Near(most * depth, array.dtype)
    with T.serial(0, end - begin) as row:
        near.copy(array, (begin + row) * pitch, row * depth, depth, lanes)
    return near


def bring_panel(array: Any, start: Expr, size: int, lanes: int) -> Near:
    """Return new memory with so many neighbouring elements."""
    near = Near(size, array.dtype)
    near.copy(array, start, 0, size, lanes)
    return near
