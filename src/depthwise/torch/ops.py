"""Convolutions that run on this package's kernels and that autograd differentiates.

The backward pass is torch's own `convolution_backward`, itself differentiable, so that second
derivatives work too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the name that everyone gives it)

from depthwise import functional
from depthwise.spec import resolve_padding

Ints: TypeAlias = "tuple[int, ...]"
"""Height and width, as torch types the attributes of its convolutions."""


@dataclass(frozen=True)
class _Window:
    stride: Ints = (1, 1)
    padding: Ints | str = (0, 0)
    dilation: Ints = (1, 1)
    padding_mode: str = "zeros"


def depthwise_conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Ints,
    padding: Ints | str,
    dilation: Ints,
    padding_mode: str,
) -> Tensor:
    """Return the depthwise convolution of (N, C, H, W) or (C, H, W) with (C * m, 1, KH, KW)."""
    window = _Window(stride, padding, dilation, padding_mode)
    return _convolve(x, weight, bias, window, partial(functional.depthwise_conv2d, **vars(window)))


def pointwise_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the pointwise convolution of (N, C, H, W) or (C, H, W) with (O, C, 1, 1)."""
    return _convolve(x, weight, bias, _Window(), functional.pointwise_conv2d)


def _convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, window: _Window, forward: Any
) -> Tensor:
    if x.dim() == 3:
        return _convolve(x.unsqueeze(0), weight, bias, window, forward).squeeze(0)
    output: Tensor = _Convolution.apply(x, weight, bias, window, forward)  # type: ignore[no-untyped-call]
    return output


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, window: _Window, forward: Any
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.window = window
        ctx.bias_sizes = None if bias is None else list(bias.shape)
        arrays = (None if array is None else array.detach() for array in (x, weight, bias))
        output: Tensor = forward(*arrays)
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        window = ctx.window
        (top, bottom), (left, right) = resolve_padding(
            window.padding, x.shape[2:], weight.shape[2:], window.stride, window.dilation
        )
        inside = window.padding_mode == "zeros" and (top, left) == (bottom, right)
        pads = (0, 0, 0, 0) if inside else (left, right, top, bottom)
        input_grad, weight_grad, bias_grad = torch.ops.aten.convolution_backward(
            grad,
            _pad(x, pads, window.padding_mode),
            weight,
            ctx.bias_sizes,
            window.stride,
            (top, left) if inside else (0, 0),
            window.dilation,
            False,
            (0, 0),
            x.shape[1] // weight.shape[1],
            ctx.needs_input_grad[:3],
        )
        if input_grad is not None:
            input_grad = _pad_backward(input_grad, x, pads, window.padding_mode)
        return input_grad, weight_grad, bias_grad, None, None


def _pad(x: Tensor, pads: tuple[int, int, int, int], padding_mode: str) -> Tensor:
    if not any(pads):
        return x
    return F.pad(x, pads, "constant" if padding_mode == "zeros" else padding_mode)


def _pad_backward(
    grad: Tensor, x: Tensor, pads: tuple[int, int, int, int], padding_mode: str
) -> Tensor:
    if not any(pads):
        return grad
    with torch.enable_grad():
        source = x.detach().requires_grad_()
        padded = _pad(source, pads, padding_mode)
    return torch.autograd.grad(padded, source, grad, create_graph=torch.is_grad_enabled())[0]
