"""Where the images of a network lie: one piece of memory, shared by those that live in turn."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from depthwise.arrays import CACHE_LINE
from depthwise.torch.network.network import Network, Values, filled
from depthwise.torch.network.operators import function
from depthwise.torch.network.tracing import may_view


@dataclass(frozen=True)
class Place:
    """Where an image lies: (N, C, H, W) in channels-last order, bytes from the beginning."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    offset: int

    @property
    def nbytes(self) -> int:
        """Its size."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def end(self) -> int:
        """Where the next one may begin."""
        return self.offset + -(-self.nbytes // CACHE_LINE) * CACHE_LINE

    def tensor(self, memory: Tensor) -> Tensor:
        """Return the image in a thread's memory."""
        batch, channels, height, width = self.shape
        flat = memory[self.offset : self.offset + self.nbytes].view(self.dtype)
        return flat.view(batch, height, width, channels).permute(0, 3, 1, 2)


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
        for time, step in enumerate(network.steps):
            self._used(step.inputs, time)
            stage = network.stage(step)
            views = stage is None and may_view(function(str(step.function)))
            self._is_born(step.output, time, set(step.inputs) if views else set())
        results: list[int] = []
        filled(network.results, results.append)
        self._used(results, len(network.steps))

    def overlap(self, one: int, other: int) -> bool:
        """Whether two images are needed at the same time."""
        return self._born[one] <= self._dies[other] and self._born[other] <= self._dies[one]

    def owned(self, values: Values, number: int) -> Any:
        """Return a value for the caller to keep: a copy where it lies in the images' memory."""
        value = values[number]
        return value.clone() if self._within.get(number) and isinstance(value, Tensor) else value

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


def planned(lives: Lives, values: Values) -> dict[int, Place]:
    """Return a place for each image, the largest first, each as near the beginning as it fits."""
    places: dict[int, Place] = {}
    for number in sorted(lives.images, key=lambda number: -values[number].numel()):
        value = values[number]
        taken = sorted(
            ((place.offset, place.end) for other, place in places.items()
             if lives.overlap(number, other)),
        )  # fmt: skip
        place = Place(tuple(value.shape), value.dtype, 0)
        for start, end in taken:
            if place.end <= start:
                break
            if end > place.offset:
                place = Place(place.shape, place.dtype, end)
        places[number] = place
    return places
