"""Convolutions with all that follows them as one problem: batch norm, scale, activation, sum."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np

from depthwise.errors import DepthwiseError
from depthwise.network.draft import POINT, Draft, convolution, product
from depthwise.network.graph import Graph, Node, Value
from depthwise.network.operators import (
    Activate,
    BatchNorm,
    Binary,
    Convolution,
    HardSigmoid,
    Join,
    Linear,
    Pad,
    Permute,
    Reshape,
)
from depthwise.problem.arrays import Array
from depthwise.problem.dtypes import DTYPES, QUANTIZED


def absorb(graph: Graph) -> None:
    """Make each convolution a problem, and let it take in what follows it.

    What no kernel computes has the reason in its node.
    """
    for node in list(graph.nodes):
        rule = _RULES.get(type(node.operator))
        if rule is not None:
            node.reason = rule(graph, node) or node.reason
    graph.drop_unused()


def draft_of(value: Value | None) -> Draft | None:
    """Return the problem whose result a value is; None where it is no kernel's."""
    maker = None if value is None else value.maker
    return maker.operator if maker is not None and isinstance(maker.operator, Draft) else None


def is_before_kernel(value: Value) -> bool:
    """Whether a kernel takes a value, perhaps in another shape."""
    return is_taken(value) or any(
        isinstance(user.operator, (Permute, Reshape, Join)) and is_before_kernel(user.output)
        for user in value.users
    )


def is_taken(value: Value) -> bool:
    """Whether a kernel takes a value."""
    return any(isinstance(user.operator, Draft) for user in value.users)


def is_wanted(value: Value) -> bool:
    """Whether a kernel takes an image as it lies; (N, C) lies alike in another shape."""
    return is_before_kernel(value) if _is_plain(value) else is_taken(value)


def is_ours(value: Value) -> bool:
    """Whether a kernel makes an image as it lies; (N, C) lies alike in another shape."""
    maker = value.maker
    while _is_plain(value) and maker is not None and isinstance(maker.operator, (Permute, Reshape)):
        maker = cast(Value, maker.inputs[0]).maker
    return maker is not None and isinstance(maker.operator, Draft)


def _is_plain(value: Value) -> bool:
    """Whether a value has no rows and columns."""
    return len(value.shape or ()) == len((0, 1))


def place(graph: Graph, node: Node, draft: Draft, *inputs: Value) -> Node:
    """Put a problem in the place of a node."""
    made = graph.insert(node, draft, inputs, like=node.output)
    graph.stand_in(node, made)
    return made


def sole(graph: Graph, value: Value | None) -> Draft | None:
    """Return the problem whose result a value is, where its only user may take it in."""
    draft = draft_of(value)
    return draft if draft is not None and graph.used_once(cast(Value, value)) else None


def _open_ended(graph: Graph, value: Value | None) -> Draft | None:
    """Return the problem where it is a convolution alone, with at most a bias."""
    draft = sole(graph, value)
    conv = None if draft is None or draft.spec.dtype in QUANTIZED else draft.conv
    return draft if conv is not None and conv.activation is None and not conv.residual else None


def _redraft(graph: Graph, node: Node, draft: Draft) -> None:
    """Let the kernel before a node, its first input, compute the node as well."""
    before = node.inputs[0]
    assert before is not None
    assert before.maker is not None
    before.maker.operator = draft
    graph.stand_in(node, before.maker)


def _convolution(graph: Graph, node: Node) -> str | None:
    how = cast(Convolution, node.operator)
    x = cast(Value, node.inputs[0])
    if x.shape is None or len(x.shape) != 4:
        return "only convolutions of images are computed here"
    if reason := not_ours(node):
        return reason
    padded = _zeros_before(x)
    if padded is not None:
        pads = tuple(
            (mine[0] + its[0], mine[1] + its[1])
            for mine, its in zip(how.padding, cast(Pad, padded.operator).padding, strict=True)
        )
        how = Convolution(
            stride=how.stride, padding=pads, dilation=how.dilation, groups=how.groups  # type: ignore[arg-type]
        )  # fmt: skip
        x = cast(Value, padded.inputs[0])
    weight = cast(Array, node.constant(1))
    try:
        draft = convolution(cast("tuple[int, ...]", x.shape), weight, node.constant(2), how)
    except DepthwiseError as error:
        return str(error)
    made = place(graph, node, draft, x)
    if padded is not None:
        release(graph, padded, made)
    return None


def _zeros_before(x: Value) -> Node | None:
    """Return what puts zeros round an image."""
    pad = x.maker
    ours = pad is not None and isinstance(pad.operator, Pad) and not pad.operator.value
    return pad if ours else None


def release(graph: Graph, node: Node, by: Node) -> None:
    """Take out a node that another one has taken in, unless somebody else takes what it makes."""
    if not node.output.users and not graph.is_output(node.output):
        by.covers[:0] = node.covers
        by.before_us += node.before_us
        graph.remove(node)


def _linear(graph: Graph, node: Node) -> str | None:
    x = cast(Value, node.inputs[0])
    if x.shape is None or len(x.shape) != 2:
        return "only products of matrices and of images are computed here"
    if reason := not_ours(node):
        return reason
    weight = cast(Array, node.constant(1))
    place(graph, node, product(x.shape[0], weight, node.constant(2)), x)
    return None


