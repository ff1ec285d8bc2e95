"""States of sequences that a step, or a chunk, puts forward in place: in a row, of a pool, round.

Nothing is written before everything has been checked.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from depthwise.errors import ArrayError
from depthwise.functions import causal
from depthwise.problem.arrays import check_storage
from depthwise.torch import causal_fallback
from depthwise.torch.causal_shapes import as_lies, check, check_states
from depthwise.torch.dtypes import DTYPES


def stepped(
    x: Tensor,
    state: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    cache_seqlens: Tensor | None,
    indices: Tensor | None,
    activation: Any,
) -> Tensor:
    """Return the convolution of (N, C, L), and put the states forward.

    Args:
        x: (N, C, L).
        state: (N, C, S), or (any number, C, S) with `indices`; of any floating-point type.
        weight: (C, K).
        bias: (C,) or None.
        cache_seqlens: (N,) whole numbers: each state is a ring, in which that many elements of its
            sequence were written so far; None where the last element is the last.
        indices: (N,) whole numbers, which state each sequence has; a negative one has none, and its
            result is zero.
        activation: None or one of ours.

    Raises:
        ArrayError: a shape does not fit, an index is none of a state, or two are the same.
        DTypeError: an element type does not fit.
    """
    check(x, weight, bias, None)
    check_states(x, state, weight, cache_seqlens, indices)
    for tensor, name in ((x, "x"), (state, "conv_state"), (weight, "weight"), (bias, "bias")):
        if tensor is not None and tensor.is_cpu:
            check_storage(tensor, name)
    if indices is not None:
        check_indices(indices, len(state))
        used = indices >= 0
        if not bool(used.all()):
            y = as_lies(torch.zeros_like(x), x)
            rings = None if cache_seqlens is None else cache_seqlens[used]
            y[used] = stepped(x[used], state, weight, bias, rings, indices[used], activation)
            return y
    if not x.numel():
        return as_lies(torch.zeros_like(x), x)
    if cache_seqlens is not None:
        return as_lies(_round(x, state, weight, bias, cache_seqlens, indices, activation), x)
    if x.is_cpu and x.dtype in DTYPES and state.dtype == x.dtype and state.shape[2]:
        direct: Tensor = causal.causal_conv1d_update(
            x, state, weight, bias, activation=activation, state_indices=indices
        )
        return as_lies(direct, x)
    own = state if indices is None else state[indices]
    y, after = _computed(x, own, weight, bias, activation)
    if indices is None:
        state.copy_(after)
    else:
        state[indices] = after
    return as_lies(y, x)


def check_indices(indices: Tensor, states: int) -> None:
    """Refuse numbers of states that are none, or that several sequences would write to.

    Raises:
        ArrayError: one is not below `states`, or two that are not negative are the same.
    """
    beyond = indices[indices >= states]
    if beyond.numel():
        raise ArrayError(
            f"conv_state_indices are those of {states} states, from 0, or negative for none; got "
            f"{beyond.tolist()}"
        )
    used = indices[indices >= 0]
    if used.unique().numel() != used.numel():
        raise ArrayError(f"each sequence has a state of its own; got indices {used.tolist()}")


def _computed(
    x: Tensor, state: Tensor, weight: Tensor, bias: Tensor | None, activation: Any
) -> tuple[Tensor, Tensor]:
    """Return the result and the states after it, in the type of x."""
    initial = state.to(x.dtype)
    after = causal_fallback.final_states(x, weight, initial, 1)
    if not x.is_cpu:
        y = causal_fallback.causal_conv1d(x, weight, bias, initial, None, activation, 1)
        return y, after
    if x.dtype in DTYPES:
        states = initial if initial.shape[2] else None
        y = causal.causal_conv1d(x, weight, bias, activation=activation, initial_state=states)
        return y, after
    wide: list[Any] = [
        each if each is None else each.float() for each in (x, initial, weight, bias)
    ]
    y, _ = _computed(*wide, activation)  # type: ignore[call-arg]
    return y.to(x.dtype), after


def _round(
    x: Tensor,
    state: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    written: Tensor,
    indices: Tensor | None,
    activation: Any,
) -> Tensor:
    """Convolve with states that are rings, and write x into them."""
    batch, channels, length = x.shape
    ring, before = state.shape[2], weight.shape[1] - 1
    own = torch.arange(batch, device=x.device) if indices is None else indices.long()
    rows, columns = own[:, None, None], torch.arange(channels, device=x.device)[None, :, None]
    places = torch.arange(-before, length, device=x.device) + written.long()[:, None]
    places = places.remainder(max(ring, 1))[:, None]
    y, _ = _computed(x, state[rows, columns, places[..., :before]], weight, bias, activation)
    last = max(0, length - ring)
    state[rows, columns, places[..., before + last :]] = x[..., last:].to(state.dtype)
    return y
