"""TensorFlow: `tf.nn.depthwise_conv2d` and `tf.nn.separable_conv2d` inside a `tf.function`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.util import _pywrap_util_port

from depthwise.bench.peers import parts
from depthwise.bench.peers.parts import Layer, Limits, Order
from depthwise.measure.engine import Array, Clock, Prepared
from depthwise.problem.problem import Problem
from depthwise.problem.spec import ConvSpec

LIMITS = Limits(
    dtypes=("float32", "float64"), dense=False, equal_strides=True, stride_or_dilation=True
)

Tensor = Any

_JOINS_BIASES = _pywrap_util_port.IsMklEnabled()
"""Whether TensorFlow joins biases to convolutions, as it does with oneDNN on CPUs with AVX-512.

The process then aborts in the inference of shapes where the padding is given in numbers.
"""


class Engine:
    """TensorFlow on the CPU, channels last, its graph traced beforehand."""

    name = "tensorflow"
    variants = ("nhwc",)

    def __init__(self, threads: int) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)

    def version(self) -> str:
        """Return TensorFlow's version."""
        return str(tf.__version__)

    def threads(self) -> int:
        """Return what TensorFlow says it uses inside an operator."""
        return int(tf.config.threading.get_intra_op_parallelism_threads())

    def rejects(self, spec: Problem, variant: str, clock: Clock) -> str | None:  # noqa: ARG002
        """Refuse unequal strides, and stride together with dilation."""
        return LIMITS.reason(spec)

    def prepare(
        self,
        spec: Problem,
        variant: str,  # noqa: ARG002
        clock: Clock,
        arrays: tuple[Array, ...],
    ) -> Prepared:
        """Trace the problem; NCHW arrays are transposed inside the call clock."""
        outside = parts.outside(spec, clock, "NHWC")
        x = tf.constant(parts.data(spec, arrays[0], outside))
        function = tf.function(forward(spec, arrays, outside)).get_concrete_function(
            tf.TensorSpec(x.shape, x.dtype)
        )
        y = x

        def run() -> None:
            nonlocal y
            y = function(x)

        return Prepared(run, lambda: parts.result(spec, y.numpy(), outside), "NHWC", "tracing")


def forward(spec: Problem, arrays: tuple[Array, ...], outside: Order) -> Callable[[Tensor], Tensor]:
    """Return the problem as a function of a tensor whose axes are in the order `outside`."""
    layers = parts.layers(spec, arrays)
    if _one_call(layers):
        steps = [_separable(layers[0], layers[1], parts.order(spec))]
    else:
        steps = [_step(layer, parts.order(spec)) for layer in layers]

    def call(x: Tensor) -> Tensor:
        y = first = tf.transpose(x, (0, 2, 3, 1)) if outside == "NCHW" else x
        for step in steps:
            y = step(y)
        y = y + first if layers[-1].adds_input else y
        return tf.transpose(y, (0, 3, 1, 2)) if outside == "NCHW" else y

    return call


def _one_call(layers: list[Layer]) -> bool:
    """Whether `tf.nn.separable_conv2d` computes it: nothing stands between its two parts."""
    first, *rest = layers
    nothing_between = first.bias is None and first.spec.activation is None
    return len(rest) == 1 and first.spec.kind == "depthwise" and nothing_between


def _separable(first: Layer, last: Layer, order: Order) -> Callable[[Tensor], Tensor]:
    depthwise, pointwise = _depthwise_filter(first), _pointwise_filter(last)
    padding, strides, dilations = _padding(first.spec), _strides(first.spec), first.spec.dilation

    def step(x: Tensor) -> Tensor:
        x, pad = _padded(x, padding, explicit=False)
        y = tf.nn.separable_conv2d(x, depthwise, pointwise, strides, pad, dilations=dilations)
        return _epilogue(last, order, y)

    return step


def _step(layer: Layer, order: Order) -> Callable[[Tensor], Tensor]:
    spec = layer.spec
    if spec.kind == "pointwise":
        pointwise = _pointwise_filter(layer)
        return lambda x: _epilogue(layer, order, tf.nn.conv2d(x, pointwise, 1, "VALID"))
    depthwise, padding, strides = _depthwise_filter(layer), _padding(spec), _strides(spec)
    takes_numbers = spec.dilation == (1, 1) and (layer.bias is None or not _JOINS_BIASES)

    def step(x: Tensor) -> Tensor:
        x, pad = _padded(x, padding, explicit=takes_numbers)
        y = tf.nn.depthwise_conv2d(x, depthwise, strides, pad, dilations=spec.dilation)
        return _epilogue(layer, order, y)

    return step


def _depthwise_filter(layer: Layer) -> Tensor:
    """Return (C * M, 1, KH, KW) as TensorFlow's (KH, KW, C, M)."""
    spec = layer.spec
    taps = layer.weight.reshape(spec.channels, spec.multiplier, *spec.kernel)
    return tf.constant(np.ascontiguousarray(taps.transpose(2, 3, 0, 1)))


def _pointwise_filter(layer: Layer) -> Tensor:
    """Return (O, C, 1, 1) as TensorFlow's (1, 1, C, O)."""
    return tf.constant(np.ascontiguousarray(layer.weight.transpose(2, 3, 1, 0)))


def _strides(spec: ConvSpec) -> tuple[int, int, int, int]:
    return (1, *spec.stride, 1)


def _padding(spec: ConvSpec) -> str | tuple[tuple[int, int], ...]:
    """Return "VALID" or "SAME" where the numbers are those, else the numbers of all four axes."""
    if spec.padding == ((0, 0), (0, 0)):
        return "VALID"
    same = ConvSpec.depthwise(
        spec.channels, (spec.height, spec.width), spec.kernel, stride=spec.stride, padding="same",
        dilation=spec.dilation,
    )  # fmt: skip
    return "SAME" if spec.padding == same.padding else ((0, 0), *spec.padding, (0, 0))


def _padded(
    x: Tensor, padding: str | tuple[tuple[int, int], ...], *, explicit: bool
) -> tuple[Tensor, Any]:
    """Pad beforehand where the operator does not take the numbers."""
    if isinstance(padding, str) or explicit:
        return x, padding
    return tf.pad(x, padding), "VALID"


def _epilogue(layer: Layer, order: Order, y: Tensor) -> Tensor:
    if layer.bias is not None:
        y = tf.nn.bias_add(y, layer.bias)
    if layer.spec.activation:
        y = _ACTIVATIONS[layer.spec.activation](y)
    if layer.residual is not None and not layer.adds_input:
        y += parts.reordered(layer.residual, order, "NHWC")
    return y


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    "hardswish": lambda y: y * tf.nn.relu6(y + 3) / 6,
    "silu": tf.nn.silu,
    "gelu": lambda y: tf.nn.gelu(y, approximate=False),
    "leaky_relu": lambda y: tf.nn.leaky_relu(y, 0.01),
    "sigmoid": tf.nn.sigmoid,
    "hardsigmoid": lambda y: tf.nn.relu6(y + 3) / 6,
}