def not_ours(node: Node) -> str | None:
    """Say why kernels cannot take the weights of a node; None where they can."""
    weight = node.constant(1)
    bias_computed = len(node.inputs) > 2 and node.inputs[2] is not None and node.constant(2) is None
    if weight is None or bias_computed:
        return "its weight is computed anew in each call"
    if weight.dtype.name not in DTYPES:
        return f"its weight is {weight.dtype}; kernels compute {' and '.join(DTYPES)}"
    return None


def _batch_norm(graph: Graph, node: Node) -> str | None:
    found = scale_and_shift(node)
    if found is None:
        return "its statistics are computed anew in each call"
    return _channelwise(graph, node, *found)


def scale_and_shift(node: Node) -> tuple[Array, Array] | None:
    """Return a batch norm as `x * scale + shift`, in float64; None where they are computed."""
    given = [node.constant(position) for position in range(1, 5)]
    if any(array is None for array in given):
        return None
    weight, bias, mean, variance = (cast(Array, array).astype(np.float64) for array in given)
    scale = weight / np.sqrt(variance + cast(BatchNorm, node.operator).epsilon)
    return scale, bias - mean * scale


def _channelwise(graph: Graph, node: Node, scale: Array, shift: Array) -> str | None:
    """Let a convolution take in `x * scale + shift` behind it, or make one of it."""
    x = cast(Value, node.inputs[0])
    if draft := _open_ended(graph, x):
        _redraft(graph, node, draft.followed_by(scale, shift))
        return None
    if x.shape is None or len(x.shape) != 4 or x.dtype not in DTYPES:
        return "there is no convolution before it that it could be folded into"
    weight = scale.astype(x.dtype).reshape(-1, 1, 1, 1)
    each = Convolution(stride=(1, 1), padding=POINT.padding, dilation=(1, 1), groups=x.shape[1])
    place(graph, node, convolution(x.shape, weight, shift.astype(x.dtype), each), x)
    return None


def _activation(graph: Graph, node: Node) -> str | None:
    if draft := _open_ended(graph, node.inputs[0]):
        _redraft(graph, node, draft.activated(cast(Activate, node.operator).activation))
    return None


def _hard_sigmoid(graph: Graph, node: Node) -> str | None:
    """Let a convolution scale what it makes so that it is the activation with a slope of 1/6."""
    hard = cast(HardSigmoid, node.operator)
    if draft := _open_ended(graph, node.inputs[0]):
        conv = draft.conv
        assert conv is not None
        scale = np.full(conv.out_channels, 6 * hard.slope)
        shift = np.full(conv.out_channels, 6 * hard.offset - 3)
        _redraft(graph, node, draft.followed_by(scale, shift).activated("hardsigmoid"))
    return None


def _binary(graph: Graph, node: Node) -> str | None:
    function = cast(Binary, node.operator).function
    if function not in ("add", "mul", "sub") or not keeps_type(node):
        return None
    for x, other in (node.inputs, node.inputs[::-1]):
        factors = for_each_channel(other, cast(Value, x).shape)
        draft = None if factors is None else _open_ended(graph, x)
        if factors is not None and draft is not None:
            ones = np.ones(len(factors))
            if function == "mul":
                scale, shift = factors, 0 * ones
            else:  # a constant less something, where it is a difference
                scale, shift = ones if function == "add" else -ones, factors
            node.inputs = [x, other]
            _redraft(graph, node, draft.followed_by(scale, shift))
            return None
    return _residual(graph, node) if function == "add" else None


def keeps_type(node: Node) -> bool:
    """Whether all that a node takes is of the type of its result."""
    return {each.dtype for each in node.inputs if each is not None} == {node.output.dtype}


def _residual(graph: Graph, node: Node) -> str | None:
    """Let the later of two pointwise convolutions add the other operand to its result."""
    order = {id(each): number for number, each in enumerate(graph.nodes)}
    candidates = [x for x in node.inputs if x is not None and _takes_residual(graph, x)]
    if not candidates or node.inputs[0] is node.inputs[1]:
        return None
    last = max(candidates, key=lambda x: order[id(x.maker)])
    (other,) = (x for x in node.inputs if x is not last and x is not None)
    if other.constant is not None or other.sizes is None or other.sizes != last.sizes:
        return None  # one image for any batch
    pointwise = cast(Node, last.maker)
    draft = cast(Draft, draft_of(last)).with_residual()
    made = place(graph, node, draft, cast(Value, pointwise.inputs[0]), other)
    made.covers[:0] = pointwise.covers
    made.before_us += pointwise.before_us
    graph.remove(pointwise)
    return None


def _takes_residual(graph: Graph, x: Value) -> bool:
    draft = sole(graph, x)
    conv = None if draft is None or draft.spec.dtype in QUANTIZED else draft.conv
    return conv is not None and conv.kind == "pointwise" and not conv.residual


def for_each_channel(value: Value | None, shape: tuple[int, ...] | None) -> Array | None:
    """Return a constant with one element for each channel of (N, C, H, W) or (N, C), or None."""
    if value is None or value.constant is None or shape is None or len(shape) not in (2, 4):
        return None
    constant, one = value.constant, (1,) * len(shape)
    sizes = one[constant.ndim :] + constant.shape
    if sizes not in ((1, shape[1], *one[2:]), one):
        return None
    return np.broadcast_to(constant.reshape(-1), (shape[1],))


_RULES: dict[type, Callable[[Graph, Node], str | None]] = {
    Convolution: _convolution,
    Linear: _linear,
    BatchNorm: _batch_norm,
    Activate: _activation,
    HardSigmoid: _hard_sigmoid,
    Binary: _binary,
}
