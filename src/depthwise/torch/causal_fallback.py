"""Causal convolutions of what kernels do not take, made of torch's own operators."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the name that everyone gives it)

from depthwise.torch.activations import activate
from depthwise.torch.causal_shapes import state_length


def causal_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    initial: Tensor | None,
    seq_idx: Tensor | None,
    activation: str | None,
    dilation: int,
) -> Tensor:
    """Return the result that the operator of that name has; arguments are its."""
    channels, taps = weight.shape
    before = dilation * (taps - 1)
    if not x.numel():
        return torch.zeros_like(x)
    if seq_idx is None:
        longer = F.pad(x, (before, 0)) if initial is None else _behind(initial, x, before)
        y = F.conv1d(longer, weight.unsqueeze(1), bias, dilation=dilation, groups=channels)
        return activate(y, activation)
    y = torch.zeros_like(x) if bias is None else bias[:, None].expand_as(x)
    for tap in range(taps):
        distance = dilation * (taps - 1 - tap)
        seen = earlier(x, distance) * same_sequence(seq_idx, distance).unsqueeze(1)
        y = y + seen * weight[:, tap, None]
    return activate(y, activation) * (seq_idx >= 0).unsqueeze(1)


def final_states(x: Tensor, weight: Tensor, initial: Tensor | None, dilation: int) -> Tensor:
    """Return a new tensor (N, C, S): the last elements of the initial states and x."""
    length = state_length(weight, initial, dilation)
    if initial is None:
        initial = x.new_zeros((*x.shape[:2], length))
    joined = torch.cat([initial, x[..., max(0, x.shape[2] - length) :]], dim=2)
    return joined[..., joined.shape[2] - length :].contiguous()


def earlier(sequences: Tensor, distance: int) -> Tensor:
    """Return what lies so far before each element of the last axis, zero where there is nothing."""
    length = sequences.shape[-1]
    kept = sequences[..., : max(0, length - distance)]
    return F.pad(kept, (length - kept.shape[-1], 0))


def same_sequence(seq_idx: Tensor, distance: int) -> Tensor:
    """Return whether the element so far before each lies in the same sequence: (N, L)."""
    if distance == 0:
        return torch.ones_like(seq_idx, dtype=torch.bool)
    runs = torch.ones_like(seq_idx, dtype=torch.int64)
    runs[:, 1:] = seq_idx[:, 1:] != seq_idx[:, :-1]
    runs = runs.cumsum(1)
    return runs == earlier(runs, distance)


def _behind(initial: Tensor, x: Tensor, before: int) -> Tensor:
    return torch.cat([initial[..., initial.shape[2] - before :], x], dim=2)
