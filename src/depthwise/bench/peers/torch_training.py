"""Passes of training in PyTorch: as raw operators, and as a person writes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from depthwise.bench.peers import parts
from depthwise.bench.peers.parts import Order
from depthwise.bench.peers.torch_tensors import converted, tensor
from depthwise.measure.engine import Array, Prepared
from depthwise.problem.spec import ConvSpec
from depthwise.problem.training import PassSpec

Step: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class _Given:
    """The tensors of a convolution in training; what the pass does not depend on is zero."""

    x: Tensor
    """(N, C, H, W)"""
    weight: Tensor
    """(O, C / groups, KH, KW)"""
    bias: Tensor | None
    """(O,)"""
    grad: Tensor
    """(N, O, OH, OW)"""


def operators(spec: PassSpec, arrays: tuple[Array, ...], order: Order) -> Prepared:
    """Prepare PyTorch's operators without autograd, arrays and results in this order."""
    conv, given = spec.conv, _given(spec, arrays, order)
    trains = spec.kind == "training"
    of_x, of_weight = spec.kind != "weight_gradient", spec.kind != "input_gradient"
    mask = (of_x, of_weight, of_weight and conv.bias)
    pad, cut, padding = _padding(conv)
    geometry: Any = (conv.stride, padding, conv.dilation, False, (0, 0), conv.groups)
    convolve, differentiate = torch.ops.aten.convolution, torch.ops.aten.convolution_backward
    shape = [conv.out_channels]
    before = pad(given.x)
    y = dx = dw = db = None

    def run() -> None:
        nonlocal y, dx, dw, db
        x = pad(given.x) if trains else before
        if trains:
            y = convolve(x, given.weight, given.bias, *geometry)
        dx, dw, db = differentiate(given.grad, x, given.weight, shape, *geometry, mask)
        if of_x:
            dx = cut(dx)

    def output() -> Array:
        return _output(spec, {"y": y, "x": dx, "weight": dw, "bias": db})

    return Prepared(run, output, layout=order, excluded="nothing" if trains else "padding of x")


def modules(
    spec: PassSpec,
    arrays: tuple[Array, ...],
    inside: Order,
    layer: Callable[..., nn.Module],
) -> Prepared:
    """Prepare a module and its autograd.

    Where the pass is less than a training step, the graph that it starts from is made beforehand.

    Args:
        spec: the pass.
        arrays: the problem's.
        inside: the order in which the module computes; conversions from that of the arrays, and
            back, are part of the graph.
        layer: makes the module, of the arguments of `nn.Conv2d`.
    """
    conv, outside = spec.conv, parts.order(spec)
    given = _given(spec, arrays, outside)
    module = _module(conv, given, layer)
    pad, _, _ = _padding(conv)
    leaves = {"x": given.x, **dict(module.named_parameters())}
    if spec.kind == "input_gradient":
        leaves = {"x": given.x}
    elif spec.kind == "weight_gradient":
        del leaves["x"]
    for name, leaf in [("x", given.x), *module.named_parameters()]:
        leaf.requires_grad_(name in leaves)

    def forward() -> Tensor:
        with torch.enable_grad():
            return converted(module(converted(pad(given.x), inside)), outside)

    if spec.kind == "training":
        return _step(spec, forward, leaves, given.grad, inside)
    y, found = forward(), tuple[Tensor, ...]()

    def run() -> None:
        nonlocal found
        found = torch.autograd.grad(y, tuple(leaves.values()), given.grad, retain_graph=True)

    def output() -> Array:
        return _output(spec, dict(zip(leaves, found, strict=True)))

    return Prepared(run, output, layout=inside, excluded="the forward pass")


def _step(
    spec: PassSpec,
    forward: Callable[[], Tensor],
    leaves: dict[str, Tensor],
    grad: Tensor,
    inside: Order,
) -> Prepared:
    y = grad

    def run() -> None:
        nonlocal y
        for leaf in leaves.values():
            leaf.grad = None
        y = forward()
        torch.autograd.backward(y, grad)

    def output() -> Array:
        return _output(spec, {"y": y, **{name: leaf.grad for name, leaf in leaves.items()}})

    return Prepared(run, output, layout=inside, excluded="nothing")


def _given(spec: PassSpec, arrays: tuple[Array, ...], order: Order) -> _Given:
    conv = spec.conv
    shapes = {"x": conv.input_shape, **conv.operands, "grad": conv.output_shape}
    given = {name: np.zeros(shape, conv.element.numpy) for name, shape in shapes.items()}
    given |= dict(zip(spec.array_names, arrays[:-1], strict=True))
    x, grad = (tensor(parts.data(spec, given[name], order), order) for name in ("x", "grad"))
    weight = torch.from_numpy(given["weight"]).reshape(conv.out_channels, 1, *conv.kernel)
    bias = torch.from_numpy(given["bias"]) if conv.bias else None
    return _Given(x, converted(weight, order), bias, grad)


def _module(conv: ConvSpec, given: _Given, layer: Callable[..., nn.Module]) -> nn.Module:
    _, _, padding = _padding(conv)
    module = layer(
        conv.channels, conv.out_channels, conv.kernel, conv.stride, padding, conv.dilation,
        groups=conv.groups, bias=conv.bias, dtype=given.weight.dtype,
    )  # fmt: skip
    values = {"weight": given.weight, "bias": given.bias}
    module.load_state_dict({name: value for name, value in values.items() if value is not None})
    return module


def _padding(conv: ConvSpec) -> tuple[Step, Step, tuple[int, int]]:
    """Return how x is padded before the convolution, how that is cut off, and what it pads itself.

    It pads itself where both sides of each axis are padded alike.
    """
    (top, bottom), (left, right) = conv.padding
    if parts.symmetric(conv):
        return lambda x: x, lambda x: x, (top, left)
    around = left, right, top, bottom
    inwards = [-each for each in around]
    return lambda x: functional.pad(x, around), lambda x: functional.pad(x, inwards), (0, 0)


def _output(spec: PassSpec, results: dict[str, Tensor | None]) -> Array:
    arrays = {name: each.detach().numpy() for name, each in results.items() if each is not None}
    return parts.pass_result(spec, arrays, "NCHW")
