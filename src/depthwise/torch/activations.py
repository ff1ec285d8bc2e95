"""The activations as torch computes them, and their derivatives as torch's own operators."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the name that everyone gives it)

_aten: Any = torch.ops.aten

_IN_PLACE: dict[str | None, Callable[[Tensor], Tensor]] = {
    "relu": partial(F.relu, inplace=True),
    "relu6": partial(F.relu6, inplace=True),
    "leaky_relu": partial(F.leaky_relu, inplace=True),
}
"""Those whose derivative is the same at their result as at `x`."""


def _silu(grad: Tensor, x: Tensor) -> Tensor:
    """Return what aten::silu_backward does, which has no derivative of its own."""
    if not torch.is_grad_enabled():
        fast: Tensor = _aten.silu_backward(grad, x)
        return fast
    gate = torch.sigmoid(x)
    return grad * gate * (1 + x * (1 - gate))


_BACKWARD: dict[str | None, Callable[[Tensor, Tensor], Tensor]] = {
    None: lambda grad, _: grad,
    "relu": lambda grad, x: _aten.threshold_backward(grad, x, 0),
    "relu6": lambda grad, x: _aten.hardtanh_backward(grad, x, 0, 6),
    "hardswish": _aten.hardswish_backward,
    "silu": _silu,
    "gelu": _aten.gelu_backward,
    "leaky_relu": lambda grad, x: _aten.leaky_relu_backward(grad, x, 0.01, False),
    "sigmoid": lambda grad, x: _aten.sigmoid_backward(grad, torch.sigmoid(x)),
    "hardsigmoid": lambda grad, x: grad * ((x > -3) & (x < 3)) / 6,
}


def activate(x: Tensor, name: str | None) -> Tensor:
    """Return the activation of `x`; None is the identity."""
    output: Tensor = x if name is None else getattr(F, name)(x)
    return output


def activate_(x: Tensor, name: str | None) -> Tensor:
    """Return the activation of `x`, which is in its place where the gradient remains the same."""
    return _IN_PLACE[name](x) if name in _IN_PLACE else activate(x, name)


def activation_gradient(grad: Tensor, x: Tensor, name: str | None) -> Tensor:
    """Return the gradient with respect to `x`, for that of its activation.

    `x` may be what `activate_` left there.
    """
    return _BACKWARD[name](grad, x)
