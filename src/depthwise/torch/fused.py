"""Blocks of convolutions as one operator: one kernel forward, recomputed in parts backward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from depthwise import functional_blocks
from depthwise.torch.activations import activate, activation_gradient
from depthwise.torch.batching import Dims, folded, unfolded
from depthwise.torch.convolution import conv2d, conv2d_input_gradient, conv2d_weight_gradient
from depthwise.torch.fallback import left_to_torch
from depthwise.torch.formats import as_lies, attributes, empty_as, output_shape, same_kind
from depthwise.torch.pointwise import pointwise, weight_gradient
from depthwise.torch.registry import operator

Ints: TypeAlias = Sequence[int]
_SCHEMA = (
    "block(Tensor x, Tensor? expand_weight, Tensor? expand_bias, Tensor depthwise_weight, "
    "Tensor? depthwise_bias, Tensor project_weight, Tensor? project_bias, SymInt[2] stride, "
    "SymInt[4] padding, SymInt[2] dilation, str? activation, bool residual) -> Tensor"
)


def composed(
    x: Tensor,
    expand_weight: Tensor | None,
    expand_bias: Tensor | None,
    depthwise_weight: Tensor,
    depthwise_bias: Tensor | None,
    project_weight: Tensor,
    project_bias: Tensor | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    activation: str | None,
    residual: bool,
) -> Tensor:
    """Return what `block` does, part by part; autograd keeps what is between the parts."""
    wide = x
    if expand_weight is not None:
        wide = activate(pointwise(x, expand_weight, expand_bias), activation)
    filtered = conv2d(wide, depthwise_weight, depthwise_bias, stride, padding, dilation)
    output = pointwise(activate(filtered, activation), project_weight, project_bias)
    return output + x if residual else output


def _compute(
    x: Tensor,
    expand_weight: Tensor | None,
    expand_bias: Tensor | None,
    depthwise_weight: Tensor,
    depthwise_bias: Tensor | None,
    project_weight: Tensor,
    project_bias: Tensor | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    activation: Any,
    residual: bool,
) -> Tensor:
    if left_to_torch(x, depthwise_weight):
        return composed(
            x, expand_weight, expand_bias, depthwise_weight, depthwise_bias, project_weight,
            project_bias, stride, padding, dilation, activation, residual,
        )  # fmt: skip
    window = attributes(stride, padding, dilation)
    output: Tensor
    if expand_weight is None:
        output = functional_blocks.separable_conv2d(
            x, depthwise_weight, project_weight, depthwise_bias, project_bias, **window,
            depthwise_activation=activation, residual=residual,
        )  # fmt: skip
    else:
        output = functional_blocks.inverted_residual(
            x, expand_weight, depthwise_weight, project_weight, expand_bias, depthwise_bias,
            project_bias, **window, activation=activation, residual=residual,
        )  # fmt: skip
    return output


def _fake(x: Tensor, *arguments: Any) -> Tensor:
    expand_weight, _, weight, _, project_weight, _, *window, _, _ = arguments
    same_kind(x, weight)
    channels = x.shape[1] if expand_weight is None else expand_weight.shape[0]
    wide = x.shape[0], channels, *x.shape[2:]
    batch, _, height, width = output_shape(wide, weight, *window)
    return empty_as(x, (batch, project_weight.shape[0], height, width))


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    *tensors, _, stride, padding, dilation, ctx.activation, ctx.residual = inputs
    ctx.window = stride, padding, dilation
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, expand_weight, expand_bias, weight, bias, project_weight = ctx.saved_tensors
    needs_x, *needs = ctx.needs_input_grad[:7]
    name, window = ctx.activation, ctx.window
    grad = as_lies(grad, x)
    expanded = x if expand_weight is None else pointwise(x, expand_weight, expand_bias)
    wide = x if expand_weight is None else activate(expanded, name)
    filtered = conv2d(wide, weight, bias, *window)
    of_project = weight_gradient(grad, activate(filtered, name)) if needs[4] else None
    of_project_bias = grad.sum((0, 2, 3)) if needs[5] else None
    upper = activation_gradient(
        pointwise(grad, project_weight.transpose(0, 1), None), filtered, name
    )
    of_weight = of_bias = of_expand = of_expand_bias = of_x = None
    if needs[2]:
        of_weight, of_bias = conv2d_weight_gradient(
            upper, wide, tuple(weight.shape[2:]), *window, needs[3]
        )
    of_bias = of_bias if needs[3] else None
    if needs_x or needs[0] or needs[1]:
        of_x = conv2d_input_gradient(upper, weight, tuple(wide.shape), *window)
        if expand_weight is not None:
            upper = activation_gradient(of_x, expanded, name)
            of_expand = weight_gradient(upper, x) if needs[0] else None
            of_expand_bias = upper.sum((0, 2, 3)) if needs[1] else None
            of_x = pointwise(upper, expand_weight.transpose(0, 1), None) if needs_x else None
        if ctx.residual and of_x is not None:
            of_x = of_x + grad
    gradients = of_x, of_expand, of_expand_bias, of_weight, of_bias, of_project, of_project_bias
    return *gradients, None, None, None, None, None


def _vmap(info: Any, dims: Dims, x: Tensor, *arguments: Any) -> tuple[Tensor, int]:
    size = info.batch_size
    if all(dim is None for dim in dims[1:]):
        return unfolded(block(folded(x, dims[0], size, 0), *arguments), size, 0)
    mapped = torch.vmap(composed, in_dims=dims, randomness=info.randomness)
    return mapped(x, *arguments), 0


block: Callable[..., Tensor] = operator(
    _SCHEMA,
    _compute,
    fake=_fake,
    setup_context=_setup_context,
    backward=_backward,
    vmap=_vmap,
)
