"""PyTorch, eager: the plain layout, channels_last, and oneDNN's prepacked weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import torch
from torch import nn
from torch.nn import functional

from depthwise.bench.peers import parts, torch_causal, torch_networks, torch_training
from depthwise.bench.peers.parts import Layer, Limits, Order
from depthwise.bench.peers.posing import CHAINS
from depthwise.bench.peers.torch_tensors import converted, tensor
from depthwise.measure.engine import Array, Clock, Prepared
from depthwise.problem.arrays import as_tensor, of_tensor
from depthwise.problem.block import BlockSpec
from depthwise.problem.causal import CausalSpec
from depthwise.problem.dtypes import DTYPES
from depthwise.problem.problem import Problem
from depthwise.problem.spec import ConvSpec
from depthwise.problem.training import PassSpec

Tensor: TypeAlias = torch.Tensor
Step: TypeAlias = Callable[[Tensor], Tensor]

_ORDERS: dict[str, Order] = {"nchw": "NCHW", "channels_last": "NHWC", "prepacked": "NHWC"}
_PADDING_MODES = {"reflect": "reflect", "replicate": "replicate", "circular": "circular"}

_ACTIVATIONS: dict[str, Step] = {
    "relu": torch.relu_,
    "relu6": lambda y: functional.relu6(y, inplace=True),
    "hardswish": lambda y: functional.hardswish(y, inplace=True),
    "silu": lambda y: functional.silu(y, inplace=True),
    "gelu": functional.gelu,
    "leaky_relu": lambda y: functional.leaky_relu(y, 0.01, inplace=True),
    "sigmoid": torch.sigmoid_,
    "hardsigmoid": lambda y: functional.hardsigmoid(y, inplace=True),
}
_FUSED: dict[str | None, tuple[str, list[float], str]] = {
    None: ("none", [], ""),
    "relu": ("relu", [], ""),
    "relu6": ("hardtanh", [0.0, 6.0], ""),
    "hardswish": ("hardswish", [], ""),
    "silu": ("swish", [], ""),
    "gelu": ("gelu", [], "none"),
    "leaky_relu": ("leaky_relu", [0.01], ""),
    "sigmoid": ("sigmoid", [], ""),
    "hardsigmoid": ("hardsigmoid", [], ""),
}
"""What `torch.ops.mkldnn._convolution_pointwise` calls each activation."""

_PREPACKED = Limits((*CHAINS, CausalSpec))
_MODES = ("zeros", *_PADDING_MODES)
_EAGER = Limits((*CHAINS, CausalSpec), DTYPES, _MODES)
_TRAINING = Limits((PassSpec,), ("float32", "float64"), _MODES)


class Engine:
    """PyTorch as people call it, its results fresh tensors; gradients in training alone."""

    name = "torch"
    variants = tuple(_ORDERS)
    special: ClassVar = {CausalSpec.kind: (*_ORDERS, "transformers")}

    def __init__(self, threads: int) -> None:
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)

    def version(self) -> str:
        """Return PyTorch's version."""
        return str(torch.__version__)

    def threads(self) -> int:
        """Return what PyTorch says it uses inside an operator."""
        return torch.get_num_threads()

    def rejects(self, spec: Problem, variant: str, clock: Clock) -> str | None:  # noqa: ARG002
        """Refuse what oneDNN does not take prepacked."""
        if variant == "prepacked" and not torch.backends.mkldnn.is_available():
            return "this build of PyTorch has no oneDNN"
        limits = _TRAINING if isinstance(spec, PassSpec) else _EAGER
        if (reason := limits.reason(spec)) or variant != "prepacked":
            return reason
        if type(spec) not in _PREPACKED.types:
            return "prepacked weights are for inference"
        return _PREPACKED.reason(spec)

    def network(self, folder: Path, variant: str) -> Prepared:
        """Make a network ready."""
        return torch_networks.prepare(folder, variant)

    def prepare(
        self, spec: Problem, variant: str, clock: Clock, arrays: tuple[Array, ...]
    ) -> Prepared:
        """Make the problem ready; in the call clock the conversion between layouts is timed."""
        return _WAYS[type(spec)](spec, variant, clock, arrays)


def _forward(
    spec: Problem,
    variant: str,
    clock: Clock,
    arrays: tuple[Array, ...],
    before: Sequence[Step] = (),
) -> Prepared:
    inside = _ORDERS[variant]
    outside = parts.outside(spec, clock, inside)
    x = tensor(parts.data(spec, arrays[0], outside), outside)
    steps = [*before, *_steps(spec, arrays, variant, inside)]
    if outside != inside:
        steps = [partial(converted, order=inside), *steps, partial(converted, order=outside)]
    y = x

    def run() -> None:
        nonlocal y
        y = x
        for step in steps:
            y = step(y)

    return Prepared(
        run,
        lambda: parts.result(spec, of_tensor(y), "NCHW"),
        layout=inside,
        excluded="weight packing" if variant == "prepacked" else "nothing",
        rounds_alike=spec.element.computed is spec.element,
    )


