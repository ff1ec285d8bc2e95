"""Blocks of convolutions as one operator: one kernel forward, recomputed in parts backward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from depthwise.functions import blocks
from depthwise.torch import eager
from depthwise.torch.activations import activate_, activation_gradient
from depthwise.torch.batching import Dims, folded, unfolded
from depthwise.torch.convolution import conv2d, conv2d_gradients
from depthwise.torch.fallback import left_to_torch
from depthwise.torch.formats import (
    as_lies,
    attributes,
    empty_as,
    four_axes,
    output_shape,
    same_kind,
)
from depthwise.torch.pointwise import pointwise, pointwise_gradients
from depthwise.torch.registry import operator

Ints: TypeAlias = Sequence[int]
_SCHEMA = (
    "block(Tensor x, Tensor? expand_weight, Tensor? expand_bias, Tensor depthwise_weight, "
    "Tensor? depthwise_bias, Tensor project_weight, Tensor? project_bias, Tensor? residual, "
    "SymInt[2] stride, SymInt[4] padding, SymInt[2] dilation, str? activation) -> Tensor"
)


def composed(
    x: Tensor,
    expand_weight: Tensor | None,
    expand_bias: Tensor | None,
    depthwise_weight: Tensor,
    depthwise_bias: Tensor | None,
    project_weight: Tensor,
    project_bias: Tensor | None,
    residual: Tensor | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    activation: str | None,
) -> Tensor:
    """Return what `block` does, part by part; autograd keeps what is between the parts."""
    wide = x
    if expand_weight is not None:
        wide = activate_(pointwise(x, expand_weight, expand_bias), activation)
    filtered = conv2d(wide, depthwise_weight, depthwise_bias, stride, padding, dilation)
    output = pointwise(activate_(filtered, activation), project_weight, project_bias)
    return output if residual is None else output + residual


def _compute(
    x: Tensor,
    expand_weight: Tensor | None,
    expand_bias: Tensor | None,
    depthwise_weight: Tensor,
    depthwise_bias: Tensor | None,
    project_weight: Tensor,
    project_bias: Tensor | None,
    residual: Tensor | None,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    activation: Any,
) -> Tensor:
    if left_to_torch(x, depthwise_weight):
        return composed(
            x, expand_weight, expand_bias, depthwise_weight, depthwise_bias, project_weight,
            project_bias, residual, stride, padding, dilation, activation,
        )  # fmt: skip
    window = tuple(stride), tuple(padding), tuple(dilation)
    weights = expand_weight, depthwise_weight, project_weight
    biases = expand_bias, depthwise_bias, project_bias
    output = eager.block(x, (*weights, *biases, residual), *window, activation)
    if output is not None:
        return output
    four_axes(x, project_weight)
    if expand_weight is expand_bias is None:
        output = blocks.separable_conv2d(
            x, depthwise_weight, project_weight, depthwise_bias, project_bias,
            **attributes(*window), depthwise_activation=activation, residual=residual,
        )  # fmt: skip
    else:
        output = blocks.inverted_residual(
            x, *weights, *biases, **attributes(*window), activation=activation, residual=residual
        )
    return output


def _fake(x: Tensor, *arguments: Any) -> Tensor:
    expand_weight, _, weight, _, project_weight, _, _, *window, _ = arguments
    same_kind(x, weight)
    channels = x.shape[1] if expand_weight is None else expand_weight.shape[0]
    wide = x.shape[0], channels, *x.shape[2:]
    batch, _, height, width = output_shape(wide, weight.shape, *window)
    return empty_as(x, (batch, project_weight.shape[0], height, width))


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    *tensors, _, _, stride, padding, dilation, ctx.activation = inputs
    ctx.window = stride, padding, dilation
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, expand_weight, expand_bias, weight, bias, project_weight = ctx.saved_tensors
    needs_x, needs_expand, needs_expand_bias, *needs = ctx.needs_input_grad[:8]
    name, window = ctx.activation, ctx.window
    grad = as_lies(grad, x)
    wide = x
    if expand_weight is not None:
        expanded = pointwise(x, expand_weight, expand_bias)
        wide = activate_(expanded, name)
    needs_wide = needs_x or needs_expand or needs_expand_bias
    of_wide, *of_others = _narrow_backward(
        grad, wide, weight, bias, project_weight, window, name, (needs_wide, *needs)
    )
    if expand_weight is None or of_wide is None:
        return of_wide, None, None, *of_others, *(None,) * 4
    upper = activation_gradient(of_wide, expanded, name)
    of_expansion = pointwise_gradients(
        upper, x, expand_weight, (needs_x, needs_expand, needs_expand_bias)
    )
    return *of_expansion, *of_others, *(None,) * 4


def _narrow_backward(
    grad: Tensor,
    wide: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    project_weight: Tensor,
    window: tuple[Ints, ...],
    name: str | None,
    needs: Sequence[bool],
) -> tuple[Tensor | None, ...]:
    """Return the gradients of what follows the expansion, the depthwise part recomputed.

    Args:
        grad: with respect to the output.
        wide: what the depthwise convolution took.
        weight: the depthwise convolution's.
        bias: the depthwise convolution's.
        window: the depthwise convolution's.
        project_weight: (O, D, 1, 1).
        name: of the activation.
        needs: which gradients of those returned.

    Returns:
        Those with respect to `wide`, the depthwise weight and bias, the projection's, and the
        residual; None where it is not needed.
    """
    needs_wide, needs_weight, needs_bias, *needs_projection, needs_residual = needs
    filtered = conv2d(wide, weight, bias, *window)
    upper, *of_projection = pointwise_gradients(
        grad, activate_(filtered, name), project_weight, (True, *needs_projection)
    )
    assert upper is not None
    upper = activation_gradient(upper, filtered, name)
    of_depthwise = conv2d_gradients(
        upper, wide, weight, window, (needs_wide, needs_weight, needs_bias)
    )
    return *of_depthwise, *of_projection, grad if needs_residual else None


def _vmap(info: Any, dims: Dims, x: Tensor, *arguments: Any) -> tuple[Tensor, int]:
    size = info.batch_size
    *weights, residual, stride, padding, dilation, activation = arguments
    if all(dim is None for dim in dims[1:7]):
        residual = None if residual is None else folded(residual, dims[7], size, 0)
        others = residual, stride, padding, dilation, activation
        return unfolded(block(folded(x, dims[0], size, 0), *weights, *others), size, 0)
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
