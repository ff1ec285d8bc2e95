"""Convolutions of tensors with any of torch's paddings, made of the operators.

Arguments are those of torch's modules: `stride` and `dilation` are tuples, `padding` is one, with a
number for each axis, or a word; an input may lack its batch axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the name that everyone gives it)

from depthwise import functional
from depthwise.spec import causal_padding, resolve_padding
from depthwise.torch.convolution import conv2d
from depthwise.torch.fallback import left_to_torch
from depthwise.torch.formats import attributes
from depthwise.torch.pointwise import pointwise
from depthwise.torch.registry import unwatched

Ints: TypeAlias = "tuple[int, ...]"


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


def around(padding: Ints | str, kernel: Sequence[int], dilation: Ints) -> tuple[int, int, int, int]:
    """Return (top, bottom, left, right) of a padding as torch's modules have it.

    ("same" goes with stride 1 there, so that it does not depend on the size.)
    """
    if isinstance(padding, str):
        height, width = kernel
        sides = resolve_padding(padding, (1, 1), (height, width), (1, 1), dilation)  # type: ignore[arg-type]
        return *sides[0], *sides[1]
    vertical, horizontal = padding
    return vertical, vertical, horizontal, horizontal


def _convolved(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Ints,
    sides: tuple[int, int, int, int],
    dilation: Ints,
    padding_mode: str,
) -> Tensor:
    """Return the convolution of (N, C, H, W); `sides` is (top, bottom, left, right)."""
    if padding_mode != "zeros" and any(sides):
        if _in_place(x, weight, bias):
            window = attributes(stride, sides, dilation)
            output: Tensor = functional.depthwise_conv2d(
                x, weight, bias, **window, padding_mode=padding_mode
            )
            return output
        top, bottom, left, right = sides
        x = F.pad(x, (left, right, top, bottom), padding_mode)
        sides = 0, 0, 0, 0
    return conv2d(x, weight, bias, stride, sides, dilation)


def _in_place(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether the kernel may pad as it reads: nothing differentiates or watches the padding."""
    if not unwatched(x, weight, bias) or left_to_torch(x, weight):
        return False
    return not (torch.is_grad_enabled() and torch._C._any_requires_grad(x, weight, bias))
