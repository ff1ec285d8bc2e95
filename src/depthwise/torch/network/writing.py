"""Nodes of a `network` graph as calls of torch's functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from depthwise.network.graph import Node, Value
from depthwise.network.operators import (
    Activate,
    BatchNorm,
    Binary,
    ChannelNorm,
    Clip,
    Concat,
    Convolution,
    Foreign,
    GroupNorm,
    HardSigmoid,
    Identity,
    LayerNorm,
    Linear,
    Pad,
    Permute,
    Reduce,
    Reshape,
    Slice,
    Unary,
)
from depthwise.torch.network import functions
from depthwise.torch.network.calls import FunctionCall, Ref, filled
from depthwise.torch.network.functions import name_of_function

aten: Any = torch.ops.aten


def written(node: Node, inputs: Sequence[Value]) -> FunctionCall:
    """Return what computes a node, with a reference for each of these inputs."""
    order = {id(value): number for number, value in enumerate(inputs)}
    given = [None if value is None else Ref(order[id(value)]) for value in node.inputs]
    operator = node.operator
    if isinstance(operator, Foreign):
        call: FunctionCall = operator.payload
        args, kwargs = filled((call.args, call.kwargs), given.__getitem__)
        return FunctionCall(call.function, args, kwargs)
    target, args = _WRITERS[type(operator)](operator, given, node)
    name = name_of_function(target)
    assert name is not None
    return FunctionCall(name, tuple(args), {})


def _convolution(how: Convolution, given: list[Any], _: Node) -> Any:
    x, weight, bias = [*given, None][:3]
    rest = how.stride, how.padding, how.dilation, how.groups
    return functions.convolution, (x, weight, bias, *rest)


def _linear(_: Linear, given: list[Any], __: Node) -> Any:
    return aten.linear.default, given


def _batch_norm(norm: BatchNorm, given: list[Any], _: Node) -> Any:
    return aten.batch_norm.default, (*given, False, 0.0, norm.epsilon, False)


def _layer_norm(norm: LayerNorm, given: list[Any], node: Node) -> Any:
    assert node.output.shape is not None
    return aten.layer_norm.default, (given[0], [node.output.shape[-1]], *given[1:], norm.epsilon)


def _channel_norm(norm: ChannelNorm, given: list[Any], _: Node) -> Any:
    return functions.channel_norm, (*given, norm.epsilon)


def _activate(activate: Activate, given: list[Any], _: Node) -> Any:
    return getattr(aten, activate.activation).default, given


def _hard_sigmoid(hard: HardSigmoid, given: list[Any], _: Node) -> Any:
    return functions.hard_sigmoid, (*given, hard.slope, hard.offset)


def _clip(clip: Clip, given: list[Any], _: Node) -> Any:
    return aten.clamp.default, (*given, clip.low, clip.high)


def _unary(unary: Unary, given: list[Any], _: Node) -> Any:
    if unary.function == "gelu_tanh":
        return functions.gelu_tanh, given
    return getattr(aten, unary.function).default, given


def _binary(binary: Binary, given: list[Any], _: Node) -> Any:
    if binary.function == "prelu":
        return functions.prelu, given
    if binary.function in ("min", "max"):
        return getattr(aten, f"{binary.function}imum").default, given
    return getattr(aten, binary.function).Tensor, given


def _group_norm(norm: GroupNorm, given: list[Any], _: Node) -> Any:
    return aten.group_norm.default, (given[0], norm.groups, *given[1:], norm.epsilon)


def _reduce(reduce: Reduce, given: list[Any], _: Node) -> Any:
    axes, keeps = list(reduce.axes), reduce.keeps_axes
    if reduce.function == "l2":
        return aten.linalg_vector_norm.default, (given[0], 2, axes, keeps)
    if reduce.function in ("meansquare", "sumsquare"):
        return functions.of_squares, (given[0], reduce.function, axes, keeps)
    targets = {"mean": aten.mean.dim, "sum": aten.sum.dim_IntList, "max": aten.amax.default}
    return targets[reduce.function], (given[0], axes, keeps)


def _pad(pad: Pad, given: list[Any], _: Node) -> Any:
    (top, bottom), (left, right) = pad.padding
    return aten.constant_pad_nd.default, (given[0], [left, right, top, bottom], pad.value)


def _permute(permute: Permute, given: list[Any], _: Node) -> Any:
    return aten.permute.default, (given[0], list(permute.order))


def _reshape(reshape: Reshape, given: list[Any], _: Node) -> Any:
    return functions.reshape, (given[0], list(reshape.shape))


def _concat(concat: Concat, given: list[Any], _: Node) -> Any:
    return aten.cat.default, (given, concat.axis)


def _slice(cut: Slice, given: list[Any], _: Node) -> Any:
    return aten.slice.Tensor, (given[0], cut.axis, cut.start, cut.stop, cut.step)


def _identity(_: Identity, given: list[Any], __: Node) -> Any:
    return aten.alias.default, given


_WRITERS: dict[type, Callable[[Any, list[Any], Node], Any]] = {
    Convolution: _convolution,
    Linear: _linear,
    BatchNorm: _batch_norm,
    LayerNorm: _layer_norm,
    ChannelNorm: _channel_norm,
    GroupNorm: _group_norm,
    Activate: _activate,
    HardSigmoid: _hard_sigmoid,
    Clip: _clip,
    Unary: _unary,
    Binary: _binary,
    Reduce: _reduce,
    Pad: _pad,
    Permute: _permute,
    Reshape: _reshape,
    Concat: _concat,
    Slice: _slice,
    Identity: _identity,
}
