"""Kernels called with tensors that lie as kernels take them: looked up, and nothing else done.

What lies otherwise, or cannot be computed, is left to the functions of `depthwise`, which copy it
or say what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from depthwise.compiler import compile as compile_kernel
from depthwise.errors import DepthwiseError
from depthwise.functions import blocks, convolutions
from depthwise.functions.call import IMAGES, posed, remembered
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


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor | None:
    """Return the convolution, or None where that is not ready."""
    lies = native().lies
    try:
        key = pointwise, lies(x), lies(weight), bias is None or lies(bias)
    except TypeError:
        return None
    ready = remembered(key, lambda: _pointwise(x, weight, bias))
    if not ready:
        return None
    output: Tensor = ready(x, weight) if bias is None else ready(x, weight, bias)
    return output


def block(
    x: Tensor,
    operands: tuple[Tensor | None, ...],
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    activation: str | None,
) -> Tensor | None:
    """Return the block, or None where that is not ready.

    Args:
        x: the input.
        operands: the weights that expand, filter and project, their biases in that order, and the
            residual; None where one is absent.
        stride: the depthwise convolution's.
        padding: the depthwise convolution's.
        dilation: the depthwise convolution's.
        activation: after the first two.
    """
    lies = native().lies
    try:
        lying = [each if each is None else lies(each) for each in operands]
        key = block, activation, stride, padding, dilation, lies(x), *lying
    except TypeError:
        return None
    window = stride, padding, dilation
    ready = remembered(key, lambda: _block(x, operands, window, activation))
    return ready(x, *[each for each in operands if each is not None]) if ready else None


def _conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, padding: Ints, dilation: Ints
) -> _Ready | bool | None:
    around = attributes(stride, padding, dilation).values()
    values = *around, "zeros", None
    return _as_posed(convolutions.depthwise_spec, values, x, (weight, bias))


def _pointwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> _Ready | bool | None:
    return _as_posed(convolutions.pointwise_spec, (None,), x, (weight, bias, None))


def _block(
    x: Tensor,
    operands: tuple[Tensor | None, ...],
    window: tuple[Ints, Ints, Ints],
    activation: str | None,
) -> _Ready | bool | None:
    expand, weight, project, expand_bias, bias, project_bias, residual = operands
    around = attributes(*window).values()
    if expand is expand_bias is None:
        values = *around, "zeros", activation, None
        narrow = weight, project, bias, project_bias, residual
        return _as_posed(blocks.separable_spec, values, x, narrow)
    gate = (None,) * 4
    wide = *operands[:6], *gate, residual
    return _as_posed(blocks.inverted_spec, (*around, activation, None), x, wide)


def _as_posed(
    spec_of: Callable[..., Problem],
    values: tuple[Any, ...],
    x: Tensor,
    operands: Sequence[Tensor | None],
) -> _Ready | bool | None:
    """Return the kernel of what a function of `depthwise` computes; False where that copies arrays.

    Where it raises, this returns None, which is not remembered: that may change with the storages.

    Args:
        spec_of: what reads the problem off the arrays, as that function gives it to `call`.
        values: its arguments beside them.
        x: the input.
        operands: the other tensors in the problem's order, None where one is absent.
    """
    given = [x, *(operand for operand in operands if operand is not None)]
    try:
        image, spec, views = posed(spec_of, "NCHW", values, given, operands)
    except DepthwiseError:
        return None
    if not image.batched or not all(view.flags.c_contiguous for view in views):
        return False
    batch, *others = spec.output_shape
    if not image.transposed:
        return _Ready(spec, (batch, *others), torch.contiguous_format, given)
    *plane, channels = others
    return _Ready(spec, (batch, channels, *plane), torch.channels_last, given)


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
