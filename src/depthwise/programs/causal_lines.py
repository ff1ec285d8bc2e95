"""What lies side by side for each channel, taken apart into vectors of channels, and put back."""

from __future__ import annotations

from typing import Any, TypeAlias

from tvm import tirx
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.programs.causal_rows import wide
from depthwise.programs.direct import vector

Expr: TypeAlias = Any

_MOST_APART = 8
"""The elements of a channel that are loaded as vectors; more are loaded one by one."""


class Lines:
    """Lines of so many elements, one for each of neighbouring channels."""

    def __init__(self, array: Any, start: Expr, size: int, lanes: int) -> None:
        self._array, self._start, self._size, self._lanes = array, start, size, lanes
        self._lie: list[Expr] = []
        if size <= _MOST_APART:
            self._lie = [T.Bind(array[vector(start + lanes * part, lanes)]) for part in range(size)]

    def of(self, number: int) -> Expr:
        """Return a vector of the element of that number of each line."""
        if not self._lie:
            return T.Bind(self._array[self._place(number)])
        return self._shuffled(self._lie, [c * self._size + number for c in range(self._lanes)])

    def _place(self, number: Expr) -> Expr:
        if self._lanes == 1:
            return self._start + number
        return tirx.Ramp(self._start + number, self._size, self._lanes)

    def _shuffled(self, values: list[Expr], order: list[int]) -> Expr:
        """Return some elements of vectors that are numbered as they follow each other."""
        if self._lanes == 1:
            return values[order[0]]
        used = sorted({at // self._lanes for at in order})
        where = {part: place * self._lanes for place, part in enumerate(used)}
        chosen = [where[at // self._lanes] + at % self._lanes for at in order]
        return T.Bind(tirx.Shuffle([values[part] for part in used], chosen))

    def push(self, new: Expr) -> None:
        """Write each line without its first element, with a new one behind the others."""
        size, lanes = self._size, self._lanes
        if not self._lie:
            with T.serial(wide(0), wide(size - 1)) as number:
                T.buffer_store(
                    self._array, self._array[self._place(number + 1)], [self._place(number)]
                )
            T.buffer_store(self._array, new, [self._place(size - 1)])
            return
        for part in range(size):
            places = range(part * lanes, (part + 1) * lanes)
            order = [
                size * lanes + at // size if at % size == size - 1 else at + 1 for at in places
            ]
            value = self._shuffled([*self._lie, new], order)
            T.buffer_store(self._array, value, [vector(self._start + part * lanes, lanes)])
