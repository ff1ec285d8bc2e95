"""ONNX Runtime: a session with every optimisation, so its blocked NCHWc kernels, and IO binding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import helper, numpy_helper

from depthwise.bench.peers import copies, parts
from depthwise.bench.peers.graphs import GraphEngine
from depthwise.bench.peers.parts import Layer, Limits, Order
from depthwise.measure.catalogue import EXACT
from depthwise.measure.engine import Array, Clock
from depthwise.problem.dtypes import DEFAULT, QUANTIZED
from depthwise.problem.problem import Problem

_OPSET, _IR_VERSION = 20, 10
_ONE = np.float32(1)
_PADDING_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
_ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}),
    "relu6": ("Clip", {}),
    "hardswish": ("HardSwish", {}),
    "gelu": ("Gelu", {"approximate": "none"}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.01}),
    "sigmoid": ("Sigmoid", {}),
    "hardsigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "silu": ("Sigmoid", {}),
}
_EXACT = "session.x64quantprecision", "1"
"""No sum of whole numbers saturates, where the processor has no dot products either."""
_LIMITS = Limits(dtypes=(DEFAULT, *QUANTIZED), padding_modes=("zeros", *_PADDING_MODES))


class Engine(GraphEngine):
    """ONNX Runtime on the CPU, input and output bound to arrays allocated beforehand."""

    name = "onnxruntime"
    variants = ("nchwc",)
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
        return _LIMITS.reason(spec)

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


class Graph:
    """An ONNX graph from "x" to "y", the output of the node that is added last, of one type."""

    def __init__(self, dtype: str) -> None:
        self.dtype = np.dtype(dtype)
        self.nodes: list[Any] = []
        self.constants: dict[int, tuple[Any, Array]] = {}
        """By the identity of the array, which is kept."""

    def model(self, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> bytes:
        """Return the graph as a serialized model."""
        self.nodes[-1].output[0] = "y"
        kind = helper.np_dtype_to_tensor_dtype(self.dtype)
        x = helper.make_tensor_value_info("x", kind, input_shape)
        y = helper.make_tensor_value_info("y", kind, output_shape)
        constants = [tensor for tensor, _ in self.constants.values()]
        graph = helper.make_graph(self.nodes, "problem", [x], [y], constants)
        opset = [helper.make_opsetid("", _OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION)
        return bytes(model.SerializeToString())

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        output = f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def pixel(self, value: str, step: int) -> str:
        """Add the first pixel of images, taken with steps of any size."""
        starts, ends, axes, steps = (
            self._constant(np.array(pair)) for pair in ([0, 0], [1, 1], [2, 3], [step, step])
        )
        return self.add("Slice", value, starts, ends, axes, steps)

    def chain(self, layers: Sequence[Layer], order: Order, x: str) -> str:
        """Add the layers of a problem, whose arrays are in this order, and return its output."""
        value = x
        for layer in layers:
            if layer.zeros is None:
                value = self._convolution(layer, value)
            else:
                value = self._quantized(layer, layer.zeros, value)
            if layer.spec.activation:
                value = self._activate(layer.spec.activation, value)
            if layer.adds_input:
                value = self.add("Add", value, x)
            elif layer.residual is not None:
                residual = parts.reordered(layer.residual, order, "NCHW")
                value = self.add("Add", value, self._constant(residual))
        return value

    def _constant(self, array: Array) -> str:
        name = f"constant{len(self.constants)}"
        tensor = numpy_helper.from_array(np.ascontiguousarray(array), name)
        kept, _ = self.constants.setdefault(id(array), (tensor, array))
        return str(kept.name)

    def _quantized(self, layer: Layer, zeros: Array, value: str) -> str:
        """Add a convolution of whole numbers: of real ones between those that they stand for.

        With a scale of 1 of its input and result, the scales of the weights are the problem's.
        """
        one, *ends = (self._constant(np.array(end)) for end in (_ONE, *zeros.astype(self.dtype)))
        value = self.add("DequantizeLinear", value, one, ends[0])
        return self.add("QuantizeLinear", self._convolution(layer, value), one, ends[1])

    def _convolution(self, layer: Layer, value: str) -> str:
        spec = layer.spec
        (top, bottom), (left, right) = spec.padding
        pads = [top, left, bottom, right]
        if spec.padding_mode != "zeros":
            edges = self._constant(np.array([0, 0, top, left, 0, 0, bottom, right]))
            value = self.add("Pad", value, edges, mode=_PADDING_MODES[spec.padding_mode])
            pads = [0, 0, 0, 0]
        arrays = [array for array in (layer.weight, layer.bias) if array is not None]
        weights = [*map(self._constant, arrays)]
        if layer.scale is not None:
            scale = self._constant(layer.scale)
            weights = [self.add("DequantizeLinear", each, scale, axis=0) for each in weights]
        return self.add(
            "Conv", value, *weights, group=spec.groups,
            kernel_shape=spec.kernel, strides=spec.stride, dilations=spec.dilation, pads=pads,
        )  # fmt: skip

    def _activate(self, name: str, value: str) -> str:
        operator, attributes = _ACTIVATIONS[name]
        bounds = [0.0, 6.0] if name == "relu6" else []
        limits = [self._constant(np.array(bound, np.float32)) for bound in bounds]
        activated = self.add(operator, value, *limits, **attributes)
        return self.add("Mul", value, activated) if name == "silu" else activated
