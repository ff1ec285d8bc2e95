"""Convolutions of tensors with any of torch's paddings, made of the operators.

Arguments are those of torch's modules: `stride` and `dilation` are tuples, `padding` is one, with a
number for each axis, or a word; an input may lack its batch axis.
"""

from __future__ import annotations

from math import prod
from typing import Any, TypeAlias

import torch
from torch import Tensor

from depthwise.functions import blocks, convolutions
from depthwise.problem.spec import causal_padding
from depthwise.torch.activations import activate_
from depthwise.torch.convolution import conv2d
from depthwise.torch.formats import attributes
from depthwise.torch.fused import block, composed
from depthwise.torch.paddings import Sides, around, padded, pads_as_it_reads
from depthwise.torch.pointwise import pointwise

Ints: TypeAlias = "tuple[int, ...]"
_MOST_TAPS_RECOMPUTED = 9
"""Computing a 3x3 part again costs what keeping its result does; larger ones cost more."""


def depthwise_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Ints,
    padding: Ints | str,
    dilation: Ints,
    padding_mode: str = "zeros",
) -> Tensor:
    """Return the depthwise convolution of (N, C, H, W) or (C, H, W) with (C * m, 1, KH, KW)."""
    if x.dim() == 3:
        window = stride, padding, dilation, padding_mode
        return depthwise_conv2d(x.unsqueeze(0), weight, bias, *window).squeeze(0)
    sides = around(padding, weight.shape[2:], dilation)
    return _convolved(x, weight, bias, stride, sides, dilation, padding_mode)


def depthwise_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Ints,
    padding: Ints | str,
    dilation: Ints,
    padding_mode: str = "zeros",
) -> Tensor:
    """Return the depthwise convolution of (N, C, L) or (C, L) with (C * m, 1, K).

    That is a 2-D one at height 1.  `padding` may be "causal".
    """
    if x.dim() == 2:
        window = stride, padding, dilation, padding_mode
        return depthwise_conv1d(x.unsqueeze(0), weight, bias, *window).squeeze(0)
    if padding == "causal":
        sides = 0, 0, *causal_padding(weight.shape[2], *dilation)
    else:
        flat = (0, *padding) if isinstance(padding, tuple) else padding
        sides = around(flat, (1, weight.shape[2]), (1, *dilation))
    image, filters = x.unsqueeze(2), weight.unsqueeze(2)
    output = _convolved(image, filters, bias, (1, *stride), sides, (1, *dilation), padding_mode)
    return output.squeeze(2)


def pointwise_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the pointwise convolution of (N, C, H, W) or (C, H, W) with (O, C, 1, 1)."""
    if x.dim() == 3:
        return pointwise_conv2d(x.unsqueeze(0), weight, bias).squeeze(0)
    return pointwise(x, weight, bias)


def separable_conv2d(
    x: Tensor,
    depthwise_weight: Tensor,
    depthwise_bias: Tensor | None,
    pointwise_weight: Tensor,
    pointwise_bias: Tensor | None,
    stride: Ints,
    padding: Ints | str,
    dilation: Ints,
    padding_mode: str = "zeros",
) -> Tensor:
    """Return a depthwise convolution, then a pointwise one, computed as one.

    Args:
        x: (N, C, H, W) or (C, H, W).
        depthwise_weight: (C * m, 1, KH, KW).
        depthwise_bias: (C * m,) or None.
        pointwise_weight: (O, C * m, 1, 1).
        pointwise_bias: (O,) or None.
        stride: of the depthwise convolution.
        padding: of the depthwise convolution.
        dilation: of the depthwise convolution.
        padding_mode: of the depthwise convolution.
    """
    weights = depthwise_weight, depthwise_bias, pointwise_weight, pointwise_bias
    if x.dim() == 3:
        window = stride, padding, dilation, padding_mode
        return separable_conv2d(x.unsqueeze(0), *weights, *window).squeeze(0)
    sides = around(padding, depthwise_weight.shape[2:], dilation)
    if padding_mode != "zeros" and any(sides):
        if pads_as_it_reads(x, *weights):
            output: Tensor = blocks.separable_conv2d(
                x, depthwise_weight, pointwise_weight, depthwise_bias, pointwise_bias,
                **attributes(stride, sides, dilation), padding_mode=padding_mode,
            )  # fmt: skip
            return output
        x, sides = padded(x, sides, padding_mode), (0, 0, 0, 0)
    return _chained(x, None, None, *weights, None, stride, sides, dilation, None)


def inverted_residual(
    x: Tensor,
    expand_weight: Tensor | None,
    expand_bias: Tensor | None,
    depthwise_weight: Tensor,
    depthwise_bias: Tensor | None,
    project_weight: Tensor,
    project_bias: Tensor | None,
    stride: Ints,
    padding: Ints | str,
    dilation: Ints,
    activation: str | None,
    residual: bool,
) -> Tensor:
    """Return an inverted residual, computed as one; see `depthwise.inverted_residual`.

    Where autograd records, the expansion is computed first and kept for the backward pass.

    Args:
        x: (N, C, H, W) or (C, H, W).
        expand_weight: (E, C, 1, 1), or None where E is C.
        expand_bias: (E,) or None.
        depthwise_weight: (D, 1, KH, KW); D is a multiple of E.
        depthwise_bias: (D,) or None.
        project_weight: (O, D, 1, 1).
        project_bias: (O,) or None.
        stride: of the depthwise convolution.
        padding: of the depthwise convolution.
        dilation: of the depthwise convolution.
        activation: after the first two; None or one of `depthwise.problem.vocabulary.ACTIVATIONS`.
        residual: whether `x` is added.
    """
    weights = (
        expand_weight, expand_bias, depthwise_weight, depthwise_bias, project_weight, project_bias,
    )  # fmt: skip
    if x.dim() == 3:
        others = stride, padding, dilation, activation, residual
        return inverted_residual(x.unsqueeze(0), *weights, *others).squeeze(0)
    sides = around(padding, depthwise_weight.shape[2:], dilation)
    added = x if residual else None
    return _chained(x, *weights, added, stride, sides, dilation, activation)


def _convolved(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Ints,
    sides: Sides,
    dilation: Ints,
    padding_mode: str,
) -> Tensor:
    """Return the convolution of (N, C, H, W); `sides` is (top, bottom, left, right)."""
    if padding_mode != "zeros" and any(sides):
        if pads_as_it_reads(x, weight, bias):
            output: Tensor = convolutions.depthwise_conv2d(
                x, weight, bias, **attributes(stride, sides, dilation), padding_mode=padding_mode
            )
            return output
        x, sides = padded(x, sides, padding_mode), (0, 0, 0, 0)
    return conv2d(x, weight, bias, stride, sides, dilation)


def _chained(x: Tensor, *arguments: Any) -> Tensor:
    """Return what `block` does; where autograd records, keep what is dear to compute again.

    That is the expansion, and all that lies between the parts where the kernel is a large one.
    """
    weights, others = arguments[:6], arguments[6:]
    if not _recorded(x, *weights):
        return block(x, *arguments)
    if prod(weights[2].shape[2:]) > _MOST_TAPS_RECOMPUTED:
        return composed(x, *arguments)
    if weights[0] is not None:
        x = activate_(pointwise(x, *weights[:2]), others[-1])
    return block(x, None, None, *weights[2:], *others)


def _recorded(*tensors: Tensor | None) -> bool:
    """Whether autograd records what is computed from these."""
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
