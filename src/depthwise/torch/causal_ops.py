"""Causal convolution of sequences as two operators: one differentiable, one that updates states.

    causal_conv1d(x, weight, bias, initial_states, seq_idx, activation, dilation, final)
    causal_conv1d_update(x, conv_state, weight, bias, cache_seqlens, conv_state_indices, activation)

All tensors of a call are of one element type.  bfloat16 and float16 are computed in float32, and
rounded once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from depthwise.functions import causal
from depthwise.torch import causal_fallback
from depthwise.torch.batching import Dims, at_front, folded, unfolded
from depthwise.torch.causal_fused import fused
from depthwise.torch.causal_gradient import Given, gradients
from depthwise.torch.causal_shapes import (
    as_lies,
    check,
    check_seq_idx,
    check_states,
    empty_as,
    state_length,
)
from depthwise.torch.causal_states import stepped
from depthwise.torch.dtypes import DTYPES
from depthwise.torch.flops import count_flops
from depthwise.torch.registry import LIBRARY, TAGS, operator


def _compute(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    initial: Tensor | None,
    seq_idx: Tensor | None,
    activation: str | None,
    dilation: int,
    final: bool,
) -> tuple[Tensor, Tensor]:
    _check(x, weight, bias, initial, seq_idx, dilation, final)
    if x.is_cpu and x.dtype not in DTYPES:
        tensors = [each if each is None else each.float() for each in (x, weight, bias, initial)]
        others: tuple[Any, ...] = seq_idx, activation, dilation, final
        y, state = _compute(*tensors, *others)  # type: ignore[arg-type]
        return y.to(x.dtype), state.to(x.dtype)
    y = _convolved(x, weight, bias, initial, seq_idx, activation, dilation)
    if not final:
        return as_lies(y, x), x.new_empty(0)
    return as_lies(y, x), as_lies(causal_fallback.final_states(x, weight, initial, dilation), x)


def _convolved(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    initial: Tensor | None,
    seq_idx: Tensor | None,
    activation: Any,
    dilation: int,
) -> Tensor:
    if not x.is_cpu or not x.numel():
        return causal_fallback.causal_conv1d(
            x, weight, bias, initial, seq_idx, activation, dilation
        )
    y: Tensor = causal.causal_conv1d(
        x, weight, bias, activation=activation, dilation=dilation, seq_idx=seq_idx,
        initial_state=initial if initial is not None and initial.shape[2] else None,
    )  # fmt: skip
    if seq_idx is not None and bool((seq_idx < 0).any()):
        y.masked_fill_((seq_idx < 0).unsqueeze(1), 0)
    return y


def _check(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    initial: Tensor | None,
    seq_idx: Tensor | None,
    dilation: int,
    final: bool,
) -> None:
    check(x, weight, bias, initial, dilation)
    if seq_idx is not None:
        check_seq_idx(x, seq_idx, states=final or initial is not None)


def _fake(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    initial: Tensor | None,
    seq_idx: Tensor | None,
    activation: str | None,
    dilation: int,
    final: bool,
) -> tuple[Tensor, Tensor]:
    del activation
    _check(x, weight, bias, initial, seq_idx, dilation, final)
    if not final:
        return empty_as(x, x.shape[2]), x.new_empty(0)
    return empty_as(x, x.shape[2]), empty_as(x, state_length(weight, initial, dilation))


def _setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    del output
    *tensors, ctx.activation, ctx.dilation, ctx.final = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad: Tensor, grad_final: Tensor) -> tuple[Tensor | None, ...]:
    attributes: tuple[Any, ...] = ctx.activation, ctx.dilation
    given = Given(*ctx.saved_tensors, *attributes)
    final, needs = grad_final if ctx.final else None, ctx.needs_input_grad[:4]
    found = fused(grad, final, given, needs)
    if found is None:
        found = gradients(grad, final, given, needs, lambda each: causal_conv1d(*each, False)[0])
    return *found, None, None, None, None


def _vmap(
    info: Any,
    dims: Dims,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    initial: Tensor | None,
    seq_idx: Tensor | None,
    *others: Any,
) -> tuple[tuple[Tensor, Tensor], tuple[int | None, int | None]]:
    size, final = info.batch_size, others[-1]
    if dims[1] is dims[2] is None:
        axis = 0
        numbers = None if seq_idx is None else at_front(seq_idx, dims[4], size).flatten(0, 1)
    elif dims[4] is None:
        axis, numbers = 1, seq_idx
        weight = at_front(weight, dims[1], size).flatten(0, 1)
        bias = None if bias is None else at_front(bias, dims[2], size).flatten()
    else:
        return _one_by_one(size, dims, (x, weight, bias, initial, seq_idx), others)
    states = None if initial is None else folded(initial, dims[3], size, axis)
    image = folded(x, dims[0], size, axis)
    y, state = causal_conv1d(image, weight, bias, states, numbers, *others)
    y, at = unfolded(y, size, axis)
    return (y, unfolded(state, size, axis)[0] if final else state), (at, at if final else None)


def _one_by_one(
    size: int, dims: Dims, tensors: tuple[Tensor | None, ...], others: tuple[Any, ...]
) -> tuple[tuple[Tensor, Tensor], tuple[int, int]]:
    found = [
        causal_conv1d(
            *(
                each if dim is None or each is None else each.select(dim, i)
                for each, dim in zip(tensors, dims, strict=False)
            ),
            *others,
        )
        for i in range(size)
    ]
    y, state = (torch.stack(parts) for parts in zip(*found, strict=True))
    return (y, state), (0, 0)


def _update_fake(
    x: Tensor, state: Tensor, weight: Tensor, bias: Tensor | None, *numbers: Any
) -> Tensor:
    check(x, weight, bias, None)
    check_states(x, state, weight, *numbers[:2])
    return empty_as(x, x.shape[2])


causal_conv1d: Callable[..., tuple[Tensor, Tensor]] = operator(
    "causal_conv1d(Tensor x, Tensor weight, Tensor? bias, Tensor? initial_states, "
    "Tensor? seq_idx, str? activation, SymInt dilation, bool final) -> (Tensor, Tensor)",
    _compute,
    fake=_fake,
    setup_context=_setup,
    backward=_backward,
    vmap=_vmap,
)

LIBRARY.define(
    "causal_conv1d_update(Tensor x, Tensor(a!) conv_state, Tensor weight, Tensor? bias, "
    "Tensor? cache_seqlens, Tensor? conv_state_indices, str? activation) -> Tensor",
    tags=TAGS,
)
LIBRARY.impl("causal_conv1d_update", stepped, "CompositeExplicitAutograd")
torch.library.register_fake(f"{LIBRARY.ns}::causal_conv1d_update", _update_fake, lib=LIBRARY)
count_flops(torch.ops.depthwise.causal_conv1d_update)
causal_conv1d_update: Callable[..., Tensor] = torch.ops.depthwise.causal_conv1d_update.default
