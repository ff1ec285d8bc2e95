"""Functions of elements, reductions and changes of type of TFLite as ONNX has them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import helper

from depthwise.errors import ModelError
from depthwise.tflite.translation import Form, Site, Translate, is_quantized

_SMALLEST_NORM = 1e-6
"""What an L2 norm is at least where something is divided by it."""
_TO_IMAGE = (0, 2, 3, 1)
"""Where each axis of (N, H, W, C) is in (N, C, H, W)."""


def _unary(*operators: str) -> Translate:
    """Return what writes functions of each element, one of the other."""

    def write(site: Site) -> None:
        form = site.form(0)
        value = site.x(form=form)
        for operator in operators:
            value = site.add(operator, value)
        site.give(value, form)

    return write


def _square(site: Site) -> None:
    form = site.form(0)
    value = site.x(form=form)
    site.give(site.add("Mul", value, value), form)


def _activation(number: int) -> Translate:
    """Return what writes an activation that other operators may have fused, too."""

    def write(site: Site) -> None:
        form = site.form(0)
        site.give(site.activated(site.x(form=form), number), form)

    return write


def _zero_to_one(site: Site) -> None:
    form = site.form(0)
    bounds = site.array(0, np.float32), site.array(1, np.float32)
    site.give(site.add("Clip", site.x(form=form), *bounds), form)


def _leaky_relu(site: Site) -> None:
    form = site.form(0)
    slope = float(site.option("Alpha", 0.0))
    site.give(site.add("LeakyRelu", site.x(form=form), alpha=slope), form)


def _gelu(site: Site) -> None:
    form = site.form(0)
    how = "tanh" if site.option("Approximate", default=False) else "none"
    site.give(site.add("Gelu", site.x(form=form), approximate=how), form)


def _binary(operator: str, *behind: str) -> Translate:
    """Return what writes a function of two elements, with functions of its result behind it."""

    def write(site: Site) -> None:
        form = site.form(0, 1)
        value = site.add(operator, site.operand(0, form), site.operand(1, form))
        for other in behind:
            value = site.add(other, value)
        site.give(value, form)

    return write


def _squared_difference(site: Site) -> None:
    form = site.form(0, 1)
    value = site.add("Sub", site.operand(0, form), site.operand(1, form))
    site.give(site.add("Mul", value, value), form)


def _sum_of_several(site: Site) -> None:
    positions = range(site.count)
    form = site.form(*positions)
    site.give(site.add("Sum", *(site.operand(each, form) for each in positions)), form)


def _select(site: Site) -> None:
    if site.kind == "SELECT" and site.rank(0) != site.rank(1):
        raise ModelError("SELECT takes three arrays of one shape")
    site.give(site.add("Where", site.raw(0), site.x(1), site.x(2)))


def _softmax(site: Site) -> None:
    value, beta = site.x(), site.option("Beta", 1.0)
    if site.kind == "SOFTMAX" and beta != 1:
        value = site.add("Mul", value, site.array(beta, np.float32))
    name = "Softmax" if site.kind == "SOFTMAX" else "LogSoftmax"
    site.give(site.add(name, value, axis=-1))


def _normalized(site: Site) -> None:
    """Write a division by the L2 norm of the last axis."""
    x = site.x()
    norm = site.add("ReduceL2", x, site.array([-1], np.int64))
    site.give(site.add("Div", x, site.add("Max", norm, site.array(_SMALLEST_NORM, np.float32))))


def _local_response(site: Site) -> None:
    size = 2 * site.option("Radius") + 1
    value = site.add(
        "LRN", site.x(form="image"), size=size, bias=float(site.option("Bias")),
        alpha=float(site.option("Alpha")) * size, beta=float(site.option("Beta")),
    )  # fmt: skip
    site.give(value, "image")


def _reduction(operator: str) -> Translate:
    """Return what writes one number of all those along some axes."""

    def write(site: Site) -> None:
        rank = site.rank()
        axes = sorted({axis % rank for axis in site.numbers(1)})
        keeps = bool(site.option("KeepDims", default=False))
        form: Form = site.form(0)
        if form == "image" and not keeps and axes != [1, 2]:
            form = "plain"
        if form == "image":
            axes = sorted(_TO_IMAGE[axis] for axis in axes)
        made = site.add(
            operator, site.x(form=form), site.array(axes, np.int64), keepdims=int(keeps)
        )
        site.give(made, form if keeps else "plain")

    return write


def _place(operator: str) -> Translate:
    """Return what writes where along an axis the largest, or the least, element is."""

    def write(site: Site) -> None:
        (axis,) = site.numbers(1)
        found = site.add(operator, site.raw(), axis=axis, keepdims=0)
        site.put(site.add("Cast", found, to=_type(site)))

    return write


def _cast(site: Site) -> None:
    form = site.form(0)
    site.put(site.add("Cast", site.raw(0, form), to=_type(site)), form)


def _cumulated(site: Site) -> None:
    how = {name.lower(): int(site.option(name, default=False)) for name in ("Exclusive", "Reverse")}
    site.give(site.add("CumSum", site.x(), site.raw(1), **how))


def _quantize(site: Site) -> None:
    """Write numbers as quantized ones, perhaps of others: to say what the output is does that."""
    if not is_quantized(site.output()):
        raise ModelError(f"what is quantized has a scale; got none for {site.output().name!r}")
    form = site.form(0)
    site.give(site.x(form=form), form)


def _dequantize(site: Site) -> None:
    """Write what quantized numbers stand for; those of 16 bits may be float ones."""
    array, form = site.constant(0), site.form(0)
    if site.tensor().dtype == "float16":
        if array is not None:
            site.know(array.astype(site.output().dtype))
            return
        site.put(site.add("Cast", site.raw(0, form), to=_type(site)), form)
        return
    if not is_quantized(site.tensor()):
        raise ModelError(f"what is dequantized has a scale; got none for {site.tensor().name!r}")
    if array is not None:
        order = tuple(range(array.ndim))
        site.put(site.weight(0, order))
        return
    site.give(site.x(form=form), form)


def _densify(site: Site) -> None:
    """Take constants that the file stores sparsely: they were read whole."""
    array = site.constant(0)
    if array is None:
        raise ModelError("what is made dense is a constant")
    site.know(array)


def _type(site: Site) -> int:
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(site.output().dtype)))


TABLE: Mapping[str, Translate] = {
    "ADD": _binary("Add"),
    "SUB": _binary("Sub"),
    "MUL": _binary("Mul"),
    "DIV": _binary("Div"),
    "FLOOR_DIV": _binary("Div", "Floor"),
    "MAXIMUM": _binary("Max"),
    "MINIMUM": _binary("Min"),
    "POW": _binary("Pow"),
    "SQUARED_DIFFERENCE": _squared_difference,
    "ADD_N": _sum_of_several,
    "PRELU": _binary("PRelu"),
    "EQUAL": _binary("Equal"),
    "NOT_EQUAL": _binary("Equal", "Not"),
    "GREATER": _binary("Greater"),
    "GREATER_EQUAL": _binary("GreaterOrEqual"),
    "LESS": _binary("Less"),
    "LESS_EQUAL": _binary("LessOrEqual"),
    "LOGICAL_AND": _binary("And"),
    "LOGICAL_OR": _binary("Or"),
    "LOGICAL_NOT": _unary("Not"),
    "SELECT": _select,
    "SELECT_V2": _select,
    "ABS": _unary("Abs"),
    "CEIL": _unary("Ceil"),
    "COS": _unary("Cos"),
    "ELU": _unary("Elu"),
    "EXP": _unary("Exp"),
    "FLOOR": _unary("Floor"),
    "GELU": _gelu,
    "HARD_SWISH": _unary("HardSwish"),
    "LEAKY_RELU": _leaky_relu,
    "LOG": _unary("Log"),
    "LOGISTIC": _unary("Sigmoid"),
    "NEG": _unary("Neg"),
    "RELU": _activation(1),
    "RELU6": _activation(3),
    "RELU_0_TO_1": _zero_to_one,
    "RELU_N1_TO_1": _activation(2),
    "ROUND": _unary("Round"),
    "RSQRT": _unary("Sqrt", "Reciprocal"),
    "SIGN": _unary("Sign"),
    "SIN": _unary("Sin"),
    "SQRT": _unary("Sqrt"),
    "SQUARE": _square,
    "TANH": _unary("Tanh"),
    "SOFTMAX": _softmax,
    "LOG_SOFTMAX": _softmax,
    "L2_NORMALIZATION": _normalized,
    "LOCAL_RESPONSE_NORMALIZATION": _local_response,
    "MEAN": _reduction("ReduceMean"),
    "SUM": _reduction("ReduceSum"),
    "REDUCE_MAX": _reduction("ReduceMax"),
    "REDUCE_MIN": _reduction("ReduceMin"),
    "REDUCE_PROD": _reduction("ReduceProd"),
    "ARG_MAX": _place("ArgMax"),
    "ARG_MIN": _place("ArgMin"),
    "CUMSUM": _cumulated,
    "CAST": _cast,
    "QUANTIZE": _quantize,
    "DEQUANTIZE": _dequantize,
    "DENSIFY": _densify,
}
