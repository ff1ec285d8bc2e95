"""Convolutions with all that follows them as one problem: batch norm, scale, activation, sum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from depthwise.errors import DepthwiseError
from depthwise.problem.spec import resolve_padding
from depthwise.torch.dtypes import DTYPES
from depthwise.torch.network.draft import Draft, convolution, product
from depthwise.torch.network.operators import (
    activation_of,
    arguments,
    batch_of,
    is_stage,
    name_of,
    shape_of,
    stage,
)
from depthwise.torch.network.simplify import covers, insert, replace
from depthwise.torch.network.tracing import Trace


def absorb(trace: Trace) -> None:
    """Make each convolution a stage, and let it take in what follows it.

    What is left to torch has the reason in its node's `meta`.
    """
    for node in list(trace.graph.nodes):
        rule = _RULES.get(name_of(node)) or (_activation if activation_of(node) else None)
        if rule is not None:
            reason = rule(trace, node)
            if reason:
                node.meta["reason"] = reason
    trace.graph.eliminate_dead_code()


def draft_of(node: fx.Node) -> Draft:
    """Return the problem of a stage."""
    draft: Draft = node.meta["draft"]
    return draft


def place(before: fx.Node, draft: Draft, *inputs: fx.Node) -> fx.Node:
    """Insert a stage before a node."""
    made = insert(before, stage, *inputs)
    batch, height, width, channels = draft.spec.output_shape
    flat = len(shape_of(inputs[0])) == 2
    shape = (batch, channels) if flat else (batch, channels, height, width)
    made.meta |= {"draft": draft, "shape": shape, "dtype": draft.dtype, "val": before.meta["val"]}
    return made


def sole(node: Any) -> bool:
    """Whether a node is a stage whose result is used once, so that its user may take it in."""
    return is_stage(node) and len(node.users) == 1


def _open_ended(node: Any) -> bool:
    """Whether a node is a convolution alone, with at most a bias."""
    if not sole(node):
        return False
    conv = draft_of(node).conv
    return conv is not None and conv.activation is None and not conv.residual


def _convolution(trace: Trace, node: fx.Node) -> str | None:
    given = arguments(node)
    x, weight, bias = given["input"], given["weight"], given["bias"]
    shape = shape_of(x)
    if len(shape) != 4:
        return "only convolutions of images are computed here"
    if reason := _not_ours(trace, weight, bias):
        return reason
    array = trace.constants[weight]
    if given.get("transposed"):
        return "it is transposed"
    groups = given["groups"]
    if groups not in (1, shape[1]):
        return f"it has {groups} groups, neither 1 nor its {shape[1]} channels"
    taps, stride, dilation = (
        tuple(array.shape[2:]), _pair(given["stride"]), _pair(given["dilation"])
    )  # fmt: skip
    pads = _torch_padding(given["padding"], taps, dilation)
    x, pads, padded = _with_padding_before(x, pads)
    bias_array = None if bias is None else trace.constants[bias]
    try:
        draft = convolution(shape_of(x), array, bias_array, stride, pads, dilation, groups)
    except DepthwiseError as error:
        return str(error)
    made = place(node, draft, x)
    if padded is not None:
        covers(made).extend(covers(padded))
    replace(node, made)
    return None


def _linear(trace: Trace, node: fx.Node) -> str | None:
    given = arguments(node)
    x, weight, bias = given["input"], given["weight"], given["bias"]
    if len(shape_of(x)) != 2:
        return "only products of matrices and of images are computed here"
    if reason := _not_ours(trace, weight, bias):
        return reason
    bias_array = None if bias is None else trace.constants[bias]
    draft = product(shape_of(x)[0], trace.constants[weight], bias_array)
    replace(node, place(node, draft, x))
    return None


def _not_ours(trace: Trace, weight: fx.Node, bias: fx.Node | None) -> str | None:
    """Say why kernels cannot take these weights; None where they can."""
    if weight not in trace.constants or (bias is not None and bias not in trace.constants):
        return "its weight is computed anew in each call"
    dtype = trace.constants[weight].dtype
    if dtype not in DTYPES:
        return f"its weight is {dtype}; kernels compute {' and '.join(DTYPES.values())}"
    return None


def _torch_padding(padding: Any, taps: Any, dilation: Any) -> Any:
    if isinstance(padding, str):
        return resolve_padding(padding, (1, 1), taps, (1, 1), dilation)
    vertical, horizontal = _pair(padding)
    return (vertical, vertical), (horizontal, horizontal)


def _pair(value: Any) -> tuple[int, int]:
    first, *others = value
    return first, others[0] if others else first


def _with_padding_before(x: fx.Node, pads: Any) -> tuple[fx.Node, Any, fx.Node | None]:
    """Return a convolution's input and padding with the zeros in it that `F.pad` put there."""
    if name_of(x) not in ("pad", "constant_pad_nd") or len(x.users) > 1:
        return x, pads, None
    given = arguments(x)
    zeros = given.get("mode", "constant") == "constant" and not given["value"]
    around = given["pad"]
    if not zeros or len(around) > 4 or any(type(pad) is not int or pad < 0 for pad in around):
        return x, pads, None
    left, right, top, bottom = [*around, 0, 0, 0][:4]
    (above, below), (before, behind) = pads
    return (
        given["self"],
        ((above + top, below + bottom), (before + left, behind + right)),
        x,
    )


