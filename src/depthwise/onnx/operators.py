"""Operators of ONNX read as those of `network.operators`, where they are one of them.

Each reader returns an operator with its inputs, or None: then the node is left to ONNX Runtime.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias, cast

import numpy as np

from depthwise.errors import ModelError
from depthwise.network.graph import Codes, Value
from depthwise.network.operators import (
    PIXELS,
    Activate,
    BatchNorm,
    Binary,
    Clip,
    Convolution,
    GroupNorm,
    HardSigmoid,
    Identity,
    LayerNorm,
    Linear,
    Operator,
    Pad,
    Permute,
    Reduce,
    Unary,
    reshaped,
)
from depthwise.onnx import channels
from depthwise.onnx.attributes import Given
from depthwise.problem.arrays import Array
from depthwise.problem.dtypes import DTYPES
from depthwise.problem.spec import resolve_padding
from depthwise.problem.vocabulary import Activation, Pads

Read: TypeAlias = "tuple[Operator, list[Value | None]] | None"


_LARGEST = 3.4e38
"""A bound beyond it is none: older files have the largest number of float32 for infinity."""


def read(given: Given) -> Read:
    """Return the operator that a node is, with its inputs; None where it is none of ours."""
    if given.proto.domain not in ("", "ai.onnx") or not given.inputs or given.inputs[0] is None:
        return None
    if len([output for output in given.proto.output if output]) != 1:
        return None
    name = given.proto.op_type
    reader = _VIEWS.get(name) or (_READERS.get(name) if given.outputs[0].dtype in DTYPES else None)
    return reader(given) if reader is not None else None


def _constant(array: Array, like: Value | None) -> Value:
    name = "constant" if like is None else like.name
    return Value(name, array.shape, array.shape, array.dtype.name, array)


def _convolution(given: Given) -> Read:
    weight = given.constant(1)
    if weight is None or weight.ndim != 4 or given.x.shape is None or len(given.x.shape) != 4:
        return None
    stride = pair(given.attributes.get("strides", (1, 1)))
    dilation = pair(given.attributes.get("dilations", (1, 1)))
    padding = padding_of(given, cast("tuple[int, int]", weight.shape[2:]), stride, dilation)
    if padding is None or min(min(padding)) < 0:
        return None
    groups = int(given.attributes.get("group", 1))
    _check_convolution(given, weight, groups, padding, dilation)
    how = Convolution(stride=stride, padding=padding, dilation=dilation, groups=groups)
    return how, given.inputs


def _check_convolution(
    given: Given, weight: Array, groups: int, padding: Pads, dilation: tuple[int, int]
) -> None:
    """Refuse weights that do not fit the images, which ONNX's inference lets pass.

    Raises:
        ModelError: in the words of the rule.
    """
    outputs, taken, *taps = weight.shape
    shape, bias = given.x.shape or (), given.constant(2)
    stated = given.attributes.get("kernel_shape", taps)
    fits = groups > 0 and taken * groups == shape[1] and outputs % groups == 0
    fits = fits and list(stated) == taps and (bias is None or bias.shape == (outputs,))
    for size, pads, count, step in zip(shape[2:], padding, taps, dilation, strict=True):
        fits = fits and size + sum(pads) >= step * (count - 1) + 1 > 0
    if not fits:
        raise ModelError(
            f"a convolution of images (N, C, H, W) has weights (O, C/groups, taps, taps), a bias "
            f"(O,) and no more taps than rows; got {given.proto.name or given.outputs[0].name!r}: "
            f"images {shape}, weights {weight.shape}, {groups} groups, taps {tuple(stated)}, bias "
            f"{None if bias is None else bias.shape}"
        )


def pair(values: object) -> tuple[int, int]:
    """Return two whole numbers."""
    first, second = cast("tuple[int, int]", values)
    return int(first), int(second)


def padding_of(
    given: Given, taps: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> Pads | None:
    """Return the padding of a convolution; None where it depends on a size that is open."""
    how = given.word("auto_pad", "NOTSET")
    if how in ("NOTSET", "VALID"):
        top, left, bottom, right = given.attributes.get("pads", (0, 0, 0, 0))
        return ((top, bottom), (left, right)) if how == "NOTSET" else ((0, 0), (0, 0))
    sizes = (given.x.sizes or ())[2:]
    if any(isinstance(size, str) and step > 1 for size, step in zip(sizes, stride, strict=True)):
        return None
    shape = cast("tuple[int, int]", (given.x.shape or ())[2:])
    pads = resolve_padding("same", shape, taps, stride, dilation)
    if how == "SAME_LOWER":
        return tuple((more, less) for less, more in pads)  # type: ignore[return-value]
    return pads


def _gemm(given: Given) -> Read:
    weight, bias = given.constant(1), given.constant(2)
    computed = bias is None and not given.is_left_out(2)
    if weight is None or computed or given.attributes.get("transA"):
        return None
    matrix = weight if given.attributes.get("transB") else weight.T
    alpha, beta = (given.attributes.get(name, 1.0) for name in ("alpha", "beta"))
    matrix = matrix if alpha == 1 else (matrix * alpha).astype(weight.dtype)
    made = _constant(matrix, given.inputs[1])
    if alpha == 1:
        made.codes = _codes(given, transposed=not given.attributes.get("transB"))
    inputs: list[Value | None] = [given.x, made]
    if bias is not None:
        if bias.size not in (1, len(matrix)) or bias.shape not in (
            (),
            (bias.size,),
            (1, bias.size),
        ):
            return None
        row = np.broadcast_to(bias.reshape(-1), (len(matrix),))
        row = row if beta == 1 else (row * beta).astype(weight.dtype)
        made = _constant(row, given.inputs[2])
        if given.inputs[2] is not None and bias.shape == row.shape and beta == 1:
            made.codes = given.inputs[2].codes
        inputs.append(made)
    return Linear(), inputs


def _codes(given: Given, *, transposed: bool) -> Codes | None:
    """Return the whole numbers of the weight of a product, (outputs, inputs)."""
    weight = given.inputs[1]
    codes = None if weight is None else weight.codes
    return codes.transposed() if codes is not None and transposed else codes


def _matmul(given: Given) -> Read:
    weight = given.constant(1)
    if weight is None or weight.ndim != 2 or len(given.x.shape or ()) < 2:
        return None
    made = _constant(weight.T, given.inputs[1])
    made.codes = _codes(given, transposed=True)
    return Linear(), [given.x, made]


def _batch_norm(given: Given) -> Read:
    if given.attributes.get("training_mode") or given.attributes.get("spatial", 1) != 1:
        return None
    return BatchNorm(epsilon=float(given.attributes.get("epsilon", 1e-5))), given.inputs


def _layer_norm(given: Given) -> Read:
    rank = len(given.x.shape or ())
    weight = given.constant(1)
    axis = given.attributes.get("axis", -1)
    if not rank or axis not in (-1, rank - 1) or weight is None or weight.ndim != 1:
        return None
    zeros = _constant(np.zeros_like(weight), given.inputs[1])
    bias = zeros if given.is_left_out(2) else given.inputs[2]
    norm = LayerNorm(epsilon=float(given.attributes.get("epsilon", 1e-5)))
    return norm, [*given.inputs[:2], bias]


def _activate(name: Activation) -> Callable[[Given], Read]:
    return lambda given: (Activate(activation=name), given.inputs[:1])


def _clip(given: Given) -> Read:
    low = given.number("min", 1, -math.inf)
    high = given.number("max", 2, math.inf)
    names: dict[tuple[float | None, float | None], Activation] = {
        (0.0, 6.0): "relu6", (0.0, math.inf): "relu",
    }  # fmt: skip
    if high is not None and high > _LARGEST:
        high = math.inf
    if (low, high) == (0, 1):
        return _clipped_line(given) or _clipped(low, high, given.x)
    name = names.get((low, high))
    if name is not None:
        return Activate(activation=name), [given.x]
    return _clipped(low, high, given.x)


def _clipped(low: float | None, high: float | None, x: Value) -> Read:
    return None if low is None or high is None else (Clip(low=low, high=high), [x])


def _clipped_line(given: Given) -> Read:
    """Read what is cut to 0 to 1 as a hard sigmoid, where it is slope * x + offset."""
    x, slope, offset = given.x, 1.0, 0.0
    found = _with_number(x, "add")
    if found is not None:
        x, offset = found
    found = _with_number(x, "mul") or _with_number(x, "div")
    if found is not None:
        is_quotient = x.maker is not None and x.maker.name == "div"
        x, slope = found[0], 1 / found[1] if is_quotient else found[1]
    return None if x is given.x else (_hard(slope, offset), [x])


def _with_number(value: Value, function: str) -> tuple[Value, float] | None:
    """Return what a value is the sum, product or quotient of, where that is x and a number."""
    maker = value.maker
    if maker is None or not isinstance(maker.operator, Binary) or maker.name != function:
        return None
    x, number = _and_number(maker.inputs, either=function != "div")
    return None if x is None or number is None or not number else (x, number)


def _and_number(
    inputs: Sequence[Value | None], *, either: bool = True
) -> tuple[Value | None, float | None]:
    """Return an input and the number that is the other one; None for what there is not."""
    for x, other in (inputs, inputs[::-1])[: 1 + either] if len(inputs) == 2 else ():
        constant = None if other is None else other.constant
        rank = 0 if x is None or x.shape is None else len(x.shape)
        if constant is not None and constant.size == 1 and constant.ndim <= rank:
            return x, float(constant.reshape(()))
    return None, None


def _max(given: Given) -> Read:
    x, number = _and_number(given.inputs)
    return (Activate(activation="relu"), [x]) if number == 0 else _pair_of("max", given)


def _min(given: Given) -> Read:
    """Read what is no more than 6 as a ReLU6, where it is a ReLU."""
    x, number = _and_number(given.inputs)
    maker = None if x is None else x.maker
    if maker is None or number != 6 or maker.operator != Activate(activation="relu"):
        return _pair_of("min", given)
    return Activate(activation="relu6"), maker.inputs


def _prelu(given: Given) -> Read:
    slope = given.constant(1)
    ours = slope is not None and np.allclose(slope, 0.01, rtol=1e-6, atol=0)
    return (Activate(activation="leaky_relu"), [given.x]) if ours else _pair_of("prelu", given)


def _pair_of(function: str, given: Given) -> Read:
    """Read a function of two elements that may have more, or fewer, inputs."""
    ours = len(given.inputs) == 2 and None not in given.inputs
    return (Binary(function=function), given.inputs) if ours else None


def _hard_sigmoid(given: Given) -> Read:
    slope, offset = given.attributes.get("alpha", 0.2), given.attributes.get("beta", 0.5)
    return _hard(slope, offset), [given.x]


def _hard(slope: float, offset: float) -> Operator:
    if math.isclose(slope, 1 / 6, rel_tol=1e-6) and offset == 0.5:
        return Activate(activation="hardsigmoid")
    return HardSigmoid(slope=slope, offset=offset)


def _leaky_relu(given: Given) -> Read:
    alpha = given.attributes.get("alpha", 0.01)
    if math.isclose(alpha, 0.01, rel_tol=1e-6):
        return Activate(activation="leaky_relu"), [given.x]
    return Binary(function="prelu"), [given.x, _constant(np.array(alpha, given.x.dtype), None)]


def _gelu(given: Given) -> Read:
    exact = given.word("approximate", "none") == "none"
    operator = Activate(activation="gelu") if exact else Unary(function="gelu_tanh")
    return operator, [given.x]


def _swish(given: Given) -> Read:
    ours = given.attributes.get("alpha", 1.0) == 1
    return (Activate(activation="silu"), [given.x]) if ours else None


def _unary(function: str) -> Callable[[Given], Read]:
    return lambda given: (Unary(function=function), given.inputs)


def _power(given: Given) -> Read:
    """Read a square or a root, where the exponent is no more exact than the base."""
    exponent, x = given.constant(1), given.x
    if exponent is None or exponent.size != 1 or exponent.ndim > len(x.shape or ()):
        return None
    name = {2.0: "square", 0.5: "sqrt"}.get(float(exponent.reshape(())))
    return None if name is None else (Unary(function=name), [x])


def _binary(function: str) -> Callable[[Given], Read]:
    return lambda given: (Binary(function=function), given.inputs)


def _group_norm(given: Given) -> Read:
    """Read a norm of groups of channels, which before version 21 has one weight for each group."""
    groups, shape = int(given.attributes["num_groups"]), given.x.shape or ()
    weight, bias = given.constant(1), given.constant(2)
    if len(shape) < 2 or weight is None or bias is None or shape[1] % groups:
        return None
    each = [array.repeat(shape[1] // len(array)) for array in (weight, bias)]
    norm = GroupNorm(groups=groups, epsilon=float(given.attributes.get("epsilon", 1e-5)))
    return norm, [given.x, *map(_constant, each, given.inputs[1:])]


def _instance_norm(given: Given) -> Read:
    weight, shape = given.constant(1), given.x.shape or ()
    if weight is None or given.constant(2) is None or len(shape) < 3 or len(weight) != shape[1]:
        return None
    epsilon = float(given.attributes.get("epsilon", 1e-5))
    return GroupNorm(groups=len(weight), epsilon=epsilon), given.inputs


def _reduce(function: str) -> Callable[[Given], Read]:
    """Return what reads one number of all those along some axes."""

    def reader(given: Given) -> Read:
        axes, rank = given.numbers("axes", 1), len(given.x.shape or ())
        if not axes or not rank:
            return None
        along = tuple(sorted({axis % rank for axis in axes}))
        keeps = bool(given.attributes.get("keepdims", 1))
        return Reduce(function=function, axes=along, keeps_axes=keeps), [given.x]

    return reader


def _global(function: str) -> Callable[[Given], Read]:
    """Return what reads the same of all pixels."""

    def reader(given: Given) -> Read:
        rank = len(given.x.shape or ())
        along = tuple(range(2, rank))
        return (Reduce(function=function, axes=along), [given.x]) if along else None

    return reader


def _average_pool(given: Given) -> Read:
    """Read an average over windows that are the whole image."""
    window = tuple(given.attributes.get("kernel_shape", ()))
    padded = any(given.attributes.get("pads", ())) or given.word("auto_pad", "NOTSET") != "NOTSET"
    whole = len(given.x.shape or ()) == 4 and (given.x.sizes or ())[2:] == window
    mean = Reduce(function="mean", axes=PIXELS)
    return (mean, [given.x]) if whole and not padded else None


def _transpose(given: Given) -> Read:
    rank = len(given.x.shape or ())
    order = tuple(given.attributes.get("perm", range(rank)[::-1]))
    return (Permute(order=order), [given.x]) if rank and given.x.constant is None else None


def _shaped(given: Given) -> Read:
    """Read what gives an array another shape."""
    found = reshaped(given.x.sizes, given.outputs[0].sizes)
    return None if found is None or given.x.constant is not None else (found, [given.x])


def _pad(given: Given) -> Read:
    pads, value = given.numbers("pads", 1), given.number("value", 2, 0.0)
    plain = given.word("mode", "constant") == "constant" and given.is_left_out(3)
    if (
        pads is None
        or value is None
        or math.isnan(value)
        or not plain
        or len(pads) != 8
        or min(pads) < 0
    ):
        return None
    around = tuple(zip(pads[2:4], pads[6:], strict=True))
    outside = any((*pads[:2], *pads[4:6]))
    pad = Pad(padding=around, value=value)  # type: ignore[arg-type]
    return None if outside else (pad, [given.x])


def _identity(given: Given) -> Read:
    return Identity(), [given.x]


def _dropout(given: Given) -> Read:
    training = given.constant(2)
    off = given.is_left_out(2) or (training is not None and not training)
    return (Identity(), [given.x]) if off else None


def _cast(given: Given) -> Read:
    same = given.x.dtype is not None and given.x.dtype == given.outputs[0].dtype
    return (Identity(), [given.x]) if same else None


_READERS: dict[str, Callable[[Given], Read]] = {
    "Conv": _convolution,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Relu": _activate("relu"),
    "Clip": _clip,
    "Max": _max,
    "Min": _min,
    "PRelu": _prelu,
    "Sigmoid": _activate("sigmoid"),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _activate("hardswish"),
    "LeakyRelu": _leaky_relu,
    "Gelu": _gelu,
    "Swish": _swish,
    "Erf": _unary("erf"),
    "Abs": _unary("abs"),
    "Exp": _unary("exp"),
    "Sqrt": _unary("sqrt"),
    "Reciprocal": _unary("reciprocal"),
    "Neg": _unary("neg"),
    "Tanh": _unary("tanh"),
    "Softplus": _unary("softplus"),
    "Mish": _unary("mish"),
    "Pow": _power,
    "Add": _binary("add"),
    "Sub": _binary("sub"),
    "Mul": _binary("mul"),
    "Div": _binary("div"),
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "ReduceMean": _reduce("mean"),
    "ReduceSum": _reduce("sum"),
    "ReduceMax": _reduce("max"),
    "ReduceL2": _reduce("l2"),
    "ReduceSumSquare": _reduce("sumsquare"),
    "GlobalAveragePool": _global("mean"),
    "GlobalMaxPool": _global("max"),
    "AveragePool": _average_pool,
    "Pad": _pad,
    "Concat": channels.concat,
    "Slice": channels.cut,
}
_VIEWS: dict[str, Callable[[Given], Read]] = {
    "Transpose": _transpose,
    "Reshape": _shaped,
    "Flatten": _shaped,
    "Squeeze": _shaped,
    "Unsqueeze": _shaped,
    "Identity": _identity,
    "Dropout": _dropout,
    "Cast": _cast,
}
"""What moves nothing, of elements of any type."""
READERS = _READERS | _VIEWS
"""By the name of the operator; another is ONNX Runtime's."""
