"""Where the images of a network lie: one piece of memory, shared by those that live in turn."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor

from depthwise.problem.arrays import CACHE_LINE
from depthwise.torch.network.network import Network, Values, filled
from depthwise.torch.network.operators import function
from depthwise.torch.network.tracing import may_view

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

    def image(self, memory: Tensor, like: Tensor) -> Tensor:
        """Return the (N, C, H, W) image that lies there in channels-last order, or (N, C)."""
        flat = memory[self.offset : self.offset + self.nbytes].view(like.dtype)
        if like.dim() == 2:
            return flat.view(like.shape)
        batch, channels, height, width = like.shape
        return flat.view(batch, height, width, channels).permute(0, 3, 1, 2)


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

    Images are what kernels take and return.  What torch makes of one may share its memory.
    """

    def __init__(self, network: Network) -> None:
        self.images: set[int] = set()
        self._born: dict[int, int] = {}
        self._dies: dict[int, int] = {}
        self._within: dict[int, frozenset[int]] = {}
        for step in network.steps:
            if network.stage(step) is not None:
                self.images |= {*step.inputs, step.output}
        for number in range(network.inputs):
            self._is_born(number, 0, set())
        for number in range(network.inputs, network.inputs + len(network.constants())):
            self._within[number] = frozenset({number})
        for time, step in enumerate(network.steps):
            self._used(step.inputs, time)
            stage = network.stage(step)
            views = stage is None and may_view(function(str(step.function)))
            self._is_born(step.output, time, set(step.inputs) if views else set())
        results: list[int] = []
        filled(network.results, results.append)
        self._used(results, len(network.steps))

    def of(self, number: int, nbytes: int) -> Life:
        """Return the life of an image of a size."""
        return Life(nbytes, self._born[number], self._dies[number])

    def owned(self, values: Values, number: int) -> Any:
        """Return a value for the caller to keep: a copy where it lies in the network's memory."""
        value = values[number]
        return value.clone() if self._within[number] and isinstance(value, Tensor) else value

    def _is_born(self, number: int, time: int, viewed: set[int]) -> None:
        within = {each for one in viewed for each in self._within.get(one, ())}
        if number in self.images:
            within.add(number)
            self._born[number] = self._dies[number] = time
        self._within[number] = frozenset(within)

    def _used(self, numbers: list[int], time: int) -> None:
        for number in numbers:
            for image in self._within.get(number, ()):
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
