"""Causal convolution of sequences, whole or chunk by chunk: the NumPy face.

Sequences may have any length, 0 too, and lie in memory as they like, as long as neighbouring times
or neighbouring channels are neighbours: the machine code is told where each of them is.
"""

from __future__ import annotations

from typing import Any

from depthwise.functions.causal_call import call
from depthwise.functions.causal_posed import Arrays, Asked, Numbers
from depthwise.problem.arrays import Given
from depthwise.problem.vocabulary import Activation


def causal_conv1d(
    x: Given,
    weight: Any,
    bias: Any = None,
    *,
    activation: Activation | None = None,
    initial_state: Any = None,
    return_final_state: bool = False,
    layout: str = "NCL",
    dilation: int = 1,
    seq_idx: Any = None,
    cu_seqlens: Any = None,
    state_indices: Any = None,
    final_state_out: Any = None,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Convolve each channel of sequences with a filter of its own that reads nothing ahead.

    Equivalent to `activation(F.conv1d(F.pad(x, (dilation * (K - 1), 0)), weight[:, None], bias,
    dilation=dilation, groups=C))`; with an initial state that stands where `F.pad` puts zeros.
    Chunks of a sequence, each with the state that the one before it left, give what the whole
    sequence gives, to the last bit.

    Args:
        x: (N, C, L) or (N, L, C), or either without N; L may be 0.
        weight: (C, K) or (C, 1, K), whatever the layout.
        bias: (C,) or None.
        activation: None or one of `depthwise.problem.vocabulary.ACTIVATIONS`.
        initial_state: the last elements before each sequence, (N, C, S) or (N, S, C), with S of
            dilation * (K - 1) or more; None is zeros.
        return_final_state: whether to return the state after each sequence, too.
        layout: "NCL" or "NLC", of x, of states and of the result.
        dilation: the distance between taps.
        seq_idx: (N, L) whole numbers: where the number changes another sequence begins, before
            which there are zeros.  It goes with no states.
        cu_seqlens: (sequences + 1,) whole numbers: x is one row (1, C, L) of sequences behind one
            another, and these are where each begins, and L.  States are then (sequences, C, S).
        state_indices: one whole number for each sequence, which of the initial states is its own:
            these are then (any number, C, S).
        final_state_out: where to write the states after the sequences: (N, C, S), or the array that
            is the initial state too, which is updated in place, at the indices that are given.
        out: an array of the shape of x to write to.
        threads: how many threads to use; None is `team.size()`.

    Returns:
        The result, of the shape and kind of x; with `return_final_state` it and the final state.

    Raises:
        SpecError: the problem cannot exist.
        ArrayError: an array does not fit the problem, or cannot be written to.
        DTypeError: an array is of another element type, or not an array.
    """
    updates = final_state_out is not None and final_state_out is initial_state
    final = None if updates else final_state_out
    return call(
        Asked(activation, dilation, layout, return_final_state, updates),
        Arrays(x, weight, bias, initial_state, final, out),
        Numbers(seq_idx, cu_seqlens, state_indices), threads,
    )  # fmt: skip


def causal_conv1d_update(
    x: Given,
    state: Any,
    weight: Any,
    bias: Any = None,
    *,
    activation: Activation | None = None,
    layout: str = "NCL",
    dilation: int = 1,
    state_indices: Any = None,
    out: Any = None,
    threads: int | None = None,
) -> Given:
    """Convolve the next step, or chunk, of sequences, and update their states in place.

    Equivalent to `y, state[:] = causal_conv1d(x, weight, bias, initial_state=state,
    return_final_state=True, ...)`.

    Args:
        x: one step, (N, C), or a chunk, (N, C, L) or (N, L, C).
        state: the last elements before x, (N, C, S) or (N, S, C), with S of dilation * (K - 1) or
            more; afterwards the last ones of it and x.
        weight: (C, K) or (C, 1, K), whatever the layout.
        bias: (C,) or None.
        activation: None or one of `depthwise.problem.vocabulary.ACTIVATIONS`.
        layout: "NCL" or "NLC", of x, of the state and of the result.
        dilation: the distance between taps.
        state_indices: (N,) whole numbers, which of the states, (any number, C, S), are those of x.
        out: an array of the shape of x to write to.
        threads: how many threads to use; None is `team.size()`.

    Returns:
        The result, of the shape and kind of x.

    Raises:
        SpecError: the problem cannot exist.
        ArrayError: an array does not fit the problem, or cannot be written to; then no state has
            changed.
        DTypeError: an array is of another element type, or not an array.
    """
    result: Given = call(
        Asked(activation, dilation, layout, returns_state=False, updates=True, steps=True),
        Arrays(x, weight, bias, state, None, out),
        Numbers(state_indices=state_indices), threads,
    )  # fmt: skip
    return result
