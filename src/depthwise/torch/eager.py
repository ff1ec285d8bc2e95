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
from depthwise.functions.call import IMAGES, remembered
from depthwise.kernel.addresses import addresses_of
from depthwise.machine.team import native
from depthwise.problem.problem import Problem
from depthwise.problem.spec import ConvSpec
from depthwise.problem.training import PassSpec
from depthwise.torch.dtypes import DTYPES, torch_type
from depthwise.torch.formats import attributes, memory_format

Ints: TypeAlias = "tuple[int, ...]"


class _Ready:
    """A kernel, and the shape and strides of its result."""

    def __init__(
        self, spec: Problem, shape: Ints, lies: torch.memory_format, tensors: Sequence[Tensor]
    ) -> None:
        kernel = compile_kernel(spec)
        self._pack, self._run = kernel.pack, kernel.run
        self._addresses = addresses_of(tensors, spec.array_names)
        self._dtype = torch_type(spec.element)
        self._shape = shape
        self._strides = torch.empty(shape, memory_format=lies, device="meta").stride()

    def __call__(self, *tensors: Tensor) -> Tensor:
        x, *operands = self._addresses(tensors)
        packed = self._pack(operands, tensors[1:])
        output = torch.empty_strided(self._shape, self._strides, dtype=self._dtype)
        self._run(x, packed, output.data_ptr(), 0)
        return output


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, padding: Ints, dilation: Ints
) -> Tensor | None:
    """Return the convolution, or None where that is not ready."""
    lies = native().lies
    try:
        key = conv2d, lies(x), lies(weight), bias is None or lies(bias), stride, padding, dilation
    except TypeError:
        return None
    ready = remembered(key, lambda: _conv2d(x, weight, bias, stride, padding, dilation))
    if not ready:
        return None
    output: Tensor = ready(x, weight) if bias is None else ready(x, weight, bias)
    return output


def input_gradient(
    grad: Tensor, weight: Tensor, input_size: Ints, stride: Ints, padding: Ints, dilation: Ints
) -> Tensor | None:
    """Return the gradient, or None where that is not ready."""
    lies = native().lies
    try:
        key = input_gradient, lies(grad), lies(weight), input_size, stride, padding, dilation
    except TypeError:
        return None
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
    lies = native().lies
    try:
        key = weight_gradient, lies(grad), lies(x), kernel, stride, padding, dilation, bias
    except TypeError:
        return None
    ready = remembered(
        key, lambda: _weight_gradient(grad, x, kernel, stride, padding, dilation, bias)
    )
    return ready(grad, x) if ready else None


def _conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, padding: Ints, dilation: Ints
) -> _Ready | bool:
    tensors = [tensor for tensor in (x, weight, bias) if tensor is not None]
    if not (_usable(x) and _usable(weight)):
        return False
    lies, window = memory_format(x), attributes(stride, padding, dilation)
    spec = _spec(x.shape, weight.shape, window, lies, x.dtype, bias is not None)
    shape = x.shape[0], weight.shape[0], spec.out_height, spec.out_width
    return _fit(spec, lies, tensors) and _Ready(spec, shape, lies, tensors)


def _input_gradient(
    grad: Tensor, weight: Tensor, input_size: Ints, stride: Ints, padding: Ints, dilation: Ints
) -> _Ready | bool:
    if not (_usable(grad) and _usable(weight)) or len(input_size) != 4 or min(input_size) < 1:
        return False
    lies, window = memory_format(grad), attributes(stride, padding, dilation)
    conv = _spec(input_size, weight.shape, window, lies, grad.dtype, False)
    spec = PassSpec(kind="input_gradient", conv=conv)
    return _fit(spec, lies, (grad, weight)) and _Ready(spec, input_size, lies, (grad, weight))


def _weight_gradient(
    grad: Tensor,
    x: Tensor,
    kernel: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    bias: bool,
) -> _Ready | bool:
    if not (_usable(grad) and _usable(x)):
        return False
    lies, window = memory_format(x), attributes(stride, padding, dilation)
    conv = _spec(x.shape, (grad.shape[1], 1, *kernel), window, lies, x.dtype, bias)
    spec = PassSpec(kind="weight_gradient", conv=conv)
    shape, flat = spec.output_shape, torch.contiguous_format
    return _fit(spec, lies, (grad, x)) and _Ready(spec, shape, flat, (grad, x))


def _usable(tensor: Tensor) -> bool:
    """Whether a problem can be read off a tensor: an image, or the weight of one."""
    return tensor.dim() == 4 and tensor.numel() > 0 and tensor.dtype in DTYPES


def _fit(spec: Problem, lies: torch.memory_format, tensors: Sequence[Tensor]) -> bool:
    """Whether these are the arrays of a problem, and lie as its kernel reads them.

    Args:
        spec: the problem.
        lies: the memory format of its images.
        tensors: the arrays in the order of a call.
    """
    shapes = spec.input_shape, *spec.operands.values()
    return all(
        _lies(tensor, spec, lies if name in IMAGES else torch.contiguous_format, shape)
        for tensor, name, shape in zip(tensors, spec.array_names, shapes, strict=True)
    )


def _lies(tensor: Tensor, spec: Problem, lies: torch.memory_format, shape: Ints) -> bool:
    in_memory = tensor.permute(0, 2, 3, 1) if lies is torch.channels_last else tensor
    return (
        tensor.is_cpu
        and tensor.dtype == torch_type(spec.element)
        and tuple(in_memory.shape) == shape
        and in_memory.is_contiguous()
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
