"""ONNX Runtime: a session with every optimisation, so its blocked NCHWc kernels, and IO binding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnxruntime

from depthwise.bench.peers import copies, onnxruntime_causal, parts
from depthwise.bench.peers.graphs import GraphEngine
from depthwise.bench.peers.onnxruntime_graph import PADDING_MODES, Graph
from depthwise.bench.peers.parts import Limits, Order
from depthwise.bench.peers.posing import CHAINS
from depthwise.measure.catalogue import EXACT
from depthwise.measure.engine import Array, Clock, Prepared
from depthwise.problem.causal import CausalSpec
from depthwise.problem.dtypes import DEFAULT, QUANTIZED
from depthwise.problem.problem import Problem

_EXACT = "session.x64quantprecision", "1"
"""No sum of whole numbers saturates, where the processor has no dot products either."""
_LIMITS = Limits(
    (*CHAINS, CausalSpec), dtypes=(DEFAULT, *QUANTIZED), padding_modes=("zeros", *PADDING_MODES)
)


class Engine(GraphEngine):
    """ONNX Runtime on the CPU, input and output bound to arrays allocated beforehand."""

    name = "onnxruntime"
    variants = ("nchwc",)
    special: ClassVar = {CausalSpec.kind: onnxruntime_causal.VARIANTS}
    layout = "NCHWc"
    excluded = "weight packing"

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def version(self) -> str:
        """Return ONNX Runtime's version."""
        return str(onnxruntime.__version__)

    def threads(self) -> int:
        """Return what the options of each session say."""
        return int(options(self._threads, "call").intra_op_num_threads)

    def rejects(self, spec: Problem, variant: str, clock: Clock) -> str | None:  # noqa: ARG002
        """Refuse what has no CPU kernel."""
        reason = _LIMITS.reason(spec)
        if reason or not isinstance(spec, CausalSpec):
            return reason
        return onnxruntime_causal.rejects(spec, variant)

    def prepare(
        self, spec: Problem, variant: str, clock: Clock, arrays: tuple[Array, ...]
    ) -> Prepared:
        """Make the graph that people call ready, and for the kernel clock several of it."""
        if not isinstance(spec, CausalSpec):
            return super().prepare(spec, variant, clock, arrays)
        settings = options(self._threads, clock)
        return onnxruntime_causal.prepare(spec, variant, clock, arrays, settings)

    def read(
        self, file: Path, inputs: Mapping[str, Array], open_sizes: Mapping[str, int], variant: str
    ) -> File:
        """Return the file itself, which a session reads."""
        del inputs
        return File(file, open_sizes, exact=variant == EXACT)

    def problem(self, spec: Problem, arrays: tuple[Array, ...], outside: Order) -> Graph:
        """Return the problem, between transpositions where its arrays are NHWC."""
        graph = Graph(spec.dtype)
        value = "x" if outside == "NCHW" else graph.add("Transpose", "x", perm=[0, 3, 1, 2])
        value = graph.chain(parts.layers(spec, arrays), parts.order(spec), value)
        if outside == "NHWC":
            graph.add("Transpose", value, perm=[0, 2, 3, 1])
        return graph

    def copies(self, spec: Problem, arrays: tuple[Array, ...], count: int) -> Graph:
        """Return so many copies of the problem, 1 or all, under all the poolings.

        A pooling of single pixels brings the input into blocks, as the layer before does in a
        network.  Of whole numbers, whose poolings would take many times as long as the problem, a
        pixel is taken instead.
        """
        quantized = spec.dtype in QUANTIZED
        graph = Graph(spec.dtype)
        values = copies.outputs(
            spec,
            parts.layers(spec, arrays),
            count,
            "x" if quantized else graph.add("MaxPool", "x", kernel_shape=[1, 1]),
            lambda layers, x: graph.chain(layers, parts.order(spec), x),
        )
        last = parts.convolutions(spec)[-1]
        plane = last.out_height, last.out_width
        pooled = [
            graph.pixel(value, step)
            if quantized
            else graph.add("MaxPool", value, kernel_shape=plane, strides=[step, step])
            for step, value in enumerate(values, 1)
        ]
        graph.add("Concat", *pooled, axis=1)
        return graph

    def bound(
        self, graph: Any, inputs: Mapping[str, Array], outputs: Mapping[str, Array], clock: Clock
    ) -> Callable[[], object]:
        """Return the call of a session, of a graph or a file."""
        settings = options(self._threads, clock)
        if isinstance(graph, File):
            for word, size in graph.open_sizes.items():
                settings.add_free_dimension_override_by_name(word, size)
            if graph.exact:
                settings.add_session_config_entry(*_EXACT)
            return bound_call(settings, str(graph.path), inputs, outputs)
        if graph.dtype == np.int8:  # otherwise computed in float32
            settings.add_session_config_entry("session.qdqisint8allowed", "1")
        elif graph.dtype == np.uint8:
            settings.add_session_config_entry(*_EXACT)
        model = graph.model(inputs["x"].shape, outputs["y"].shape)
        return bound_call(settings, model, inputs, outputs)


@dataclass(frozen=True)
class File:
    """An ONNX file."""

    path: Path
    open_sizes: Mapping[str, int]
    """The size that stands for each word in the shapes of its inputs."""
    exact: bool
    """Whether sums of whole numbers may not saturate, where the processor has no dot products."""


def options(threads: int, clock: Clock) -> Any:
    """Return the options of a session: every optimisation, so many threads."""
    found = onnxruntime.SessionOptions()
    found.intra_op_num_threads = threads
    found.inter_op_num_threads = 1
    found.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    if clock == "kernel":  # threads of one session that spin would slow down the other
        found.add_session_config_entry("session.force_spinning_stop", "1")
    return found


def bound_call(
    options: Any, model: bytes | str, inputs: Mapping[str, Array], outputs: Mapping[str, Array]
) -> Callable[[], object]:
    """Return the call of a model, serialized or in a file, from arrays to arrays by name."""
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for bind, arrays in ((binding.bind_input, inputs), (binding.bind_output, outputs)):
        for name, array in arrays.items():
            bind(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)

    def run(keep: object = (inputs, outputs)) -> None:  # noqa: ARG001
        session.run_with_iobinding(binding)

    return run
