"""ONNX Runtime: a session with every optimisation, so its blocked NCHWc kernels, and IO binding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from depthwise.bench.peers import parts
from depthwise.bench.peers.base import Array, Clock, Prepared
from depthwise.bench.peers.parts import Layer, Limits
from depthwise.block import Spec

_OPSET, _IR_VERSION = 20, 10
_CHAIN = 9
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
_LIMITS = Limits(padding_modes=("zeros", *_PADDING_MODES))


class Engine:
    """ONNX Runtime on the CPU, input and output bound to arrays allocated beforehand.

    The kernel clock is (a chain of nine of the problem - one) / 8, which leaves out the reorders at
    both ends of the graph, where the problem can follow itself; elsewhere it includes them.
    """

    name = "onnxruntime"
    variants = ("nchwc",)

    def __init__(self, threads: int) -> None:
        self._options = onnxruntime.SessionOptions()
        self._options.intra_op_num_threads = threads
        self._options.inter_op_num_threads = 1
        level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        self._options.graph_optimization_level = level

    def version(self) -> str:
        """Return ONNX Runtime's version."""
        return str(onnxruntime.__version__)

    def threads(self) -> int:
        """Return what the session options say."""
        return int(self._options.intra_op_num_threads)

    def rejects(self, spec: Spec, variant: str, clock: Clock) -> str | None:  # noqa: ARG002
        """Refuse what has no CPU kernel."""
        return _LIMITS.reason(spec)

    def prepare(
        self,
        spec: Spec,
        variant: str,  # noqa: ARG002
        clock: Clock,
        arrays: tuple[Array, ...],
    ) -> Prepared:
        """Make one session, and for the kernel clock of a repeatable problem a second one."""
        outside = parts.outside(spec, clock, "NCHW")
        x = parts.data(spec, arrays[0], outside)
        y = parts.data(spec, arrays[-1], outside)
        once = self._session(_Graph(spec, arrays, outside, 1), x, y)
        if clock == "call" or not parts.repeatable(spec):
            excluded = "weight packing" + "; reorders are included" * (clock == "kernel")
            return Prepared(once, lambda: parts.result(spec, y, outside), "NCHWc", excluded)
        chain = self._session(_Graph(spec, arrays, outside, _CHAIN), x, y.copy())
        return Prepared(
            chain,
            lambda: parts.result(spec, y, outside),
            layout="NCHWc",
            excluded="weight packing, reorders at both ends, the call's own overhead",
            baseline=once,
            calls=_CHAIN - 1,
        )

    def _session(self, graph: _Graph, x: Array, y: Array) -> Callable[[], object]:
        session = onnxruntime.InferenceSession(
            graph.model(x.shape, y.shape).SerializeToString(),
            self._options,
            providers=["CPUExecutionProvider"],
        )
        binding = session.io_binding()
        for bind, name, array in (
            (binding.bind_input, "x", x),
            (binding.bind_output, "y", y),
        ):
            bind(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)

        def run(keep: tuple[Array, Array] = (x, y)) -> None:  # noqa: ARG001
            session.run_with_iobinding(binding)

        return run


class _Graph:
    """A problem, `times` over, as an ONNX graph from "x" to "y"."""

    def __init__(self, spec: Spec, arrays: tuple[Array, ...], outside: str, times: int) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        value = "x"
        if outside == "NHWC":
            value = self._add("Transpose", value, perm=[0, 3, 1, 2])
        layers = parts.layers(spec, arrays)
        weights = [self._constants_of(layer, spec) for layer in layers]
        for _ in range(times):
            x = value
            for layer, constants in zip(layers, weights, strict=True):
                value = self._layer(layer, constants, value, x)
        if outside == "NHWC":
            value = self._add("Transpose", value, perm=[0, 2, 3, 1])
        self.nodes[-1].output[0] = "y"

    def model(self, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> Any:
        """Return the graph as a model."""
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, input_shape)
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, output_shape)
        graph = helper.make_graph(self.nodes, "problem", [x], [y], self.constants)
        opset = [helper.make_opsetid("", _OPSET)]
        return helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION)

    def _add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        output = f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def _constant(self, array: Array) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def _constants_of(self, layer: Layer, spec: Spec) -> tuple[list[str], str | None]:
        weights = [self._constant(layer.weight)]
        if layer.bias is not None:
            weights.append(self._constant(layer.bias))
        if layer.residual is None or layer.adds_input:
            return weights, None
        residual = parts.reordered(layer.residual, parts.order(spec), "NCHW")
        return weights, self._constant(residual)

    def _layer(
        self, layer: Layer, constants: tuple[list[str], str | None], value: str, x: str
    ) -> str:
        spec, (weights, residual) = layer.spec, constants
        if layer.adds_input:
            residual = x
        (top, bottom), (left, right) = spec.padding
        pads = [top, left, bottom, right]
        if spec.padding_mode != "zeros":
            edges = self._constant(np.array([0, 0, top, left, 0, 0, bottom, right]))
            value = self._add("Pad", value, edges, mode=_PADDING_MODES[spec.padding_mode])
            pads = [0, 0, 0, 0]
        value = self._add(
            "Conv", value, *weights, group=spec.groups, kernel_shape=spec.kernel,
            strides=spec.stride, dilations=spec.dilation, pads=pads,
        )  # fmt: skip
        if spec.activation:
            value = self._activate(spec.activation, value)
        return value if residual is None else self._add("Add", value, residual)

    def _activate(self, name: str, value: str) -> str:
        operator, attributes = _ACTIVATIONS[name]
        bounds = [0.0, 6.0] if name == "relu6" else []
        limits = [self._constant(np.array(bound, np.float32)) for bound in bounds]
        activated = self._add(operator, value, *limits, **attributes)
        return self._add("Mul", value, activated) if name == "silu" else activated
