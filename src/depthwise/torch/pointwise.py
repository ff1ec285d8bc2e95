"""Pointwise convolution as an operator; its gradients are matrix products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the name that everyone gives it)

from depthwise.errors import ArrayError
from depthwise.functions import convolutions
from depthwise.torch import eager
from depthwise.torch.batching import Dims, at_front, folded, unfolded
from depthwise.torch.fallback import left_to_torch
from depthwise.torch.formats import as_lies, empty_as, four_axes, memory_format, same_kind
from depthwise.torch.registry import operator


def _compute(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if left_to_torch(x, weight):
        _check(x, weight)
        return as_lies(F.conv2d(x, weight, bias), x)
    output = eager.pointwise(x, weight, bias)
    if output is None:
        four_axes(x, weight)
        output = convolutions.pointwise_conv2d(x, weight, bias)
    return output


def _check(x: Tensor, weight: Tensor) -> None:
    if x.dim() != 4 or weight.shape[1:] != (x.shape[1], 1, 1):
        raise ArrayError(
            "x is (N, C, H, W) and weight (O, C, 1, 1); "
            f"got {tuple(x.shape)} and {tuple(weight.shape)}"
        )


def _fake(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    del bias
    _check(x, weight)
    same_kind(x, weight)
    return empty_as(x, (x.shape[0], weight.shape[0], *x.shape[2:]))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    x, weight, _ = inputs
    ctx.save_for_backward(x, weight)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, weight = ctx.saved_tensors
    return pointwise_gradients(as_lies(grad, x), x, weight, ctx.needs_input_grad)


def pointwise_gradients(
    grad: Tensor, x: Tensor, weight: Tensor, needs: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients with respect to x, weight and bias, those that are needed.

    `grad` and `x` are of one memory format.
    """
    needs_x, needs_weight, needs_bias = needs
    return (
        pointwise(grad, weight.transpose(0, 1), None) if needs_x else None,
        _weight_gradient(grad, x) if needs_weight else None,
        grad.sum((0, 2, 3)) if needs_bias else None,
    )


def _weight_gradient(grad: Tensor, x: Tensor) -> Tensor:
    """Return the (O, C, 1, 1) gradient for (N, O, H, W) and (N, C, H, W) of one memory format."""
    if memory_format(x) is torch.channels_last:
        product = _pixels(grad).t() @ _pixels(x)
    else:
        product = (grad.flatten(2) @ x.flatten(2).transpose(1, 2)).sum(0)
    return product[:, :, None, None]


def _pixels(image: Tensor) -> Tensor:
    """Return (N, C, H, W) as (N * H * W, C), a view where it lies channels_last."""
    return image.permute(0, 2, 3, 1).flatten(0, 2)


def _vmap(
    info: Any, dims: Dims, x: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, int]:
    size = info.batch_size
    if dims[1] is dims[2] is None:
        return unfolded(pointwise(folded(x, dims[0], size, 0), weight, bias), size, 0)
    weights = at_front(weight, dims[1], size)[..., 0, 0]
    output = torch.einsum("boc,bnchw->bnohw", weights, at_front(x, dims[0], size))
    if bias is not None:
        output = output + at_front(bias, dims[2], size)[:, None, :, None, None]
    return output, 0


pointwise: Callable[..., Tensor] = operator(
    "pointwise(Tensor x, Tensor weight, Tensor? bias) -> Tensor",
    _compute,
    fake=_fake,
    setup_context=_setup,
    backward=_backward,
    vmap=_vmap,
)
