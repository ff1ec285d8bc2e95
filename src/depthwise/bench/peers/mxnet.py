"""MXNet: `Convolution` with one group a channel, the baseline of the d2l documents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mxnet

from depthwise.bench.peers import parts
from depthwise.bench.peers.parts import Layer, Limits
from depthwise.measure.engine import Array, Clock, Prepared
from depthwise.problem.problem import Problem

_PADDING_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge"}
_SINGLE = Limits(padding_modes=tuple(_PADDING_MODES))
_DOUBLE = Limits(dtypes=("float64",), activations=("relu", "relu6", "silu", "gelu", "sigmoid"))
"""Attributes of operators are single precision, so no activation that has a fraction in one."""


class Engine:
    """MXNet, NCHW: eager for the call clock, a bound executor for the kernel clock.

    `MXNET_ENGINE_TYPE=NaiveEngine` (in the catalogue) keeps operators in the calling thread, with
    OpenMP inside them.
    """

    name = "mxnet"
    variants = ("nchw",)

    def __init__(self, threads: int) -> None:
        self._threads = threads  # MXNet takes it from OMP_NUM_THREADS and does not tell

    def version(self) -> str:
        """Return MXNet's version."""
        return str(mxnet.__version__)

    def threads(self) -> int:
        """Return the count asked for."""
        return self._threads

    def rejects(self, spec: Problem, variant: str, clock: Clock) -> str | None:  # noqa: ARG002
        """Refuse circular padding, and some activations in float64."""
        return (_DOUBLE if spec.dtype == "float64" else _SINGLE).reason(spec)

    def prepare(
        self,
        spec: Problem,
        variant: str,  # noqa: ARG002
        clock: Clock,
        arrays: tuple[Array, ...],
    ) -> Prepared:
        """Make the problem ready; NHWC arrays are transposed inside the call clock."""
        outside = parts.outside(spec, clock, "NCHW")
        network = _Network(spec, arrays, outside)
        x = _array(parts.data(spec, arrays[0], outside))
        call = network.eager(x) if clock == "call" else network.executor(x)
        y = x

        def run() -> None:
            nonlocal y
            y = call()
            y.wait_to_read()

        return Prepared(
            run,
            lambda: parts.result(spec, y.asnumpy(), outside),
            layout="NCHW",
            excluded="nothing" if clock == "call" else "weight packing, graph building",
        )


class _Network:
    """A problem in MXNet's operators, eager (`mxnet.nd`) or symbolic (`mxnet.sym`) alike."""

    def __init__(self, spec: Problem, arrays: tuple[Array, ...], outside: str) -> None:
        self.outside = outside
        self.layers = parts.layers(spec, arrays)
        self.operands = {}
        for index, layer in enumerate(self.layers):
            self.operands[f"weight{index}"] = _array(layer.weight)
            if layer.bias is not None:
                self.operands[f"bias{index}"] = _array(layer.bias)
            if layer.residual is not None and not layer.adds_input:
                residual = parts.reordered(layer.residual, parts.order(spec), "NCHW")
                self.operands[f"residual{index}"] = _array(residual)

    def eager(self, x: Any) -> Callable[[], Any]:
        """Return a call of one operator after the other."""
        return lambda: self._forward(mxnet.nd, x, self.operands)

    def executor(self, x: Any) -> Callable[[], Any]:
        """Return a call of the whole as a graph, bound to its arrays."""
        variables = {name: mxnet.sym.var(name) for name in self.operands}
        symbol = self._forward(mxnet.sym, mxnet.sym.var("x"), variables)
        bound = symbol.bind(mxnet.cpu(), {"x": x, **self.operands}, grad_req="null")
        return lambda: bound.forward(is_train=False)[0]

    def _forward(self, ops: Any, x: Any, operands: dict[str, Any]) -> Any:
        if self.outside == "NHWC":
            x = ops.transpose(x, axes=(0, 3, 1, 2))
        y = x
        for index, layer in enumerate(self.layers):
            y = _convolution(
                ops, layer, y, operands[f"weight{index}"], operands.get(f"bias{index}")
            )
            if layer.spec.activation:
                y = _ACTIVATIONS[layer.spec.activation](ops, y)
            if layer.residual is not None:
                y = y + (x if layer.adds_input else operands[f"residual{index}"])
        return ops.transpose(y, axes=(0, 2, 3, 1)) if self.outside == "NHWC" else y


def _array(array: Array) -> Any:
    return mxnet.nd.array(array, dtype=array.dtype)


def _convolution(ops: Any, layer: Layer, x: Any, weight: Any, bias: Any) -> Any:
    spec = layer.spec
    (top, bottom), (left, right) = spec.padding
    pad = (top, left)
    if not parts.symmetric(spec) or spec.padding_mode != "zeros":
        sides = (0, 0, 0, 0, top, bottom, left, right)
        x = ops.pad(x, mode=_PADDING_MODES[spec.padding_mode], pad_width=sides)
        pad = (0, 0)
    return ops.Convolution(
        x, weight, *(() if bias is None else (bias,)), no_bias=bias is None, kernel=spec.kernel,
        stride=spec.stride, dilate=spec.dilation, pad=pad, num_filter=spec.out_channels,
        num_group=spec.groups,
    )  # fmt: skip


_ACTIVATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "relu": lambda ops, y: ops.relu(y),
    "relu6": lambda ops, y: ops.clip(y, 0.0, 6.0),
    "hardswish": lambda ops, y: y * ops.hard_sigmoid(y, alpha=1 / 6, beta=0.5),
    "silu": lambda ops, y: y * ops.sigmoid(y),
    "gelu": lambda ops, y: ops.LeakyReLU(y, act_type="gelu"),
    "leaky_relu": lambda ops, y: ops.LeakyReLU(y, act_type="leaky", slope=0.01),
    "sigmoid": lambda ops, y: ops.sigmoid(y),
    "hardsigmoid": lambda ops, y: ops.hard_sigmoid(y, alpha=1 / 6, beta=0.5),
}
