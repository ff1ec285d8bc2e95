"""The functions of torch that a network calls, under the names that files know them by."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.nn import functional as F  # noqa: N812 (the name that everyone gives it)

from depthwise.network.images import TO_NCHW, TO_NHWC
from depthwise.network.operators import Reshape
from depthwise.problem.vocabulary import Pads


def channel_norm(x: Tensor, weight: Any, bias: Any, eps: float) -> Tensor:
    """Return layer normalisation over the channels of each pixel of (N, C, H, W)."""
    pixels = x.permute(TO_NHWC)
    return F.layer_norm(pixels, pixels.shape[-1:], weight, bias, eps).permute(TO_NCHW)


def convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, pads: Pads, dilation: Any,
    groups: int,
) -> Tensor:  # fmt: skip
    """Return a convolution of (N, C, H, W) with padding on each side."""
    (top, bottom), (left, right) = pads
    if (top, left) == (bottom, right):
        return F.conv2d(x, weight, bias, stride, (top, left), dilation, groups)
    padded = F.pad(x, (left, right, top, bottom))
    return F.conv2d(padded, weight, bias, stride, 0, dilation, groups)


def gelu_tanh(x: Tensor) -> Tensor:
    """Return GELU by its approximation with tanh."""
    return F.gelu(x, approximate="tanh")


def of_squares(x: Tensor, function: str, axes: list[int], keeps_axes: bool) -> Tensor:
    """Return the sum ("sumsquare") or the mean ("meansquare") of squares along some axes."""
    found = x.square()
    if function == "meansquare":
        return found.mean(axes, keepdim=keeps_axes)
    return found.sum(axes, keepdim=keeps_axes)


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """Return x, but times the slope where it is below 0, shapes broadcast as NumPy does."""
    return torch.where(x < 0, x * slope, x)


def hard_sigmoid(x: Tensor, slope: float, offset: float) -> Tensor:
    """Return slope * x + offset between 0 and 1."""
    return (x * slope + offset).clamp(0, 1)


def reshape(x: Tensor, shape: list[int]) -> Tensor:
    """Return the elements in another shape; 0 stands for the size of the same axis of x."""
    return x.reshape(Reshape(shape=tuple(shape)).sizes(x.shape))


_MODULES = {"operator": operator, "math": math, "torch": torch}
_OWN: dict[str, Callable[..., Any]] = {
    "channel_norm": channel_norm,
    "convolution": convolution,
    "gelu_tanh": gelu_tanh,
    "hard_sigmoid": hard_sigmoid,
    "of_squares": of_squares,
    "prelu": prelu,
    "reshape": reshape,
}


_ARITHMETIC = frozenset(
    ("abs", "add", "and_", "eq", "floordiv", "ge", "getitem", "gt", "le", "lt", "mod", "mul", "ne",
     "neg", "not_", "or_", "pos", "pow", "sub", "truediv")
)  # fmt: skip
"""Functions of `operator` that compute."""
_READS_FILES = frozenset(("aten::from_file",))
"""Operators that do more than compute, and do not look it."""


def is_pure(name: str) -> bool:
    """Whether a function computes and does nothing else, so that any file may name it.

    It is an operator of torch that changes nothing it is given, or arithmetic of sizes.
    """
    if name in _OWN:
        return True
    home, _, path = name.partition(".")
    if home == "operator":
        return path in _ARITHMETIC
    if home == "math":
        return callable(getattr(math, path, None))
    if path.startswith("sym_"):
        return home == "torch" and callable(getattr(torch, path, None))
    return name.startswith(_OPERATORS) and _is_pure(function(name))


_OPERATORS = ("torch.ops.aten.", "torch.ops.depthwise.")


def _is_pure(operator: Any) -> bool:
    """Whether an operator is one of torch's dispatcher that changes nothing it is given."""
    if not isinstance(operator, OpOverload) or operator._schema.is_mutable:
        return False
    name, overload = operator._schema.name, operator._schema.overload_name
    if name in _READS_FILES or not torch._C._dispatch_has_kernel(f"{name}.{overload}".strip(".")):
        return False
    short = name.partition("::")[2]
    private = short.startswith("_") and not short.startswith("__")
    return not private or torch.Tag.core in operator.tags


def name_of_function(target: Any) -> str | None:
    """Return the name under which a function is saved; None where it has none."""
    if isinstance(target, OpOverload):
        return f"torch.ops.{target}"
    name = getattr(target, "__name__", "")
    if _OWN.get(name) is target:
        return name
    homes = (home for home, module in _MODULES.items() if getattr(module, name, None) is target)
    home = next(homes, None)
    return home and f"{home}.{name}"


def function(name: str) -> Any:
    """Return the function that `name_of_function` gave a name."""
    if name in _OWN:
        return _OWN[name]
    home, *path = name.split(".")
    return functools.reduce(getattr, path, _MODULES[home])