def _batch_norm(trace: Trace, node: fx.Node) -> str | None:
    given = arguments(node)
    if given.get("training"):
        return "it normalises by the statistics of the batch (track_running_stats=False)"
    mean, variance = (trace.constants.get(given[f"running_{name}"]) for name in ("mean", "var"))
    if mean is None or variance is None:
        return "its statistics are computed anew in each call"
    ones = torch.ones_like(mean)
    weight, bias = (trace.constants.get(given[name]) for name in ("weight", "bias"))
    scale = (ones if weight is None else weight).double() / torch.sqrt(
        variance.double() + given["eps"]
    )
    shift = (0 * ones if bias is None else bias).double() - mean.double() * scale
    return _channelwise(node, given["input"], scale, shift)


def _channelwise(node: fx.Node, x: fx.Node, scale: Tensor, shift: Tensor) -> str | None:
    """Let a convolution take in `x * scale + shift` behind it, or make one of it."""
    if _open_ended(x):
        x.meta["draft"] = draft_of(x).followed_by(scale, shift)
        replace(node, x)
        return None
    shape = shape_of(x)
    dtype = x.meta.get("dtype")
    if len(shape) != 4 or dtype not in DTYPES:
        return "there is no convolution before it that it could be folded into"
    weight = scale.to(dtype).reshape(-1, 1, 1, 1)
    window = (1, 1), ((0, 0), (0, 0)), (1, 1)
    draft = convolution(shape, weight, shift.to(dtype), *window, shape[1])
    replace(node, place(node, draft, x))
    return None


def _activation(trace: Trace, node: fx.Node) -> str | None:
    del trace
    x = node.args[0]
    if not isinstance(x, fx.Node) or not _open_ended(x):
        return None
    x.meta["draft"] = draft_of(x).activated(activation_of(node))  # type: ignore[arg-type]
    replace(node, x)
    return None


def _product(trace: Trace, node: fx.Node) -> str | None:
    if not _keeps_type(trace, node):
        return None
    for x, factor in (node.args[:2], node.args[1::-1]):
        scale = _for_each_channel(trace, factor, shape_of(x))
        if scale is not None and _open_ended(x):
            assert isinstance(x, fx.Node)
            x.meta["draft"] = draft_of(x).followed_by(scale, torch.zeros(len(scale)))
            replace(node, x)
            return None
    return None


def _sum(trace: Trace, node: fx.Node) -> str | None:
    if arguments(node)["alpha"] != 1 or not _keeps_type(trace, node):
        return None
    for x, other in (node.args[1::-1], node.args[:2]):
        shift = _for_each_channel(trace, other, shape_of(x))
        if shift is not None and _open_ended(x):
            assert isinstance(x, fx.Node)
            x.meta["draft"] = draft_of(x).followed_by(torch.ones(len(shift)), shift)
            replace(node, x)
            return None
    return _residual(trace, node)


def _keeps_type(trace: Trace, node: fx.Node) -> bool:
    """Whether all that a node takes is of the type of its result."""
    constants = trace.constants
    types = {
        constants[each].dtype if each in constants else each.meta.get("dtype")
        for each in node.all_input_nodes
    }
    return types == {node.meta["dtype"]}


def _residual(trace: Trace, node: fx.Node) -> str | None:
    """Let the later of two pointwise convolutions add the other operand to its result."""
    order = {each: number for number, each in enumerate(node.graph.nodes)}
    candidates = [x for x in node.args[:2] if _takes_residual(x)]
    if not candidates or node.args[0] is node.args[1]:
        return None
    last = max(candidates, key=lambda x: order[x])
    other = node.args[1] if last is node.args[0] else node.args[0]
    if other in trace.constants or shape_of(other) != shape_of(last):
        return None
    if batch_of(other) != batch_of(last):
        return None  # one image for any batch
    assert isinstance(last, fx.Node)
    assert isinstance(other, fx.Node)
    made = place(node, draft_of(last).with_residual(), last.args[0], other)  # type: ignore[arg-type]
    covers(made).extend(covers(last))
    replace(node, made)
    node.graph.erase_node(last)
    return None


def _takes_residual(x: Any) -> bool:
    if not sole(x):
        return False
    conv = draft_of(x).conv
    return conv is not None and conv.kind == "pointwise" and not conv.residual


def _for_each_channel(trace: Trace, value: Any, shape: tuple[int, ...]) -> Tensor | None:
    """Return a constant with one element for each channel of (N, C, H, W), or None."""
    if len(shape) != 4:
        return None
    if isinstance(value, (int, float)):
        return torch.full((shape[1],), float(value), dtype=torch.float64)
    constant = trace.constants.get(value) if isinstance(value, fx.Node) else None
    if constant is None:
        return None
    sizes = (1,) * (4 - constant.dim()) + tuple(constant.shape)
    if sizes not in ((1, shape[1], 1, 1), (1, 1, 1, 1)):
        return None
    return constant.reshape(-1).expand(shape[1])


_RULES: dict[str, Callable[[Trace, fx.Node], str | None]] = {
    "conv2d": _convolution,
    "convolution": _convolution,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "mul": _product,
    "add": _sum,
}
