"""The gradients of a causal convolution in one pass, where autograd does not record them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from depthwise.errors import ArrayError
from depthwise.functions.causal_gradients import causal_conv1d_gradients
from depthwise.problem.causal_gradient import DIFFERENTIATED
from depthwise.torch.causal_gradient import Given, Gradients
from depthwise.torch.causal_shapes import as_lies, check, check_seq_idx, empty_as
from depthwise.torch.dtypes import DTYPES
from depthwise.torch.flops import count_flops
from depthwise.torch.formats import same_kind
from depthwise.torch.registry import LIBRARY, TAGS, unwatched


def fused(
    grad: Tensor, grad_final: Tensor | None, given: Given, needs: Sequence[bool]
) -> Gradients | None:
    """Return all gradients, or None where they are not computed in one pass.

    Arguments are those of `causal_gradient.gradients`.
    """
    x = given.x
    if torch.is_grad_enabled() or torch._C._are_functorch_transforms_active():
        return None
    computed = x.is_cpu and x.dtype in DTYPES and given.activation in DIFFERENTIATED
    if not computed or not x.numel():
        return None
    tensors = grad, *given[:5]
    compute: Callable[..., Any] = _compute if unwatched(*tensors) else _dispatched
    of_x, of_weight, of_bias, of_initial = compute(*tensors, given.activation, given.dilation)
    if grad_final is not None:
        _add_final(of_x, of_initial, grad_final)
    found = of_x, of_weight, of_bias, of_initial
    return Gradients(*(each if needed else None for each, needed in zip(found, needs, strict=True)))


def _add_final(of_x: Tensor, of_initial: Tensor, grad_final: Tensor) -> None:
    """Add what elements have for a gradient as elements of the final states."""
    length, state = of_x.shape[2], grad_final.shape[2]
    shared = min(length, state)
    of_x[..., length - shared :] += grad_final[..., state - shared :]
    if length < state and of_initial.numel():
        of_initial[..., length:] += grad_final[..., : state - length]


def _compute(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    initial: Tensor | None,
    seq_idx: Tensor | None,
    activation: str | None,
    dilation: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    check(x, weight, bias, initial, dilation)
    same_kind(x, grad)
    if grad.shape != x.shape:
        raise ArrayError(f"grad is {tuple(x.shape)}, as x; got shape {tuple(grad.shape)}")
    if seq_idx is not None:
        check_seq_idx(x, seq_idx, states=initial is not None)
    if seq_idx is not None and bool((seq_idx < 0).any()):
        grad = grad.masked_fill((seq_idx < 0).unsqueeze(1), 0)
    states = initial if initial is not None and initial.shape[2] else None
    found = causal_conv1d_gradients(
        grad.resolve_neg(), x, weight, bias, activation=activation, dilation=dilation,
        initial_state=states, seq_idx=seq_idx,
    )  # fmt: skip
    of_state = x.new_empty(0 if initial is None else initial.shape)
    return (
        as_lies(found.x, x),
        found.weight[:, 0].clone(),
        x.new_empty(0) if found.bias is None else found.bias.clone(),
        of_state if found.state is None else as_lies(found.state, x).clone(),
    )


def _fake(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    initial: Tensor | None,
    *others: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    del grad, others
    return (
        empty_as(x, x.shape[2]),
        weight.new_empty(weight.shape),
        x.new_empty(0) if bias is None else bias.new_empty(bias.shape),
        x.new_empty(0) if initial is None else empty_as(x, initial.shape[2]),
    )


LIBRARY.define(
    "causal_conv1d_gradients(Tensor grad, Tensor x, Tensor weight, Tensor? bias, "
    "Tensor? initial_states, Tensor? seq_idx, str? activation, SymInt dilation) "
    "-> (Tensor, Tensor, Tensor, Tensor)",
    tags=TAGS,
)
LIBRARY.impl("causal_conv1d_gradients", _compute, "CompositeExplicitAutograd")
torch.library.register_fake(f"{LIBRARY.ns}::causal_conv1d_gradients", _fake, lib=LIBRARY)
count_flops(torch.ops.depthwise.causal_conv1d_gradients)
_dispatched = torch.ops.depthwise.causal_conv1d_gradients.default
