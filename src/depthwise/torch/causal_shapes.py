"""What the tensors of a causal convolution have to be, and how its results lie in memory.

One rule for real and for fake tensors.  Sequences are (N, C, L), whatever their order in memory.
"""

from __future__ import annotations

import torch
from torch import Tensor

from depthwise.errors import ArrayError, DTypeError, SpecError
from depthwise.torch.formats import same_kind

_WORDS = {None: None, "silu": "silu", "swish": "silu"}


def activation_named(word: str | None) -> str | None:
    """Return the activation that the package causal-conv1d calls so.

    Raises:
        SpecError: it has no such.
    """
    try:
        return _WORDS[word]
    except (KeyError, TypeError):
        raise SpecError(f"activation is None, 'silu' or 'swish' (the same); got {word!r}") from None


def check(
    x: Tensor, weight: Tensor, bias: Tensor | None, state: Tensor | None, dilation: int = 1
) -> None:
    """Refuse sequences, weights and states that do not fit.

    Args:
        x: (N, C, L).
        weight: (C, K).
        bias: (C,) or None.
        state: (N, C, S) with S of dilation * (K - 1) or more, or None.
        dilation: the distance between taps.

    Raises:
        ArrayError: a shape is another one, or a tensor is on another device.
        DTypeError: an element type is another one, or none of floating point.
    """
    if x.dim() != 3 or x.shape[1] == 0:
        raise ArrayError(f"x is (N, C, L), with channels; got shape {tuple(x.shape)}")
    batch, channels, _ = x.shape
    if weight.dim() != 2 or weight.shape[0] != channels or weight.shape[1] == 0:
        raise ArrayError(
            f"weight is (C, K) with C = {channels}, K at least 1 (a module's (C, 1, K) is that "
            f"after .squeeze(1)); got shape {tuple(weight.shape)}"
        )
    if bias is not None and tuple(bias.shape) != (channels,):
        raise ArrayError(f"bias is (C,) with C = {channels}; got shape {tuple(bias.shape)}")
    before = dilation * (weight.shape[1] - 1)
    if state is not None:
        fits = state.dim() == 3 and tuple(state.shape[:2]) == (batch, channels)
        if not fits or state.shape[2] < before:
            raise ArrayError(
                f"the state is (N, C, S) with N = {batch}, C = {channels} and S of {dilation} * "
                f"({weight.shape[1]} - 1) = {before} or more; got shape {tuple(state.shape)}"
            )
    for other in (weight, bias, state):
        if other is not None:
            same_kind(x, other)
    if not x.dtype.is_floating_point:
        raise DTypeError(f"x is of floating point; got {x.dtype}")


def check_seq_idx(x: Tensor, seq_idx: Tensor, *, states: bool) -> None:
    """Refuse numbers of sequences that do not fit (N, C, L), or that go with states.

    Raises:
        ArrayError: their shape is another one, or there are states.
        DTypeError: they are no whole numbers.
    """
    if states:
        raise ArrayError(
            "sequences that seq_idx tells apart have no states; got seq_idx and initial_states, "
            "final_states_out or return_final_states"
        )
    wanted = x.shape[0], x.shape[2]
    if tuple(seq_idx.shape) != tuple(wanted):
        raise ArrayError(
            f"seq_idx is (N, L), a number for each element, {tuple(wanted)}; got shape "
            f"{tuple(seq_idx.shape)}"
        )
    check_whole(seq_idx, "seq_idx")


def check_states(
    x: Tensor, state: Tensor, weight: Tensor, cache_seqlens: Tensor | None, indices: Tensor | None
) -> None:
    """Refuse states of `causal_conv1d_update` that do not fit x (N, C, L), and their numbers.

    Raises:
        ArrayError: a shape is another one, or a tensor is on another device.
        DTypeError: an element type is another one.
    """
    batch, channels, _ = x.shape
    before = weight.shape[1] - 1
    entries = batch if indices is None else None
    fits = state.dim() == 3 and state.shape[1] == channels and state.shape[2] >= before
    if not fits or entries not in (None, state.shape[0]):
        number = f"N = {batch}" if indices is None else "any N"
        raise ArrayError(
            f"conv_state is (N, C, S) with {number}, C = {channels} and S of K - 1 = {before} or "
            f"more; got shape {tuple(state.shape)}"
        )
    if not state.dtype.is_floating_point:
        raise DTypeError(f"conv_state is of floating point; got {state.dtype}")
    if state.device != x.device:
        raise ArrayError(f"tensors are on one device; got {x.device} and {state.device}")
    for numbers, name in ((cache_seqlens, "cache_seqlens"), (indices, "conv_state_indices")):
        if numbers is None:
            continue
        if tuple(numbers.shape) != (batch,):
            raise ArrayError(
                f"{name} is (N,), a number for each of {batch} sequences; got shape "
                f"{tuple(numbers.shape)}"
            )
        check_whole(numbers, name)


def check_whole(tensor: Tensor, name: str) -> None:
    """Raise DTypeError where a tensor has no whole numbers."""
    if tensor.dtype.is_floating_point or tensor.dtype.is_complex or tensor.dtype == torch.bool:
        raise DTypeError(f"{name} has whole numbers, as torch.int32; got {tensor.dtype}")


def channels_last(x: Tensor) -> bool:
    """Whether neighbouring channels of (N, C, L) are neighbours in memory, not times."""
    if x.shape[1] == 1 or x.shape[2] <= 1:
        return False
    return x.stride(1) == 1 and x.stride(2) != 1


def empty_as(x: Tensor, length: int) -> Tensor:
    """Return new sequences (N, C, `length`) that lie as `x` does."""
    batch, channels, _ = x.shape
    if channels_last(x):
        return x.new_empty((batch, length, channels)).transpose(1, 2)
    return x.new_empty((batch, channels, length))


def as_lies(sequences: Tensor, x: Tensor) -> Tensor:
    """Return (N, C, any length) lying as `x` does; itself where it does."""
    if channels_last(x):
        return sequences.transpose(1, 2).contiguous().transpose(1, 2)
    return sequences.contiguous()


def state_length(weight: Tensor, state: Tensor | None, dilation: int) -> int:
    """Return how many elements a channel's state has: as many as that given, or as are read."""
    return dilation * (weight.shape[1] - 1) if state is None else state.shape[2]
