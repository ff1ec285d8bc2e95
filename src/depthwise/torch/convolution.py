"""Depthwise convolution as three operators, each bilinear, that are one another's derivatives.

    conv2d(x, weight, bias)               y
    conv2d_input_gradient(grad, weight)   the gradient with respect to x, for that of y
    conv2d_weight_gradient(grad, x)       those with respect to weight and bias

Derivatives of any order consist of these three.  `padding` is (top, bottom, left, right), zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, TypeAlias

from torch import Tensor

from depthwise.errors import ArrayError
from depthwise.functions import convolutions
from depthwise.functions.gradients import (
    depthwise_conv2d_input_gradient,
    depthwise_conv2d_weight_gradient,
)
from depthwise.torch import eager, fallback
from depthwise.torch.batching import Dims, at_front, folded, unfolded
from depthwise.torch.fallback import left_to_torch
from depthwise.torch.formats import (
    as_lies,
    attributes,
    empty_as,
    four_axes,
    output_shape,
    same_kind,
)
from depthwise.torch.registry import operator

Ints: TypeAlias = Sequence[int]
_WINDOW = "SymInt[2] stride, SymInt[4] padding, SymInt[2] dilation"


def _conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, padding: Ints, dilation: Ints
) -> Tensor:
    if left_to_torch(x, weight):
        four_axes(x, weight)
        return as_lies(fallback.conv2d(x, weight, bias, stride, padding, dilation), x)
    window = tuple(stride), tuple(padding), tuple(dilation)
    output = eager.conv2d(x, weight, bias, *window)
    if output is None:
        four_axes(x, weight)
        output = convolutions.depthwise_conv2d(x, weight, bias, **attributes(*window))
    return output


def _conv2d_fake(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, padding: Ints, dilation: Ints
) -> Tensor:
    del bias
    same_kind(x, weight)
    return empty_as(x, output_shape(x.shape, weight.shape, stride, padding, dilation))


def _conv2d_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    x, weight, _, *ctx.window = inputs
    ctx.save_for_backward(x, weight)


def _conv2d_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, weight = ctx.saved_tensors
    given = conv2d_gradients(as_lies(grad, x), x, weight, ctx.window, ctx.needs_input_grad[:3])
    return *given, None, None, None


def conv2d_gradients(
    grad: Tensor, x: Tensor, weight: Tensor, window: Sequence[Ints], needs: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients with respect to x, weight and bias, those that are needed."""
    needs_x, needs_weight, needs_bias = needs
    of_x = of_weight = of_bias = None
    if needs_x:
        of_x = conv2d_input_gradient(grad, weight, tuple(x.shape), *window)
    if needs_weight:
        kernel = tuple(weight.shape[2:])
        of_weight, sums = conv2d_weight_gradient(grad, x, kernel, *window, needs_bias)
        of_bias = sums if needs_bias else None
    elif needs_bias:
        of_bias = grad.sum((0, 2, 3))
    return of_x, of_weight, of_bias


def _conv2d_vmap(
    info: Any, dims: Dims, x: Tensor, weight: Tensor, bias: Tensor | None, *window: Ints
) -> tuple[Tensor, int]:
    size = info.batch_size
    if dims[1] is dims[2] is None:
        return unfolded(conv2d(folded(x, dims[0], size, 0), weight, bias, *window), size, 0)
    bias = None if bias is None else at_front(bias, dims[2], size).flatten()
    weight = at_front(weight, dims[1], size).flatten(0, 1)
    return unfolded(conv2d(folded(x, dims[0], size, 1), weight, bias, *window), size, 1)


def _input_gradient(
    grad: Tensor,
    weight: Tensor,
    input_size: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
) -> Tensor:
    if left_to_torch(grad, weight):
        _check_gradient(grad.shape, input_size, weight.shape, stride, padding, dilation)
        given = fallback.input_gradient(grad, weight, input_size, stride, padding, dilation)
        return as_lies(given, grad)
    window = tuple(stride), tuple(padding), tuple(dilation)
    output = eager.input_gradient(grad, weight, tuple(input_size), *window)
    if output is None:
        _check_gradient(grad.shape, input_size, weight.shape, *window)
        _, channels, height, width = input_size
        multiplier = weight.shape[0] // channels
        output = depthwise_conv2d_input_gradient(
            grad, weight, (height, width), multiplier=multiplier, **attributes(*window)
        )
    return output


def _check_gradient(
    grad: Ints, image: Ints, weight: Ints, stride: Ints, padding: Ints, dilation: Ints
) -> None:
    """Refuse a gradient of another shape than the output that the other shapes make.

    Raises:
        ArrayError: it is one.
        SpecError: they make none.
    """
    shape = output_shape(image, weight, stride, padding, dilation)
    if tuple(grad) != shape:
        raise ArrayError(
            f"grad has the shape of the output, {shape} for x {tuple(image)} and weight "
            f"{tuple(weight)}; got {tuple(grad)}"
        )


def _input_gradient_fake(grad: Tensor, weight: Tensor, input_size: Ints, *window: Ints) -> Tensor:
    del weight, window
    return empty_as(grad, input_size)


