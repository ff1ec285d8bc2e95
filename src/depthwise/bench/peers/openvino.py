"""OpenVINO: its CPU plugin in float32 or 8 bits, one stream, tensors bound beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops

from depthwise.bench.peers import copies, parts
from depthwise.bench.peers.graphs import GraphEngine
from depthwise.bench.peers.parts import Layer, Limits, Order
from depthwise.measure.engine import Array, Clock
from depthwise.problem.dtypes import DEFAULT, QUANTIZED
from depthwise.problem.problem import Problem

_PADDING_MODES = {"reflect": "reflect", "replicate": "edge"}
_LIMITS = Limits(dtypes=(DEFAULT, *QUANTIZED), padding_modes=("zeros", *_PADDING_MODES))

Node = Any


class Engine(GraphEngine):
    """OpenVINO as a compiled model."""

    name = "openvino"
    variants = ("nchw",)
    layout = "blocked"
    excluded = "compiling, weight packing"

    def __init__(self, threads: int) -> None:
        self._core = openvino.Core()
        self._options = {
            "INFERENCE_PRECISION_HINT": "f32",  # bf16 otherwise, where the CPU has it
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
        }
        self._core.set_property("CPU", self._options)

    def version(self) -> str:
        """Return OpenVINO's version."""
        return str(openvino.__version__)

    def threads(self) -> int:
        """Return what the CPU plugin says."""
        return int(self._core.get_property("CPU", "INFERENCE_NUM_THREADS"))

    def rejects(self, spec: Problem, variant: str, clock: Clock) -> str | None:  # noqa: ARG002
        """Refuse circular padding, and to transpose whole numbers."""
        if clock == "call" and spec.dtype in QUANTIZED:
            return "compiling ends the process where whole numbers are transposed (2026.4.1)"
        return _LIMITS.reason(spec)

    def read(
        self, file: Path, inputs: Mapping[str, Array], open_sizes: Mapping[str, int], variant: str
    ) -> Any:
        """Return the model in an ONNX file, its open sizes those of the inputs."""
        del open_sizes, variant
        model = self._core.read_model(file)
        if model.is_dynamic():
            model.reshape({name: list(array.shape) for name, array in inputs.items()})
        return model

    def problem(self, spec: Problem, arrays: tuple[Array, ...], outside: Order) -> Any:
        """Return the problem, between transpositions where its arrays are NHWC."""
        x = _parameter(parts.data(spec, arrays[0], outside))
        y = x if outside == "NCHW" else ops.transpose(x, [0, 3, 1, 2])
        y = _chain(parts.layers(spec, arrays), parts.order(spec), y)
        if outside == "NHWC":
            y = ops.transpose(y, [0, 2, 3, 1])
        return openvino.Model([y], [x], "problem")

    def copies(self, spec: Problem, arrays: tuple[Array, ...], count: int) -> Any:
        """Return so many copies of the problem, 1 or all, under all the poolings."""
        x = _parameter(parts.data(spec, arrays[0], "NCHW"))
        results = copies.outputs(
            spec,
            parts.layers(spec, arrays),
            count,
            x,
            lambda layers, x: _chain(layers, parts.order(spec), x),
        )
        last = parts.convolutions(spec)[-1]
        plane = [last.out_height, last.out_width]
        pooled = [
            ops.max_pool(result, [step, step], [1, 1], [0, 0], [0, 0], plane).output(0)
            for step, result in enumerate(results, 1)
        ]
        return openvino.Model([ops.concat(pooled, 1)], [x], "copies")

    def bound(
        self,
        graph: Any,
        inputs: Mapping[str, Array],
        outputs: Mapping[str, Array],
        clock: Clock,  # noqa: ARG002
    ) -> Callable[[], object]:
        """Return the call of a model, compiled; arrays are taken in its order."""
        request = self._core.compile_model(graph, "CPU", self._options).create_infer_request()
        for bind, arrays in (
            (request.set_input_tensor, inputs),
            (request.set_output_tensor, outputs),
        ):
            for position, array in enumerate(arrays.values()):
                bind(position, openvino.Tensor(array, shared_memory=True))

        def infer(keep: object = (inputs, outputs)) -> None:  # noqa: ARG001
            request.infer()

        return infer


def _parameter(x: Array) -> Node:
    return ops.parameter(list(x.shape), x.dtype)


def _chain(layers: Sequence[Layer], order: Order, x: Node) -> Node:
    """Return the layers of a problem, whose arrays are in this order, one after the other."""
    y = x
    for layer in layers:
        zeros = layer.zeros
        y = _convolution(layer, y) if zeros is None else _quantized(layer, zeros, y)
        if layer.spec.activation:
            y = _ACTIVATIONS[layer.spec.activation](y)
        if layer.adds_input:
            y = ops.add(y, x)
        elif layer.residual is not None:
            y = ops.add(y, parts.reordered(layer.residual, order, "NCHW"))
    return y


def _quantized(layer: Layer, zeros: Array, x: Node) -> Node:
    """Return a convolution of whole numbers, written as those of an ONNX file are read.

    It is one of the real numbers that they stand for.  With a scale of 1 of its input and result,
    the scales of the weights are the problem's.
    """
    dtype = layer.spec.element
    zero = ops.convert(ops.constant(zeros[:1].astype(dtype.numpy)), np.float32)
    real = ops.multiply(ops.subtract(ops.convert(x, np.float32), zero), np.float32(1))
    ends, offset = np.array(dtype.range, np.float32), np.float32(zeros[1])
    y = ops.fake_quantize(_convolution(layer, real), *(ends - offset), *ends, 256)
    return ops.convert(y, np.dtype(dtype.numpy))


def _convolution(layer: Layer, x: Node) -> Node:
    spec, weight, bias = layer.spec, layer.weight, layer.bias
    before, after = ([side[end] for side in spec.padding] for end in (0, 1))
    if spec.padding_mode != "zeros":
        x = ops.pad(x, [0, 0, *before], [0, 0, *after], _PADDING_MODES[spec.padding_mode])
        before = after = [0, 0]
    if spec.groups > 1:
        weight = weight.reshape(spec.groups, -1, *weight.shape[1:])
    if layer.scale is not None:
        scale = layer.scale.reshape(*weight.shape[:-3], 1, 1, 1)
        weight = ops.multiply(ops.convert(ops.constant(weight), np.float32), scale)
        bias = None if bias is None else bias * layer.scale
    convolve = ops.group_convolution if spec.groups > 1 else ops.convolution
    y = convolve(x, weight, list(spec.stride), before, after, list(spec.dilation))
    return y if bias is None else ops.add(y, bias.reshape(1, -1, 1, 1).astype(np.float32))


_ACTIVATIONS: dict[str, Callable[[Node], Node]] = {
    "relu": ops.relu,
    "relu6": lambda y: ops.clamp(y, 0.0, 6.0),
    "hardswish": ops.hswish,
    "silu": ops.swish,
    "gelu": lambda y: ops.gelu(y, "erf"),
    "leaky_relu": lambda y: ops.prelu(y, np.array([0.01], np.float32)),
    "sigmoid": ops.sigmoid,
    "hardsigmoid": ops.hsigmoid,
}
