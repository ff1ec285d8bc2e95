"""Where the images of a network lie: one piece of memory, shared by those that live in turn."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from depthwise.network.steps import Call, Program, Shape, View, channels_last
from depthwise.problem.arrays import CACHE_LINE, Array
from depthwise.problem.dtypes import numpy_type

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Place:
    """A piece of a thread's memory, in bytes from its beginning."""

    offset: int
    nbytes: int

    @property
    def end(self) -> int:
        """Where the next one may begin."""
        return self.offset + -(-self.nbytes // CACHE_LINE) * CACHE_LINE

    def image(self, memory: Array, shape: Shape, dtype: str) -> Array:
        """Return the (N, C, H, W) image that lies there in channels-last order, or (N, C)."""
        flat = memory[self.offset : self.offset + self.nbytes].view(dtype)
        return channels_last(flat, shape)


@dataclass(frozen=True)
class Life:
    """A need for memory from one step to another, both included."""

    nbytes: int
    born: int
    dies: int

    def overlaps(self, other: Life) -> bool:
        """Whether both are needed at the same time."""
        return self.born <= other.dies and other.born <= self.dies


class Lives:
    """From when to when each image of a network is needed, in steps.

    Images are what kernels take and return.  A view of one may lie in its memory.
    """

    def __init__(
        self, program: Program, lies: Mapping[int, tuple[int, int]], cuts: Collection[int] = ()
    ) -> None:
        self._images, self._lies = program.images, lies
        self._born: dict[int, int] = {}
        self._dies: dict[int, int] = {}
        self._within: dict[int, frozenset[int]] = {}
        """The images in whose memory a value may lie."""
        for number in range(len(program.inputs) + len(program.constants)):
            self._is_born(number, 0, frozenset())
        for time, step in enumerate(program.steps):
            self._used(step.inputs, time)
            views = isinstance(step.work, View) or step.outputs[0] in cuts
            views |= isinstance(step.work, Call) and step.work.may_view
            within = (self._within[number] for number in step.inputs if views)
            viewed = frozenset[int]().union(*within)
            for number in step.outputs:
                self._is_born(number, time, viewed)
        self._used(program.results, len(program.steps))

    def of(self, number: int, nbytes: int) -> Life:
        """Return the life of an image of a size."""
        return Life(nbytes, self._born[number], self._dies[number])

    def inside(self, number: int) -> bool:
        """Whether a value may lie in the network's memory."""
        return bool(self._within[number])

    def _is_born(self, number: int, time: int, viewed: frozenset[int]) -> None:
        if number in self._images:
            root, _ = self._lies.get(number, (number, 0))
            viewed |= {root}
            self._born.setdefault(root, time)
            self._dies[root] = time
        self._within[number] = viewed

    def _used(self, numbers: tuple[int, ...], time: int) -> None:
        for number in numbers:
            for image in self._within[number]:
                self._dies[image] = time


def planned(lives: Mapping[Key, Life]) -> dict[Key, Place]:
    """Return a place for each, the largest first, each as near the beginning as it fits."""
    places: dict[Key, Place] = {}
    for key, life in sorted(lives.items(), key=lambda item: -item[1].nbytes):
        place = Place(0, life.nbytes)
        others = (place for other, place in places.items() if lives[other].overlaps(life))
        for taken in sorted(others, key=lambda place: place.offset):
            if place.end <= taken.offset:
                break
            place = Place(max(place.offset, taken.end), life.nbytes)
        places[key] = place
    return places


def nbytes(shape: Shape, dtype: str) -> int:
    """Return the bytes of an array."""
    return int(np.prod(shape, dtype=np.int64)) * numpy_type(dtype).itemsize