def _input_gradient_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    grad, weight, _, *ctx.window = inputs
    ctx.save_for_backward(grad, weight)


def _input_gradient_backward(ctx: Any, upper: Tensor) -> tuple[Tensor | None, ...]:
    grad, weight = ctx.saved_tensors
    needs_grad, needs_weight, *_ = ctx.needs_input_grad
    upper = as_lies(upper, grad)
    of_grad = of_weight = None
    if needs_grad:
        of_grad = conv2d(upper, weight, None, *ctx.window)
    if needs_weight:
        kernel = tuple(weight.shape[2:])
        of_weight, _ = conv2d_weight_gradient(grad, upper, kernel, *ctx.window, False)
    return of_grad, of_weight, None, None, None, None


def _input_gradient_vmap(
    info: Any, dims: Dims, grad: Tensor, weight: Tensor, input_size: Ints, *window: Ints
) -> tuple[Tensor, int]:
    size, (batch, channels, *image) = info.batch_size, input_size
    if dims[1] is None:
        shape = (size * batch, channels, *image)
        grad = folded(grad, dims[0], size, 0)
        return unfolded(conv2d_input_gradient(grad, weight, shape, *window), size, 0)
    shape = (batch, size * channels, *image)
    grad, weight = folded(grad, dims[0], size, 1), at_front(weight, dims[1], size).flatten(0, 1)
    return unfolded(conv2d_input_gradient(grad, weight, shape, *window), size, 1)


def _weight_gradient(
    grad: Tensor,
    x: Tensor,
    kernel: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    bias: bool,
) -> tuple[Tensor, Tensor]:
    if left_to_torch(grad, x):
        four_axes(grad, x)
        weight = grad.shape[1], 1, *kernel
        _check_gradient(grad.shape, x.shape, weight, stride, padding, dilation)
        return fallback.weight_gradient(grad, x, kernel, stride, padding, dilation, bias)
    window = tuple(stride), tuple(padding), tuple(dilation)
    rows, columns = kernel
    flat = eager.weight_gradient(grad, x, (rows, columns), *window, bias)
    if flat is None:
        four_axes(grad, x)
        flat = depthwise_conv2d_weight_gradient(
            grad, x, (rows, columns), **attributes(*window), bias=bias
        )
    shape = grad.shape[1], 1, rows, columns
    weights = prod(shape)
    return flat[:weights].view(shape), flat[weights:].clone()


def _weight_gradient_fake(
    grad: Tensor, x: Tensor, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, bias: bool
) -> tuple[Tensor, Tensor]:
    del x, stride, padding, dilation
    channels = grad.shape[1]
    return grad.new_empty((channels, 1, *kernel)), grad.new_empty(channels if bias else 0)


def _weight_gradient_setup(
    ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]
) -> None:
    del output
    grad, x, _, *ctx.window, ctx.bias = inputs
    ctx.save_for_backward(grad, x)


def _weight_gradient_backward(
    ctx: Any, upper: Tensor, upper_bias: Tensor
) -> tuple[Tensor | None, ...]:
    grad, x = ctx.saved_tensors
    needs_grad, needs_x, *_ = ctx.needs_input_grad
    of_grad = of_x = None
    if needs_grad:
        of_grad = conv2d(x, upper, upper_bias if ctx.bias else None, *ctx.window)
    if needs_x:
        of_x = conv2d_input_gradient(grad, upper, tuple(x.shape), *ctx.window)
    return of_grad, of_x, None, None, None, None, None


def _weight_gradient_vmap(
    info: Any, dims: Dims, grad: Tensor, x: Tensor, *others: Any
) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    size = info.batch_size
    grad, x = folded(grad, dims[0], size, 1), folded(x, dims[1], size, 1)
    given = conv2d_weight_gradient(grad, x, *others)
    weight, bias = (array.unflatten(0, (size, array.shape[0] // size)) for array in given)
    return (weight, bias), (0, 0)


conv2d: Callable[..., Tensor] = operator(
    f"conv2d(Tensor x, Tensor weight, Tensor? bias, {_WINDOW}) -> Tensor",
    _conv2d,
    fake=_conv2d_fake,
    setup_context=_conv2d_setup,
    backward=_conv2d_backward,
    vmap=_conv2d_vmap,
)
conv2d_input_gradient: Callable[..., Tensor] = operator(
    f"conv2d_input_gradient(Tensor grad, Tensor weight, SymInt[4] input_size, {_WINDOW}) -> Tensor",
    _input_gradient,
    fake=_input_gradient_fake,
    setup_context=_input_gradient_setup,
    backward=_input_gradient_backward,
    vmap=_input_gradient_vmap,
)
conv2d_weight_gradient: Callable[..., tuple[Tensor, Tensor]] = operator(
    f"conv2d_weight_gradient(Tensor grad, Tensor x, SymInt[2] kernel, {_WINDOW}, bool bias)"
    " -> (Tensor, Tensor)",
    _weight_gradient,
    fake=_weight_gradient_fake,
    setup_context=_weight_gradient_setup,
    backward=_weight_gradient_backward,
    vmap=_weight_gradient_vmap,
)
