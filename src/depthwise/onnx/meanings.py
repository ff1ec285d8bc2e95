"""Operators of ONNX that stay ONNX Runtime's unless a kernel takes them: what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np

from depthwise.network.operators import (
    Dequantize,
    Operator,
    Pool,
    Quantize,
    Resize,
    Select,
    Softmax,
    matrix_product,
    product,
    repeated,
)
from depthwise.network.pools import ceiled
from depthwise.network.resizes import target_of
from depthwise.onnx import sequences
from depthwise.onnx.attributes import Given
from depthwise.onnx.operators import padding_of, pair
from depthwise.problem.dtypes import DTYPES, QUANTIZED
from depthwise.problem.pools import PoolKind
from depthwise.problem.resizes import Coordinates, ResizeKind, Rounding


def meaning(given: Given) -> Operator | None:
    """Return what a node is that stays ONNX Runtime's unless a kernel takes it."""
    if given.proto.domain not in ("", "ai.onnx") or None in given.inputs[:1]:
        return None
    if given.proto.op_type in ("QuantizeLinear", "DequantizeLinear"):
        return _quantization(given)
    reader = _MEANINGS.get(given.proto.op_type)
    if reader is None or len(given.outputs) != 1 or given.outputs[0].dtype not in DTYPES:
        return None
    return reader(given)


def _quantization(given: Given) -> Operator | None:
    """Read what goes between real numbers and whole ones, with one scale for all."""
    scale, zero, x, y = given.constant(1), given.constant(2), given.x, given.outputs[0]
    if scale is None or scale.size != 1 or scale.dtype != np.float32:
        return None
    if (zero is None and not given.is_left_out(2)) or (zero is not None and zero.size != 1):
        return None
    if not np.isfinite(scale).all():
        return None
    point = 0 if zero is None else int(zero.reshape(()))
    factor = float(scale.reshape(()))
    if given.proto.op_type == "DequantizeLinear":
        ours = x.dtype in QUANTIZED and y.dtype == "float32"
        return Dequantize(scale=factor, zero=point) if ours else None
    ours = x.dtype == "float32" and y.dtype in QUANTIZED and factor > 0
    return Quantize(dtype=cast(str, y.dtype), scale=factor, zero=point) if ours else None


def _pool(given: Given) -> Operator | None:
    kind = _POOLS[given.proto.op_type]
    size = (given.x.sizes or ())[2:]
    if len(size) != 2:
        return None
    kernel = pair(given.attributes["kernel_shape"])
    stride = pair(given.attributes.get("strides", (1, 1)))
    dilation = pair(given.attributes.get("dilations", (1, 1)))
    padding = padding_of(given, kernel, stride, dilation)
    if padding is None or min(min(padding)) < 0:
        return None
    padded = bool(given.attributes.get("count_include_pad", 0))
    pool = Pool(
        kind=kind, kernel=kernel, stride=stride, padding=padding, dilation=dilation, padded=padded
    )
    return ceiled(pool, size) if given.attributes.get("ceil_mode", 0) else pool


_POOLS: dict[str, PoolKind] = {"MaxPool": "maxpool", "AveragePool": "avgpool"}


def _product(given: Given) -> Operator | None:
    """Read a product of two arrays that are computed."""
    if len(given.inputs) != 2 or any(x is None or x.constant is not None for x in given.inputs):
        return None
    if given.proto.op_type == "Einsum":
        return product(given.word("equation", ""))
    ranks = [len(x.shape or ()) for x in given.inputs if x is not None]
    return matrix_product(*ranks)


def _softmax(given: Given) -> Operator | None:
    """Read a softmax along one axis, which before opset 13 is what the last one is alone."""
    rank, axis = len(given.x.shape or ()), given.attributes.get("axis", -1)
    if given.opset < 13:
        axis = given.attributes.get("axis", 1)
        if axis not in (-1, rank - 1):
            return None
    return Softmax(axis=axis % rank) if rank else None


def _gather(given: Given) -> Operator | None:
    """Read what takes one place of an axis."""
    index, rank, axis = given.constant(1), len(given.x.shape or ()), given.attributes.get("axis", 0)
    if index is None or index.ndim or not rank or given.x.constant is not None:
        return None
    return Select(axis=axis % rank, index=int(index))


def _resize(given: Given) -> Resize | None:
    """Read what has neither a region, axes of its own, nor a mode that no kernel has."""
    if given.proto.op_type == "Upsample" or given.opset < 11:
        mode, coordinates, rounding = given.word("mode", "nearest"), "asymmetric", "floor"
        scales, by_sizes = given.constant(1), False
        if "scales" in given.attributes:
            scales = np.array(given.attributes["scales"])
    else:
        mode = given.word("mode", "nearest")
        coordinates = given.word("coordinate_transformation_mode", "half_pixel")
        rounding = given.word("nearest_mode", "round_prefer_floor")
        scales, by_sizes = given.constant(2), not given.is_left_out(3)
        others = ("antialias", "axes")
        stretches = given.word("keep_aspect_ratio_policy", "stretch") == "stretch"
        if any(given.attributes.get(name) for name in others) or not stretches:
            return None
    kind, known = _KINDS.get(mode), _COORDINATES.get(coordinates)
    before, after = given.x.sizes or (), given.outputs[0].sizes or ()
    if kind is None or known is None or len(before) != 4 or len(after) != 4:
        return None
    if before[:2] != after[:2] or (coordinates == "pytorch_half_pixel" and 1 in after[2:]):
        return None
    factors = None
    if not by_sizes:
        if scales is None or scales.size != 4:
            return None
        factors = [float(scale) for scale in scales[2:]]
    target = target_of(before[2:], after[2:], factors)
    if target is None:
        return None
    return Resize(
        kind=kind,
        coordinates=known,
        **{target[0]: target[1]},
        rounding=_ROUNDINGS[rounding] if kind == "nearest" else "floor",
    )


_KINDS: dict[str, ResizeKind] = {"nearest": "nearest", "linear": "linear"}
_COORDINATES: dict[str, Coordinates] = {
    "half_pixel": "half_pixel", "half_pixel_symmetric": "half_pixel",
    "pytorch_half_pixel": "half_pixel", "asymmetric": "asymmetric",
    "align_corners": "align_corners",
}  # fmt: skip
"""With half_pixel_symmetric the middle stays where it is, which it does where sizes are exact."""
_ROUNDINGS: dict[str, Rounding] = {
    "floor": "floor", "ceil": "ceil", "round_prefer_floor": "prefer_floor",
    "round_prefer_ceil": "prefer_ceil",
}  # fmt: skip


def _repeat(given: Given) -> Operator | None:
    return repeated(given.x.sizes, given.outputs[0].sizes)


_MEANINGS: dict[str, Callable[[Given], Operator | None]] = {
    **dict.fromkeys(_POOLS, _pool),
    "Resize": _resize,
    "Upsample": _resize,
    "MatMul": _product,
    "Einsum": _product,
    "Softmax": _softmax,
    "Gather": _gather,
    "Expand": _repeat,
    "Tile": _repeat,
    "Conv": sequences.convolution,
    "Pad": sequences.pad,
    "Concat": sequences.concat,
    "Slice": sequences.tail,
}
"""By the name of the operator: what it is where a kernel may compute it."""
