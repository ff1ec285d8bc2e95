"""Steps of sequences at once: nothing but a look at the tensors, and the machine code.

What is watched, lies otherwise, or cannot be computed is left to `causal`, which says what is
wrong.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from depthwise.errors import DepthwiseError
from depthwise.functions.call import known, remembered
from depthwise.functions.causal_call import prepared
from depthwise.functions.causal_posed import Arrays, Asked, Numbers
from depthwise.functions.causal_ready import Ready
from depthwise.machine.team import native
from depthwise.torch.causal_shapes import activation_named
from depthwise.torch.dtypes import DTYPES

_empty_like = torch.empty_like
_written = torch.autograd.graph.increment_version


def update(
    x: Tensor, state: Tensor, weight: Tensor, bias: Tensor | None, activation: str | None
) -> Tensor | None:
    """Return the convolution and put the states forward, or return None where that is not ready.

    Args:
        x: (N, C), or (N, C, 1).
        state: (N, C, S).
        weight: (C, K).
        bias: (C,) or None.
        activation: None, "silu" or "swish".
    """
    lies = native().lies
    try:
        last = bias if bias is None else lies(bias)
        key = update, activation, lies(x), lies(state), lies(weight), last
        step = known(key)
    except TypeError:
        return None
    if step is None:
        step = remembered(key, lambda: _prepared(x, state, weight, bias, activation))
    if not step:
        return None
    y = _empty_like(x)
    step((x, weight, state) if bias is None else (x, weight, bias, state), y.data_ptr())
    _written(state)
    return y


def _prepared(
    x: Tensor, state: Tensor, weight: Tensor, bias: Tensor | None, activation: str | None
) -> Callable[..., None] | bool | None:
    """Return what computes such steps, False where nothing does, None where something is wrong."""
    asked = Asked(
        activation_named(activation), 1, "NCL", returns_state=False, updates=True, steps=True
    )
    one = x.dim() == 2 or (x.dim() == 3 and x.shape[2] == 1)
    if x.dtype not in DTYPES or not one or weight.dim() != 2:
        return False
    try:
        ready = prepared(asked, Arrays(x, weight, bias, state, None, None), Numbers())
    except DepthwiseError:
        return None
    return ready.stepping() if isinstance(ready, Ready) else False