def _causal(spec: CausalSpec, variant: str, clock: Clock, arrays: tuple[Array, ...]) -> Prepared:
    if variant not in _ORDERS:
        return torch_causal.transformers(spec, clock, arrays, _new(spec.activation))
    if not spec.state:
        return _forward(spec, variant, clock, arrays)
    stream = torch_causal.Stream.of(spec, arrays, _ORDERS[variant])
    return stream.shown(_forward(spec, variant, clock, arrays, [stream.continued]))


def _new(activation: str | None) -> Step:
    """Return an activation as a module computes it, into a new tensor."""
    if activation == "silu":
        return functional.silu
    return _ACTIVATIONS[activation] if activation else lambda y: y


def _training(spec: PassSpec, variant: str, clock: Clock, arrays: tuple[Array, ...]) -> Prepared:
    if clock == "kernel":
        return torch_training.operators(spec, arrays, _ORDERS[variant])
    return torch_training.modules(spec, arrays, _ORDERS[variant], nn.Conv2d)


_WAYS: dict[type[Any], Callable[..., Prepared]] = {
    ConvSpec: _forward,
    BlockSpec: _forward,
    PassSpec: _training,
    CausalSpec: _causal,
}
"""How problems of each type are made ready."""


def _steps(spec: Problem, arrays: tuple[Array, ...], variant: str, order: Order) -> list[Step]:
    steps: list[Step] = []
    batch, channels, _, _ = parts.data(spec, arrays[0], "NCHW").shape
    first = parts.convolutions(spec)[0]
    shape: tuple[int, ...] = batch, channels, first.height, first.width
    for layer in parts.layers(spec, arrays):
        if not parts.symmetric(layer.spec) or layer.spec.padding_mode != "zeros":
            steps.append(_padding(layer))
            padding = [0, 0]
        else:
            padding = [before for before, _ in layer.spec.padding]
        if variant == "prepacked":
            steps.append(_prepacked(layer, padding, _padded(layer, shape, padding)))
        else:
            steps.append(_eager(layer, padding, order))
            if layer.spec.activation:
                steps.append(_ACTIVATIONS[layer.spec.activation])
        if layer.adds_input:
            steps = [_adding_input(steps)]
        elif layer.residual is not None:
            steps.append(_adding(tensor(layer.residual, parts.order(spec)), order))
        shape = (shape[0], layer.spec.out_channels, layer.spec.out_height, layer.spec.out_width)
    return steps


def _padding(layer: Layer) -> Step:
    (top, bottom), (left, right) = layer.spec.padding
    mode = _PADDING_MODES.get(layer.spec.padding_mode, "constant")
    return lambda x: functional.pad(x, (left, right, top, bottom), mode)


def _padded(layer: Layer, shape: tuple[int, ...], padding: list[int]) -> list[int]:
    """Return the shape of the convolution's own input."""
    if padding == [before for before, _ in layer.spec.padding]:
        return list(shape)
    return [*shape[:2], layer.spec.padded_height, layer.spec.padded_width]


def _eager(layer: Layer, padding: list[int], order: Order) -> Step:
    weight = converted(as_tensor(layer.weight), order)
    bias = None if layer.bias is None else as_tensor(layer.bias)
    stride, dilation, groups = layer.spec.stride, layer.spec.dilation, layer.spec.groups
    return lambda x: functional.conv2d(x, weight, bias, stride, padding, dilation, groups)


def _prepacked(layer: Layer, padding: list[int], shape: list[int]) -> Step:
    s = layer.spec
    native: Any = torch._C._nn
    geometry: Any = (padding, list(s.stride), list(s.dilation), s.groups)
    weight = native.mkldnn_reorder_conv2d_weight(
        as_tensor(layer.weight).to_mkldnn(), *geometry, shape
    )
    bias = None if layer.bias is None else as_tensor(layer.bias)
    convolve, epilogue = torch.ops.mkldnn._convolution_pointwise, _FUSED[s.activation]
    return lambda x: convolve(x, weight, bias, *geometry, *epilogue)


def _adding_input(steps: Sequence[Step]) -> Step:
    def block(x: Tensor) -> Tensor:
        y = x
        for step in steps:
            y = step(y)
        return y.add_(x)

    return block


def _adding(residual: Tensor, order: Order) -> Step:
    residual = converted(residual, order)
    return lambda y: y.add_(residual)
