"""The base of engines that take a problem, or the ONNX file of a network, as a whole graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from depthwise.bench.peers import copies, parts
from depthwise.bench.peers.parts import Order
from depthwise.measure import network_files
from depthwise.measure.engine import Array, Clock, Prepared
from depthwise.problem.problem import Problem


class GraphEngine(ABC):
    """An engine whose input and output are bound beforehand to arrays that lie outside of it.

    The kernel clock is that of `copies`.  What a graph is, the engine's own library says.
    """

    layout: ClassVar[str]
    """The layout in which it computes."""
    excluded: ClassVar[str]
    """What no clock sees, in words."""

    @abstractmethod
    def read(self, file: Path) -> Any:
        """Return the graph in an ONNX file."""

    @abstractmethod
    def problem(self, spec: Problem, arrays: tuple[Array, ...], outside: Order) -> Any:
        """Return the graph of a problem whose input and output have their axes in this order."""

    @abstractmethod
    def copies(self, spec: Problem, arrays: tuple[Array, ...], count: int) -> Any:
        """Return so many copies of the problem, 1 or all, under all the poolings of `copies`."""

    @abstractmethod
    def bound(self, graph: Any, x: Array, y: Array, clock: Clock) -> Callable[[], object]:
        """Return a call of a graph that reads `x` and writes `y`, both kept as long as it is."""

    def network(self, folder: Path, variant: str) -> Prepared:  # noqa: ARG002
        """Make a network ready, from its ONNX file."""
        x, y = network_files.arrays(folder)
        run = self.bound(self.read(folder / network_files.ONNX), x, y, "call")
        return Prepared(run, lambda: y, self.layout, "nothing")

    def prepare(
        self,
        spec: Problem,
        variant: str,  # noqa: ARG002
        clock: Clock,
        arrays: tuple[Array, ...],
    ) -> Prepared:
        """Make the graph that people call ready, and for the kernel clock those of `copies`."""
        outside = parts.outside(spec, clock, "NCHW")
        x = parts.data(spec, arrays[0], outside)
        y = parts.data(spec, arrays[-1], outside)
        once = self.bound(self.problem(spec, arrays, outside), x, y, clock)

        def output() -> Array:
            once()
            return parts.result(spec, y, outside)

        if clock == "call":
            return Prepared(once, output, self.layout, self.excluded)
        one, many = (
            self.bound(self.copies(spec, arrays, count), x, pooled, clock)
            for count in (1, copies.COPIES)
            for pooled in [np.empty(copies.pooled_shape(spec), np.float32)]
        )
        excluded = f"{self.excluded}, {copies.EXCLUDED}"
        return Prepared(many, output, self.layout, excluded, one, copies.COPIES - 1)
