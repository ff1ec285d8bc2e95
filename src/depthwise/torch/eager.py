"""Kernels called with tensors that lie as kernels take them: looked up, and nothing else done.

What lies otherwise, or cannot be computed, is left to the functions of `depthwise`, which copy it
or say what is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from depthwise.compiler import compile as compile_kernel
from depthwise.functions.call import remembered
from depthwise.problem.spec import ConvSpec
from depthwise.problem.training import PassSpec
from depthwise.torch.dtypes import DTYPES, torch_type
from depthwise.torch.formats import attributes, memory_format

Ints: TypeAlias = "tuple[int, ...]"


class _Ready:
    """A kernel, and the shape and strides of its result."""

    def __init__(self, spec: ConvSpec | PassSpec, shape: Ints, lies: torch.memory_format) -> None:
        self._kernel = compile_kernel(spec)
        self._dtype = torch_type(spec.element)
        self._shape = shape
        self._strides = torch.empty(shape, memory_format=lies, device="meta").stride()

    def __call__(self, x: Tensor, *operands: Tensor | None) -> Tensor:
        output = torch.empty_strided(self._shape, self._strides, dtype=self._dtype)
        packed = self._kernel.pack([t.data_ptr() for t in operands if t is not None])
        self._kernel.run(x.data_ptr(), packed, output.data_ptr(), 0)
        return output


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, padding: Ints, dilation: Ints
) -> Tensor | None:
    """Return the convolution, or None where that is not ready."""
    key = conv2d, _seen(x), _seen(weight), bias is None or _seen(bias), stride, padding, dilation
    ready = remembered(key, lambda: _conv2d(x, weight, bias, stride, padding, dilation))
    return ready(x, weight, bias) if ready else None


def input_gradient(
    grad: Tensor, weight: Tensor, input_size: Ints, stride: Ints, padding: Ints, dilation: Ints
) -> Tensor | None:
    """Return the gradient, or None where that is not ready."""
    key = input_gradient, _seen(grad), _seen(weight), input_size, stride, padding, dilation
    ready = remembered(
        key, lambda: _input_gradient(grad, weight, input_size, stride, padding, dilation)
    )
    return ready(grad, weight) if ready else None


def weight_gradient(
    grad: Tensor,
    x: Tensor,
    kernel: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    bias: bool,
) -> Tensor | None:
    """Return the gradients of weight and bias behind one another, or None where not ready."""
    key = weight_gradient, _seen(grad), _seen(x), kernel, stride, padding, dilation, bias
    ready = remembered(
        key, lambda: _weight_gradient(grad, x, kernel, stride, padding, dilation, bias)
    )
    return ready(grad, x) if ready else None


def _conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, padding: Ints, dilation: Ints
) -> _Ready | bool:
    lies = memory_format(x)
    if not (_usable(x, lies, weight) and _lies(weight, torch.contiguous_format)):
        return False
    if bias is not None and not (
        _lies(bias, torch.contiguous_format)
        and bias.dtype == x.dtype
        and bias.shape == weight.shape[:1]
    ):
        return False
    window = attributes(stride, padding, dilation)
    spec = _spec(x.shape, weight.shape, window, lies, x.dtype, bias is not None)
    shape = x.shape[0], weight.shape[0], spec.out_height, spec.out_width
    return _Ready(spec, shape, lies)


def _input_gradient(
    grad: Tensor, weight: Tensor, input_size: Ints, stride: Ints, padding: Ints, dilation: Ints
) -> _Ready | bool:
    lies = memory_format(grad)
    if not _lies(weight, torch.contiguous_format) or not _lies(grad, lies):
        return False
    if grad.dtype != weight.dtype or weight.dim() != 4 or not grad.numel():
        return False
    window = attributes(stride, padding, dilation)
    conv = _spec(input_size, weight.shape, window, lies, grad.dtype, False)
    if not _is_output(grad, conv):
        return False
    return _Ready(PassSpec(kind="input_gradient", conv=conv), input_size, lies)


def _weight_gradient(
    grad: Tensor,
    x: Tensor,
    kernel: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    bias: bool,
) -> _Ready | bool:
    lies = memory_format(x)
    if not _lies(x, lies) or not _lies(grad, lies):
        return False
    if grad.dtype != x.dtype or not grad.numel() or grad.shape[1] % x.shape[1]:
        return False
    window = attributes(stride, padding, dilation)
    conv = _spec(x.shape, (grad.shape[1], 1, *kernel), window, lies, x.dtype, bias)
    if not _is_output(grad, conv):
        return False
    spec = PassSpec(kind="weight_gradient", conv=conv)
    return _Ready(spec, spec.output_shape, torch.contiguous_format)


def _seen(tensor: Tensor) -> tuple[Any, ...]:
    """Return all that a kernel depends on of a tensor but its values."""
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.is_cpu, tensor.is_neg()


def _usable(x: Tensor, lies: torch.memory_format, weight: Tensor) -> bool:
    return (
        _lies(x, lies)
        and x.dim() == weight.dim() == 4
        and x.dtype == weight.dtype
        and weight.shape[1] == 1
        and weight.shape[0] % x.shape[1] == 0
    )


def _lies(tensor: Tensor, memory_format: torch.memory_format) -> bool:
    return (
        tensor.is_cpu
        and tensor.dtype in DTYPES
        and tensor.is_contiguous(memory_format=memory_format)
        and not tensor.is_neg()
    )


def _spec(
    image: Sequence[int],
    weight: Sequence[int],
    window: dict[str, Any],
    lies: torch.memory_format,
    dtype: torch.dtype,
    bias: bool,
) -> ConvSpec:
    batch, channels, height, width = image
    outputs, _, rows, columns = weight
    return ConvSpec.depthwise(
        channels, (height, width), (rows, columns), multiplier=outputs // channels, **window,
        batch=batch, layout="NHWC" if lies is torch.channels_last else "NCHW",
        dtype=DTYPES[dtype], bias=bias,
    )  # fmt: skip


def _is_output(grad: Tensor, conv: ConvSpec) -> bool:
    shape = conv.batch, conv.out_channels, conv.out_height, conv.out_width
    return grad.shape == shape
