"""Where sequences lie in memory, where each begins, and which state is its own.

Arrays are seen as (N, C, L), whatever their layout and whatever their order in memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from depthwise.errors import ArrayError
from depthwise.functions.causal_posed import Numbers, Posed, whole_numbers
from depthwise.problem.arrays import Array
from depthwise.problem.causal import CausalSpec
from depthwise.problem.values import shown
from depthwise.schedule.causal import Lies
from depthwise.schedule.causal import Numbers as Table


def lies(view: Array, *, channels_last: bool) -> Lies | None:
    """Return how an array lies, None where it does not lie so: its neighbours are none.

    One without elements lies as anybody wants, whatever its strides are.
    """
    if not view.size:
        return Lies(channels_last, 0, 0)
    if any(stride % view.itemsize for stride in view.strides):
        return None
    sequence, by_channel, by_time = (stride // view.itemsize for stride in view.strides)
    _, channels, times = view.shape
    if channels_last:
        together, step = by_channel == 1 or channels == 1, by_time
    else:
        together, step = by_time == 1 or times <= 1, by_channel
    return Lies(channels_last, step, sequence) if together else None


def are_whole(states: Array, *, channels_last: bool) -> bool:
    """Whether each of the states (N, C, S) lies as machine code takes them, in one piece."""
    each = states[:1].transpose(0, 2, 1) if channels_last else states[:1]
    return bool(each.flags.c_contiguous) and states.strides[0] % states.itemsize == 0


def in_order(view: Array, *, channels_last: bool) -> Array:
    """Return (N, C, L) with its axes as they lie in memory, or the other way round."""
    return view.transpose(0, 2, 1) if channels_last else view


def copied(view: Array, *, channels_last: bool) -> Array:
    """Return a copy of (N, C, L) that is in one piece, in this order in memory."""
    ordered = np.ascontiguousarray(in_order(view, channels_last=channels_last))
    return in_order(ordered, channels_last=channels_last)


def pieces(found: Posed, numbers: Numbers) -> Table:
    """Return (sequence in x, its first time, its length) of each sequence.

    Raises:
        ArrayError: what tells one from the next does not fit.
    """
    batch, _, length = found.x.shape
    if numbers.cu_seqlens is not None:
        return _of_lengths(whole_numbers(numbers.cu_seqlens, "cu_seqlens"), found)
    if numbers.seq_idx is not None:
        return _of_numbers(whole_numbers(numbers.seq_idx, "seq_idx"), found)
    return np.stack(
        [np.arange(batch), np.zeros(batch, np.int64), np.full(batch, length, np.int64)], axis=1
    )


def _of_lengths(ends: Array, found: Posed) -> Table:
    length = found.x.shape[2]
    lengths = np.diff(ends)
    if ends[0] != 0 or ends[-1] != length or (lengths < 0).any():
        raise ArrayError(
            f"cu_seqlens begins with 0, never falls, and ends with the length of x, {length}; "
            f"got {shown(ends.tolist())}: {found.spec}"
        )
    return np.stack([np.zeros_like(lengths), ends[:-1], lengths], axis=1)


def _of_numbers(given: Array, found: Posed) -> Table:
    batch, _, length = found.x.shape
    if given.shape != (batch, length):
        raise ArrayError(
            f"seq_idx has a number for each time of each sequence, {(batch, length)}; got shape "
            f"{given.shape}: {found.spec}"
        )
    begins = np.ones((batch, length), bool)
    begins[:, 1:] = given[:, 1:] != given[:, :-1]
    row, start = np.nonzero(begins)
    lengths = np.diff(np.append(row * length + start, batch * length))
    return np.stack([row, start, lengths], axis=1)


def chosen(numbers: Numbers, count: int, states: int, spec: CausalSpec, *, updates: bool) -> Table:
    """Return which of the initial states is that of each sequence.

    Args:
        numbers: what a call is given.
        count: how many sequences there are.
        states: how many states there are.
        spec: the problem, for errors.
        updates: whether each sequence writes to its own.

    Raises:
        ArrayError: there is none of a number, or several sequences would write to one.
    """
    if numbers.state_indices is None:
        return np.arange(count)
    given = whole_numbers(numbers.state_indices, "state_indices")
    if given.shape != (count,):
        raise ArrayError(
            f"state_indices has one number for each of {count} sequences; got shape "
            f"{given.shape}: {spec}"
        )
    outside = given[(given < 0) | (given >= states)]
    if outside.size:
        raise ArrayError(
            f"a state is one of {states}, numbered from 0; got {shown(outside.tolist())}: {spec}"
        )
    if updates and len(np.unique(given)) != len(given):
        raise ArrayError(
            f"each sequence updates a state of its own; got {shown(given.tolist())}: {spec}"
        )
    return given


@dataclass(frozen=True)
class States:
    """The states of a call."""

    array: Array | None
    """(any number, C, S), each in one piece; None where there are none."""
    each: Table
    """Which is that of each sequence."""
    written: bool

    def places(self, count: int) -> Table:
        """Return where the state of each of so many sequences begins, counted in elements."""
        if self.array is None or not self.array.size:
            return np.zeros(count, np.int64)
        return self.each * (self.array.strides[0] // self.array.itemsize)
