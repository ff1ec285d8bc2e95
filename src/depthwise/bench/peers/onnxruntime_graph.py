"""ONNX graphs of problems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from depthwise.bench.peers import parts
from depthwise.bench.peers.parts import Layer, Order
from depthwise.measure.engine import Array

OPSET, IR_VERSION = 20, 10
_ONE = np.float32(1)
PADDING_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
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
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)
        return bytes(model.SerializeToString())

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node and return the name of its output."""
        output = f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def pixel(self, value: str, step: int) -> str:
        """Add the first pixel of images, taken with steps of any size."""
        starts, ends, axes, steps = (
            self.constant(np.array(pair)) for pair in ([0, 0], [1, 1], [2, 3], [step, step])
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
                value = self.activate(layer.spec.activation, value)
            if layer.adds_input:
                value = self.add("Add", value, x)
            elif layer.residual is not None:
                residual = parts.reordered(layer.residual, order, "NCHW")
                value = self.add("Add", value, self.constant(residual))
        return value

    def constant(self, array: Array) -> str:
        """Return the name of an array that is part of the graph."""
        name = f"constant{len(self.constants)}"
        tensor = numpy_helper.from_array(np.ascontiguousarray(array), name)
        kept, _ = self.constants.setdefault(id(array), (tensor, array))
        return str(kept.name)

    def _quantized(self, layer: Layer, zeros: Array, value: str) -> str:
        """Add a convolution of whole numbers: of real ones between those that they stand for.

        With a scale of 1 of its input and result, the scales of the weights are the problem's.
        """
        one, *ends = (self.constant(np.array(end)) for end in (_ONE, *zeros.astype(self.dtype)))
        value = self.add("DequantizeLinear", value, one, ends[0])
        return self.add("QuantizeLinear", self._convolution(layer, value), one, ends[1])

    def _convolution(self, layer: Layer, value: str) -> str:
        spec = layer.spec
        (top, bottom), (left, right) = spec.padding
        pads = [top, left, bottom, right]
        if spec.padding_mode != "zeros":
            edges = self.constant(np.array([0, 0, top, left, 0, 0, bottom, right]))
            value = self.add("Pad", value, edges, mode=PADDING_MODES[spec.padding_mode])
            pads = [0, 0, 0, 0]
        arrays = [array for array in (layer.weight, layer.bias) if array is not None]
        weights = [*map(self.constant, arrays)]
        if layer.scale is not None:
            scale = self.constant(layer.scale)
            weights = [self.add("DequantizeLinear", each, scale, axis=0) for each in weights]
        return self.add(
            "Conv", value, *weights, group=spec.groups,
            kernel_shape=spec.kernel, strides=spec.stride, dilations=spec.dilation, pads=pads,
        )  # fmt: skip

    def activate(self, name: str, value: str) -> str:
        """Add an activation and return its output."""
        operator, attributes = _ACTIVATIONS[name]
        bounds = [0.0, 6.0] if name == "relu6" else []
        limits = [self.constant(np.array(bound, np.float32)) for bound in bounds]
        activated = self.add(operator, value, *limits, **attributes)
        return self.add("Mul", value, activated) if name == "silu" else activated
