"""Memory that is fetched before it is needed."""

from __future__ import annotations

from typing import Any, TypeAlias

import tvm_ffi
from tvm import tirx
from tvm.tirx.script import builder as T  # noqa: N812

Expr: TypeAlias = Any

LINE_BYTES = 64
_READ, _WRITE, _SECOND_CACHE, _DATA = (tirx.const(value, "int32") for value in (0, 1, 2, 1))


def fetch(array: Any, at: Expr, *, write: bool = False) -> None:
    """Begin to bring the line of an element into the second cache."""
    how = _WRITE if write else _READ, _SECOND_CACHE, _DATA
    T.evaluate(T.call_llvm_intrin("void", "llvm.prefetch", T.address_of(array[at]), *how))


def fetch_pixels(
    array: Any, first: Expr, pixel: int, pixels: int, lanes: int, turn: Expr, shares: int = 1,
    share: Expr = 0, *, write: bool = False,
) -> None:  # fmt: skip
    """Fetch neighbouring pixels while a loop goes over the vectors of a pixel.

    In each turn some lines are fetched, in the order in which they lie in memory, as many as it
    takes for all to be there after the last.

    Args:
        array: channels-last memory.
        first: the first element.
        pixel: elements from pixel to pixel.
        pixels: how many.
        lanes: elements of a vector.
        turn: the turn of the loop.
        shares: how many such loops fetch the same pixels together.
        share: which of them this is.
        write: whether the pixels will be written to.
    """
    line, turns = LINE_BYTES // tvm_ffi.dtype(array.dtype).itemsize, -(-pixel // lanes)
    each = -(-pixels * pixel // (line * turns * shares))
    begin = T.Bind((share * turns + turn) * (each * line) + first)
    for number in range(each):
        fetch(array, begin + number * line, write=write)
