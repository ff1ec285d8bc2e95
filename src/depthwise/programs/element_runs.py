"""Loops over all elements of channels-last images, vector by vector, as tasks share them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

from tvm import tirx
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.problem.problem import OfRuns, Problem
from depthwise.programs.pixel_runs import MOST_TASKS, pieces

Expr: TypeAlias = Any


@dataclass(frozen=True)
class Elements:
    """Neighbouring elements, of one pixel where it is given."""

    lanes: int
    """How many."""
    images: dict[str, Expr]
    """Where the first is in each array that may be a run of channels."""
    pixel: Expr = 0
    """Which pixel."""
    channel: Expr = None
    """The first one's channel."""
    gate: Expr = None
    """Where the first is in a gate (N, 1, 1, C)."""


class ElementRuns:
    """The elements of the images of a problem, so many of them to a task."""

    def __init__(self, spec: Problem, lanes: int, elements_of_a_task: int) -> None:
        assert isinstance(spec, OfRuns)
        self._spec: Any = spec
        self._lanes, self._size = lanes, prod(spec.input_shape)
        self.tasks = max(1, min(MOST_TASKS, self._size // elements_of_a_task))

    def across(self, task: Expr) -> Iterator[Elements]:
        """Write the loops over vectors of a task, wherever in their pixels they are."""
        one_pixel = self._spec.input_shape[-1] == self._size
        for start, count, width in pieces(self._size, self._lanes):
            with self._share(task, count) as number:
                first = T.Bind(start + number * width)
                images = dict.fromkeys(self._spec.may_be_runs, first)
                channel = first if one_pixel else None
                yield Elements(width, images, channel=channel, gate=channel)

    def by_pixel(self, task: Expr) -> Iterator[Elements]:
        """Write the loops over pixels of a task, and over the vectors of each."""
        batch, height, width, channels = self._spec.input_shape
        plane = height * width
        with self._share(task, batch * plane) as pixel:
            begins = {
                name: T.Bind(pixel * self._spec.pitch(name)) for name in self._spec.may_be_runs
            }
            gate = T.Bind(tirx.floordiv(pixel, plane) * channels) if batch > 1 else 0
            for start, count, lanes in pieces(channels, self._lanes):
                with T.serial(0, count) as number:
                    channel = T.Bind(start + number * lanes)
                    images = {name: T.Bind(begin + channel) for name, begin in begins.items()}
                    yield Elements(lanes, images, pixel, channel, T.Bind(gate + channel))

    def _share(self, task: Expr, count: int) -> Any:
        """Return the loop over a task's share of so many turns."""
        turns = -(-count // self.tasks)
        begin = T.Bind(T.min(task * turns, count))
        return T.serial(begin, T.Bind(T.min(begin + turns, count)))
