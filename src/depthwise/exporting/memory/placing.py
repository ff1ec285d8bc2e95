"""Where pieces of memory lie that are needed at different times."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from random import Random
from typing import Generic, TypeVar

from depthwise.exporting.memory.overlaps import Overlap

Key = TypeVar("Key", bound=Hashable)

TRIES, PIECES = 1000, 100_000
"""How many orders are tried where the first ones leave gaps, and how many pieces in all."""


@dataclass(frozen=True)
class Piece:
    """A need for memory from one segment to another, both included."""

    nbytes: int
    born: int
    dies: int

    def meets(self, other: Piece) -> bool:
        """Whether both are needed at the same time."""
        return self.born <= other.dies and other.born <= self.dies


@dataclass(frozen=True)
class Places(Generic[Key]):
    """Where pieces lie."""

    offsets: Mapping[Key, int]
    end: int
    """The bytes that all take together."""


def placed(
    pieces: Mapping[Key, Piece], overlaps: Mapping[tuple[Key, Key], Overlap], enough: int
) -> Places[Key]:
    """Return places that end as low as some orders of placing the pieces make it.

    Args:
        pieces: what is placed.
        overlaps: pairs of which the second may lie over the first, though both are needed.
        enough: an end that is low enough.
    """
    return _Placing(pieces, overlaps).best(enough)


class _Placing(Generic[Key]):
    def __init__(
        self, pieces: Mapping[Key, Piece], overlaps: Mapping[tuple[Key, Key], Overlap]
    ) -> None:
        self._pieces, self._overlaps = pieces, overlaps
        self._either = {*overlaps, *((result, read) for read, result in overlaps)}
        self._meeting = {
            key: [other for other in pieces if other != key and piece.meets(pieces[other])]
            for key, piece in pieces.items()
        }

    def best(self, enough: int) -> Places[Key]:
        """Return the best places of two good orders, and of changes to the better one."""
        pieces = self._pieces
        largest = sorted(pieces, key=lambda key: -pieces[key].nbytes)
        longest = sorted(largest, key=lambda key: pieces[key].born - pieces[key].dies)
        order, best = largest, self._fit(largest)
        if (other := self._fit(longest)).end < best.end:
            order, best = longest, other
        chance = Random(0)
        for _ in range(min(TRIES, PIECES // max(1, len(pieces)))):
            if best.end <= enough:
                break
            changed = self._changed(order, best, chance)
            if (other := self._fit(changed, best.end)).end <= best.end:
                order, best = changed, other
        return best

    def _fit(self, order: Sequence[Key], most: float = inf) -> Places[Key]:
        """Place pieces one after the other, each as near the beginning as it fits.

        Those that are left when that takes more than some bytes are not placed.
        """
        offsets: dict[Key, int] = {}
        end = 0
        for key in order:
            nbytes = self._pieces[key].nbytes
            taken = []
            for other in self._meeting[key]:
                there = offsets.get(other)
                if there is not None:
                    if (other, key) in self._either:
                        taken += self._around(key, other, there)
                    else:
                        taken.append((there - nbytes, there + self._pieces[other].nbytes))
            offsets[key] = _first_gap(taken)
            end = max(end, offsets[key] + nbytes)
            if end > most:
                break
        return Places(offsets, end)

    def _around(self, key: Key, other: Key, there: int) -> list[tuple[int, int]]:
        """Return where a piece must not begin because of one that it may lie over."""
        start, end = there - self._pieces[key].nbytes, there + self._pieces[other].nbytes
        if over := self._overlaps.get((other, key)):
            start = max(start, there + over.behind)
        else:
            over = self._overlaps[key, other]
            end = min(end, there - over.behind)
        if over.in_place and start < there < end:
            return [(start, there), (there, end)]
        return [(start, end)]

    def _changed(self, order: Sequence[Key], places: Places[Key], chance: Random) -> list[Key]:
        """Return an order in which a piece that lies highest, or meets it, has another turn."""
        pieces, offsets = self._pieces, places.offsets
        key = chance.choice([k for k in order if offsets[k] + pieces[k].nbytes == places.end])
        key = chance.choice([key, *self._meeting[key]])
        changed = [other for other in order if other != key]
        changed.insert(chance.randrange(len(order)), key)
        return changed


def _first_gap(taken: list[tuple[int, int]]) -> int:
    """Return the lowest offset that is not between two of a pair."""
    offset = 0
    for start, end in sorted(taken):
        if start < offset < end:
            offset = end
    return offset
