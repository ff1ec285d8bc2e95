"""The gradients of a causal convolution, made of operators that are differentiable themselves.

`causal_fused` computes them in one pass, where autograd does not record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the name that everyone gives it)

from depthwise.torch.activations import activation_gradient
from depthwise.torch.causal_fallback import earlier, same_sequence
from depthwise.torch.convolution import conv2d_gradients
from depthwise.torch.dtypes import DTYPES
from depthwise.torch.formats import as_lies


class Given(NamedTuple):
    """What a causal convolution was computed from; arguments of its operator."""

    x: Tensor
    weight: Tensor
    bias: Tensor | None
    initial: Tensor | None
    seq_idx: Tensor | None
    activation: str | None
    dilation: int

    @property
    def before(self) -> int:
        """How many elements before its own an output depends on."""
        return self.dilation * (self.weight.shape[1] - 1)


class Gradients(NamedTuple):
    """Those with respect to the tensors, None where one is not needed."""

    x: Tensor | None
    weight: Tensor | None
    bias: Tensor | None
    initial: Tensor | None


def gradients(
    grad: Tensor,
    grad_final: Tensor | None,
    given: Given,
    needs: Sequence[bool],
    convolve: Callable[[Given], Tensor],
) -> Gradients:
    """Return the gradients for those of the result and of the final states.

    Sums of bfloat16 and float16 are computed in float32.

    Args:
        grad: (N, C, L), of the result.
        grad_final: (N, C, S), of the final states; None where they are not wanted.
        given: what was convolved.
        needs: whether x, weight, bias and initial states need one.
        convolve: the convolution itself, differentiable.
    """
    if given.x.is_cpu and given.x.dtype not in DTYPES:
        upper, final, x, weight, bias, initial = map(_wide, (grad, grad_final, *given[:4]))
        wide = given._replace(x=x, weight=weight, bias=bias, initial=initial)
        found = gradients(upper, final, wide, needs, convolve)
        return Gradients(*(g if g is None else g.to(given.x.dtype) for g in found))
    if given.activation is not None and grad.numel():
        before = convolve(given._replace(activation=None))
        grad = activation_gradient(grad, before, given.activation)
    if given.seq_idx is not None:
        return _of_several(grad, given, needs, convolve)
    of_x, of_weight, of_bias, of_initial = _of_one(grad, given, needs)
    if grad_final is not None:
        if needs[0]:
            of_x = _with_final(of_x, grad_final, given)
        if needs[3]:
            of_initial = _kept_in_state(of_initial, grad_final, given.x.shape[2])
    return Gradients(of_x, of_weight, of_bias, of_initial)


def _of_one(grad: Tensor, given: Given, needs: Sequence[bool]) -> Gradients:
    """Return the gradients where each row is one sequence; `grad` is that before the activation."""
    x, weight, initial, before = given.x, given.weight, given.initial, given.before
    if not x.numel():
        return _zeros(given, needs)
    padding, longer = before, x
    if initial is not None:
        padding, longer = 0, torch.cat([initial[..., initial.shape[2] - before :], x], dim=2)
    image, filters = longer.unsqueeze(2), weight[:, None, None]
    window = (1, 1), (0, 0, padding, 0), (1, given.dilation)
    asked = needs[0] or needs[3], needs[1], needs[2]
    upper = as_lies(grad.unsqueeze(2), image)
    of_image, of_weight, of_bias = conv2d_gradients(upper, image, filters, window, asked)
    of_x = None if of_image is None else of_image.squeeze(2)
    of_initial = None
    if of_x is not None and initial is not None:
        skipped = initial.shape[2] - before
        of_initial, of_x = F.pad(of_x[..., :before], (skipped, 0)), of_x[..., before:]
    return Gradients(
        of_x if needs[0] else None,
        None if of_weight is None else of_weight[:, 0, 0],
        of_bias,
        of_initial if needs[3] else None,
    )


def _of_several(
    grad: Tensor, given: Given, needs: Sequence[bool], convolve: Callable[[Given], Tensor]
) -> Gradients:
    """Return the gradients where `seq_idx` tells the sequences of a row apart.

    That of x is the same convolution, back in time.
    """
    x, weight, seq_idx, dilation = given.x, given.weight, given.seq_idx, given.dilation
    assert seq_idx is not None
    grad = grad * (seq_idx >= 0).unsqueeze(1)
    of_x = of_weight = None
    if needs[0]:
        back = Given(grad.flip(2), weight, None, None, seq_idx.flip(1), None, dilation)
        of_x = convolve(back).flip(2)
    if needs[1]:
        reach = [dilation * tap for tap in range(weight.shape[1] - 1, -1, -1)]
        sums = [
            (grad * same_sequence(seq_idx, far).unsqueeze(1) * earlier(x, far)).sum((0, 2))
            for far in reach
        ]
        of_weight = torch.stack(sums, dim=1)
    return Gradients(of_x, of_weight, grad.sum((0, 2)) if needs[2] else None, None)


def _with_final(of_x: Tensor | None, grad_final: Tensor, given: Given) -> Tensor:
    """Return the gradient of x with what the last elements have as states."""
    assert of_x is not None
    length, state = given.x.shape[2], grad_final.shape[2]
    shared = min(length, state)
    return of_x + F.pad(grad_final[..., state - shared :], (length - shared, 0))


def _kept_in_state(of_initial: Tensor | None, grad_final: Tensor, length: int) -> Tensor:
    """Return the gradient of the initial states with what they still are in the final ones."""
    assert of_initial is not None
    state = grad_final.shape[2]
    if length >= state:
        return of_initial
    return of_initial + F.pad(grad_final[..., : state - length], (length, 0))


def _wide(tensor: Tensor | None) -> Any:
    return tensor if tensor is None else tensor.float()


def _zeros(given: Given, needs: Sequence[bool]) -> Gradients:
    found = [
        torch.zeros_like(each) if needed and each is not None else None
        for each, needed in zip(given[:4], needs, strict=True)
    ]
    return Gradients(*found)
