"""OpenVINO: its CPU plugin in float32, one stream, tensors bound beforehand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops

from depthwise.bench.peers import parts
from depthwise.bench.peers.base import Array, Clock, Prepared
from depthwise.bench.peers.parts import Layer, Limits
from depthwise.block import Spec

_CHAIN = 9
_PADDING_MODES = {"reflect": "reflect", "replicate": "edge"}
_LIMITS = Limits(padding_modes=("zeros", *_PADDING_MODES))

Node = Any


class Engine:
    """OpenVINO as a compiled model.

    The kernel clock is (a chain of nine of the problem - one) / 8, which leaves out the reorders at
    both ends of the graph, where the problem can follow itself; elsewhere it includes them.
    """

    name = "openvino"
    variants = ("nchw",)

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

    def rejects(self, spec: Spec, variant: str, clock: Clock) -> str | None:  # noqa: ARG002
        """Refuse circular padding."""
        return _LIMITS.reason(spec)

    def prepare(
        self,
        spec: Spec,
        variant: str,  # noqa: ARG002
        clock: Clock,
        arrays: tuple[Array, ...],
    ) -> Prepared:
        """Compile one model, and for the kernel clock of a repeatable problem a second one."""
        outside = parts.outside(spec, clock, "NCHW")
        x = parts.data(spec, arrays[0], outside)
        y = parts.data(spec, arrays[-1], outside)

        def output() -> Array:
            return parts.result(spec, y, outside)

        once = self._request(_model(spec, arrays, outside, 1), x, y)
        if clock == "call" or not parts.repeatable(spec):
            excluded = "compiling, weight packing" + "; reorders are included" * (clock == "kernel")
            return Prepared(once, output, "blocked", excluded)
        return Prepared(
            self._request(_model(spec, arrays, outside, _CHAIN), x, y.copy()),
            output,
            layout="blocked",
            excluded="compiling, weight packing, reorders at both ends, the call's own overhead",
            baseline=once,
            calls=_CHAIN - 1,
        )

    def _request(self, model: Any, x: Array, y: Array) -> Callable[[], object]:
        request = self._core.compile_model(model, "CPU", self._options).create_infer_request()
        request.set_input_tensor(openvino.Tensor(x, shared_memory=True))
        request.set_output_tensor(openvino.Tensor(y, shared_memory=True))

        def infer(keep: tuple[Array, Array] = (x, y)) -> None:  # noqa: ARG001
            request.infer()

        return infer


def _model(spec: Spec, arrays: tuple[Array, ...], outside: str, times: int) -> Any:
    """Return the problem, `times` over."""
    shape = parts.data(spec, arrays[0], "NHWC" if outside == "NHWC" else "NCHW").shape
    x = ops.parameter(list(shape), np.float32)
    y = ops.transpose(x, [0, 3, 1, 2]) if outside == "NHWC" else x
    for _ in range(times):
        start = y
        for layer in parts.layers(spec, arrays):
            y = _convolution(layer, y)
            if layer.bias is not None:
                y = ops.add(y, layer.bias.reshape(1, -1, 1, 1))
            if layer.spec.activation:
                y = _ACTIVATIONS[layer.spec.activation](y)
            if layer.adds_input:
                y = ops.add(y, start)
            elif layer.residual is not None:
                y = ops.add(y, parts.reordered(layer.residual, parts.order(spec), "NCHW"))
    if outside == "NHWC":
        y = ops.transpose(y, [0, 2, 3, 1])
    return openvino.Model([y], [x], "problem")


def _convolution(layer: Layer, x: Node) -> Node:
    spec = layer.spec
    before, after = ([side[end] for side in spec.padding] for end in (0, 1))
    if spec.padding_mode != "zeros":
        x = ops.pad(x, [0, 0, *before], [0, 0, *after], _PADDING_MODES[spec.padding_mode])
        before = after = [0, 0]
    window = (list(spec.stride), before, after, list(spec.dilation))
    if spec.groups == 1:
        return ops.convolution(x, layer.weight, *window)
    grouped = layer.weight.reshape(spec.groups, -1, *layer.weight.shape[1:])
    return ops.group_convolution(x, grouped, *window)


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
