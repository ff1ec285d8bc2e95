"""The base of engines that take a problem, or the ONNX file of a network, as a whole graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from depthwise.bench.peers import copies, parts
from depthwise.bench.peers.parts import Order
from depthwise.measure import network_files
from depthwise.measure.engine import Array, Clock, Prepared
from depthwise.problem.dtypes import QUANTIZED
from depthwise.problem.problem import Problem


class GraphEngine(ABC):
    """An engine whose input and output are bound beforehand to arrays that lie outside of it.

    The kernel clock is that of `copies`.  What a graph is, the engine's own library says.
    """

    layout: ClassVar[str]
    """The layout in which it computes real numbers; whole numbers channels-last."""
    excluded: ClassVar[str]
    """What no clock sees, in words."""

    @abstractmethod
    def read(
        self, file: Path, inputs: Mapping[str, Array], open_sizes: Mapping[str, int], variant: str
    ) -> Any:
        """Return the graph in an ONNX file for these inputs.

        Args:
            file: the ONNX file.
            inputs: by name.
            open_sizes: the size that stands for each word in the shapes of the file's inputs.
            variant: the way in which the network is run.
        """

    @abstractmethod
    def problem(self, spec: Problem, arrays: tuple[Array, ...], outside: Order) -> Any:
        """Return the graph of a problem whose input and output have their axes in this order."""

    @abstractmethod
    def copies(self, spec: Problem, arrays: tuple[Array, ...], count: int) -> Any:
        """Return so many copies of the problem, 1 or all, under all the poolings of `copies`."""

    @abstractmethod
    def bound(
        self, graph: Any, inputs: Mapping[str, Array], outputs: Mapping[str, Array], clock: Clock
    ) -> Callable[[], object]:
        """Return a call of a graph from arrays to arrays, all kept as long as it is."""

    def network(self, folder: Path, variant: str) -> Prepared:
        """Make a network ready, from its ONNX file."""
        inputs, outputs = network_files.inputs(folder), network_files.outputs(folder)
        file, sizes = network_files.file(folder), network_files.open_sizes(folder)
        run = self.bound(self.read(file, inputs, sizes, variant), inputs, outputs, "call")
        return Prepared(run, lambda: list(outputs.values()), self.layout, "nothing")

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
        layout = "NHWC" if spec.dtype in QUANTIZED else self.layout
        once = self.bound(self.problem(spec, arrays, outside), {"x": x}, {"y": y}, clock)

        def output() -> Array:
            once()
            return parts.result(spec, y, outside)

        if clock == "call":
            return Prepared(once, output, layout, self.excluded, rounds_alike=False)
        one, many = (
            self.bound(self.copies(spec, arrays, count), {"x": x}, {"y": pooled}, clock)
            for count in (1, copies.COPIES)
            for pooled in [np.empty(copies.pooled_shape(spec), x.dtype)]
        )
        excluded = f"{self.excluded}, {copies.EXCLUDED}"
        calls = copies.COPIES - 1
        return Prepared(many, output, layout, excluded, one, calls, rounds_alike=False)
