"""Causal convolution of sequences with the names and arguments of the package causal-conv1d."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from depthwise.errors import ArrayError, DTypeError
from depthwise.torch import causal_ops, causal_step
from depthwise.torch.causal_shapes import activation_named, check, check_states
from depthwise.torch.causal_types import as_it_is, as_one_type
from depthwise.torch.registry import differentiated, unwatched


def causal_conv1d_fn(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    seq_idx: Tensor | None = None,
    initial_states: Tensor | None = None,
    return_final_states: bool = False,
    final_states_out: Tensor | None = None,
    activation: str | None = None,
) -> Any:
    """Convolve each channel of sequences with a filter of its own that reads nothing ahead.

    As the function of that name in the package causal-conv1d, on CPUs: differentiable, with respect
    to initial and through final states too, and with filters of any length.

    Args:
        x: (N, C, L), contiguous or with channels as the last axis in memory; L may be 0.
        weight: (C, K).
        bias: (C,) or None.
        seq_idx: (N, L) whole numbers: where the number changes another sequence begins, before
            which there are zeros; results are zero where it is negative.  It goes with no states.
        initial_states: (N, C, K - 1), the last elements before each sequence, or more of them;
            None is zeros.
        return_final_states: whether to return the last elements of each sequence, too.
        final_states_out: where to write these.
        activation: None, "silu" or "swish", which is the same.

    Returns:
        The result, (N, C, L), of the type of x, which lies in memory as x does; with
        `return_final_states` it and the final states.

    Raises:
        ArrayError: a shape does not fit.
        DTypeError: an element type does not fit.
        SpecError: the activation is another one.
    """
    named = activation_named(activation)
    wants = bool(return_final_states) or final_states_out is not None
    kind, tensors = as_one_type(x, weight, bias, initial_states)
    if final_states_out is not None:
        check(*tensors)
        _check_out(final_states_out, x, weight, initial_states)
    operator, device = causal_ops.causal_conv1d, x.device.type
    y, final = as_it_is(device, operator, *tensors, seq_idx, named, 1, wants)
    y = y.to(kind)
    if final_states_out is not None:
        final = final_states_out.copy_(final)
    return (y, final.to(kind)) if return_final_states else y


def causal_conv1d_update(
    x: Tensor,
    conv_state: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    cache_seqlens: Tensor | None = None,
    conv_state_indices: Tensor | None = None,
) -> Tensor:
    """Convolve the next step, or chunk, of sequences, and put their states forward in place.

    As the function of that name in the package causal-conv1d, on CPUs.  Where autograd records, the
    states are put forward as by `conv_state.copy_`, which it records too.

    Args:
        x: one step, (N, C), or a chunk, (N, C, L).
        conv_state: (N, C, S), the last elements before x, with S of K - 1 or more; or (any number,
            C, S) with `conv_state_indices`.
        weight: (C, K).
        bias: (C,) or None.
        activation: None, "silu" or "swish", which is the same.
        cache_seqlens: (N,) whole numbers: each state is a ring, where x is written from element
            `cache_seqlens % S` on; None where the last element is always the last.
        conv_state_indices: (N,) whole numbers, which of the states each sequence has; a negative
            one has none, and its result is zero.

    Returns:
        The result, of the shape and type of x.

    Raises:
        ArrayError: a shape or an index does not fit; then no state has changed.
        DTypeError: an element type does not fit.
        SpecError: the activation is another one.
    """
    plain = cache_seqlens is None and conv_state_indices is None
    tensors = x, conv_state, weight, bias
    if plain and unwatched(*tensors) and not differentiated(*tensors):
        y = causal_step.update(*tensors, activation)
        if y is not None:
            return y
    return _update(x, conv_state, weight, bias, activation, cache_seqlens, conv_state_indices)


def _update(
    x: Tensor,
    state: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    activation: str | None,
    cache_seqlens: Tensor | None,
    indices: Tensor | None,
) -> Tensor:
    named = activation_named(activation)
    if x.dim() not in (2, 3):
        raise ArrayError(f"x is (N, C) or (N, C, L); got shape {tuple(x.shape)}")
    chunk = x.unsqueeze(2) if x.dim() == 2 else x
    kind, (chunk, weight, bias) = as_one_type(chunk, weight, bias)
    operator: Callable[..., Tensor] = causal_ops.causal_conv1d_update
    if _recorded(chunk, state, weight, bias):
        operator = _by_parts
    arguments = chunk, state, weight, bias, cache_seqlens, indices, named
    y: Tensor = as_it_is(x.device.type, operator, *arguments)
    return (y.squeeze(2) if x.dim() == 2 else y).to(kind)


def _by_parts(
    x: Tensor,
    state: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    cache_seqlens: Tensor | None,
    indices: Tensor | None,
    activation: str | None,
) -> Tensor:
    """Update states by a convolution and a copy, each of which autograd and transforms take."""
    check(x, weight, bias, None)
    check_states(x, state, weight, cache_seqlens, indices)
    if cache_seqlens is not None or indices is not None:
        raise ArrayError(
            "gradients go through states that are all those of x, without cache_seqlens and "
            "conv_state_indices (use torch.no_grad(), or causal_conv1d_fn with initial_states)"
        )
    kept = state.shape[2]
    longer = torch.cat([state.to(x.dtype), x], dim=2)
    y, _ = causal_ops.causal_conv1d(longer, weight, bias, None, None, activation, 1, False)
    state.copy_(longer[..., longer.shape[2] - kept :])
    return y[..., kept:]


def _recorded(*tensors: Tensor | None) -> bool:
    """Whether autograd, or a transform, has to see what becomes of these."""
    if not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active():
        return True
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def _check_out(out: Tensor, x: Tensor, weight: Tensor, initial: Tensor | None) -> None:
    length = weight.shape[1] - 1 if initial is None else initial.shape[2]
    wanted = *x.shape[:2], length
    if tuple(out.shape) != tuple(wanted):
        raise ArrayError(
            f"final_states_out is (N, C, S) = {tuple(wanted)}; got shape {tuple(out.shape)}"
        )
    if not out.dtype.is_floating_point:
        raise DTypeError(f"final_states_out is of floating point; got {out.dtype}")
