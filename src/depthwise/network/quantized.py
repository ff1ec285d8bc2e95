"""Quantized computations as kernels of whole numbers.

Each group of what makes whole numbers real, a computation, and what rounds its result becomes one
problem.  What is left of the first and the last stands between whole numbers and what is computed
otherwise.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np

from depthwise.errors import SpecError
from depthwise.network.absorb import draft_of, place, release
from depthwise.network.draft import POINT, Draft, convolution
from depthwise.network.endings import Ending, Rule, Taken, meant, taken
from depthwise.network.graph import Codes, Graph, Node, Value
from depthwise.network.operators import (
    Activate,
    Binary,
    Concat,
    Convolution,
    Dequantize,
    HardSigmoid,
    Linear,
    Operator,
    Pad,
    Pool,
    Quantize,
    Reduce,
    Reshape,
    Slice,
    Unary,
)
from depthwise.network.quantized_images import (
    added,
    concatenated,
    mean,
    moved,
    multiplied,
    pooled,
)
from depthwise.network.tables import look_up_in_convolutions, looked_up
from depthwise.problem.arrays import Array
from depthwise.problem.dtypes import DEFAULT, QUANTIZED
from depthwise.problem.spec import ConvSpec


def stage_quantized(graph: Graph) -> None:
    """Make kernels of quantized computations."""
    for node in list(graph.nodes):
        operator = meant(node)
        if isinstance(operator, Quantize):
            Ending(graph, node, operator).stage(_RULES)
    for node in list(graph.nodes):
        if isinstance(node.operator, (Convolution, Linear)):
            _real(graph, node)
    graph.drop_unused()
    look_up_in_convolutions(graph)


def _real(graph: Graph, node: Node) -> None:
    """Stage a convolution or a product whose result nobody rounds."""
    how = POINT if isinstance(node.operator, Linear) else cast(Convolution, node.operator)
    x = taken(node.inputs[0])
    try:
        found = None if x is None or node.output.dtype != DEFAULT else _weighted(node, x, how)
    except SpecError as error:
        node.reason = str(error)
        return
    if x is None or found is None:
        return
    draft, factors = found
    spec = replace(cast(ConvSpec, draft.spec), real=True)
    scale = np.broadcast_to(factors, spec.out_channels)
    zeros = np.array([x.how.zero], np.int32)
    operands = {**draft.operands, "scale": np.array(scale, np.float32), "zeros": zeros}
    made = place(graph, node, Draft(spec=spec, operands=operands), x.source)
    release(graph, x.node, made)


def _convolution(ending: Ending, core: Node) -> Node | None:
    return _sums(ending, core, cast(Convolution, core.operator))


def _linear(ending: Ending, core: Node) -> Node | None:
    return _sums(ending, core, POINT)


def _sums(ending: Ending, core: Node, how: Convolution) -> Node | None:
    """Stage a convolution or a product."""
    x, how = _unpadded(ending, core, how)
    if x is None or x.source.dtype != ending.how.dtype:
        return None
    found = _weighted(core, x, how)
    if found is None:
        return None
    draft, factors = found
    spec = cast(ConvSpec, draft.spec)
    scale = np.broadcast_to(factors / np.float32(ending.how.scale), spec.out_channels)
    operands = {
        **draft.operands,
        "scale": np.array(scale, np.float32),
        "zeros": np.array([x.how.zero, ending.how.zero], np.int32),
        "bounds": np.array(ending.bounds, np.int32),
    }
    return place(ending.graph, ending.node, Draft(spec=spec, operands=operands), x.source)


def _weighted(core: Node, x: Taken, how: Convolution) -> tuple[Draft, Array] | None:
    """Return a convolution of whole numbers, and the scale of its sums; None where it is none."""
    weight = core.inputs[1]
    codes = _centred(None if weight is None else weight.codes)
    if codes is None or not x.is_image or x.source.dtype not in QUANTIZED:
        return None
    factors = x.scale * codes.scale
    bias = _bias(core, factors)
    given = len(core.inputs) > 2 and core.inputs[2] is not None
    if (given and bias is None) or not _fits(codes.array, bias):
        return None
    taps = codes.array if codes.array.ndim == 4 else codes.array[:, :, None, None]
    shape = (*cast("tuple[int, ...]", x.source.shape), 1, 1)[:4]
    draft = convolution(shape, taps, bias, how, x.source.dtype)
    spec = cast(ConvSpec, draft.spec)
    return (draft, factors) if spec.is_depthwise or spec.groups == 1 else None


def _unpadded(ending: Ending, core: Node, how: Convolution) -> tuple[Taken | None, Convolution]:
    """Return what a convolution takes, and itself with zeros that are put round that before."""
    x = core.inputs[0]
    before = taken(x)
    pad = None if x is None else x.maker
    if before is not None:  # the padding is rounded by itself
        rounding = before.source.maker
        if rounding is None or not isinstance(meant(rounding), Quantize):
            return before, how
        pad = None if rounding.inputs[0] is None else rounding.inputs[0].maker
    operator = None if pad is None else meant(pad)
    inner = None if pad is None else taken(pad.inputs[0])
    if pad is None or inner is None or not isinstance(operator, Pad) or operator.value:
        return before, how
    if before is not None and before.source.maker is not None:
        rounded = cast(Quantize, meant(before.source.maker))
        same = Quantize(dtype=cast(str, inner.source.dtype), **vars(inner.how))
        if before.how != inner.how or rounded != same:
            return before, how
    (top, left), (first, second) = how.padding, operator.padding
    ending.passed += [*([] if before is None else [before.node]), pad, inner.node]
    padding = (top[0] + first[0], top[1] + first[1]), (left[0] + second[0], left[1] + second[1])
    return inner, replace(how, padding=padding)


def _two(ending: Ending, core: Node) -> Node | None:
    """Stage what combines two images, or an image and a function of it."""
    return looked_up(ending, core) or _sum(ending, core)


def _sum(ending: Ending, core: Node) -> Node | None:
    """Stage a sum of two images as the residual of the later of two pointwise convolutions."""
    first, second = (taken(value) for value in core.inputs[:2])
    if cast(Binary, core.operator).function != "add" or first is None or second is None:
        return multiplied(ending, core)
    if not first.is_image or first.source.sizes != second.source.sizes:
        return None
    if {first.source.dtype, second.source.dtype} != {ending.how.dtype}:
        return None
    order = {id(node): number for number, node in enumerate(ending.graph.nodes)}
    ways = [
        (own, other)
        for own, other in ((first, second), (second, first))
        if _takes_sum(ending.graph, own) and own.source is not other.source
    ]
    if not ways:
        return added(ending, first, second)
    own, other = max(ways, key=lambda way: order[id(way[0].source.maker)])
    return _residual(ending, own, other)


def _takes_sum(graph: Graph, given: Taken) -> bool:
    """Whether a pointwise convolution makes whole numbers that nobody else takes."""
    draft = draft_of(given.source)
    conv = None if draft is None else draft.conv
    alone = graph.used_once(given.source) and graph.used_once(given.node.output)
    if draft is None or conv is None or not alone or conv.real:
        return False
    same = draft.operands["zeros"][1] == given.how.zero
    return same and conv.kind == "pointwise" and not conv.residual


def _residual(ending: Ending, own: Taken, other: Taken) -> Node:
    pointwise = cast(Node, own.source.maker)
    draft = cast(Draft, pointwise.operator)
    scales = np.array([own.scale, other.scale], np.float32)
    before = draft.operands
    operands = {
        **before,
        "zeros": _joined(before["zeros"], [other.how.zero, ending.how.zero]),
        "bounds": _joined(before["bounds"], ending.bounds),
        "factors": scales / np.float32(ending.how.scale),
    }
    made = Draft(spec=replace(cast(ConvSpec, draft.conv), residual=True), operands=operands)
    ending.passed += [own.node, pointwise]
    x = cast(Value, pointwise.inputs[0])
    return place(ending.graph, ending.node, made, x, other.source)


_RULES: dict[type[Operator], Rule] = {
    Convolution: _convolution,
    Linear: _linear,
    Binary: _two,
    Activate: looked_up,
    Unary: looked_up,
    HardSigmoid: looked_up,
    Dequantize: looked_up,
    Reduce: mean,
    Pool: pooled,
    Concat: concatenated,
    Reshape: moved,
    Slice: moved,
}
"""By what makes the result."""


def _joined(first: Array, second: object) -> Array:
    return np.concatenate([first, np.array(second, np.int32)])


def _centred(codes: Codes | None) -> Codes | None:
    """Return weights whose zero point is 0, of int8; None where there are none like it.

    Each output has a scale of its own, or all have one.
    """
    if codes is None or (codes.scale.size > 1 and codes.axis != 0):
        return None
    if not np.all(np.isfinite(codes.scale)) or codes.array.dtype.itemsize > 1:
        return None
    zero = codes.zero.reshape(-1, *(1,) * (codes.array.ndim - 1))
    array = codes.array.astype(np.int32) - zero
    if array.size and (array.min() < -128 or array.max() > 127):
        return None
    return Codes(array.astype(np.int8), codes.scale, np.zeros_like(codes.zero))


_NEAR = 1e-5
"""How far the scale of a bias may be from that of the products, which somebody else multiplied."""


def _bias(core: Node, factors: Array) -> Array | None:
    """Return the bias of a convolution as whole numbers of the scale of its sums."""
    value = core.inputs[2] if len(core.inputs) > 2 else None
    if value is None or value.constant is None or not np.all(factors > 0):
        return None
    codes = value.codes
    if codes is not None and codes.array.dtype == np.int32 and not codes.zero.any():
        same = np.allclose(codes.scale, factors, rtol=_NEAR, atol=0)
        if same:
            return codes.array
    near = np.rint(value.constant.astype(np.float64) / factors.astype(np.float64))
    return near.astype(np.int32) if np.abs(near).max(initial=0) < _MOST else None


def _fits(weight: Array, bias: Array | None) -> bool:
    """Whether no sum of products, with its bias, is beyond int32, whatever is multiplied."""
    products = 255 * np.abs(weight.astype(np.int64)).sum(axis=tuple(range(1, weight.ndim)))
    added = 0 if bias is None else np.abs(bias.astype(np.int64))
    return bool(np.max(products + added, initial=0) < _MOST)


_MOST = 2**31
