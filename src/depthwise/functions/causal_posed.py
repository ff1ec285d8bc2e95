"""The problem that the arrays of a causal convolution pose, everything about them checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from depthwise.errors import ArrayError, DTypeError
from depthwise.problem.arrays import (
    Array,
    as_numpy,
    check_apart,
    check_writable,
    overlap,
)
from depthwise.problem.causal import CausalSpec
from depthwise.problem.values import word
from depthwise.problem.vocabulary import LAYOUTS_1D


class Asked(NamedTuple):
    """What is asked for, beside the arrays."""

    activation: Any
    dilation: Any
    layout: str
    returns_state: bool
    updates: bool
    """Whether the initial state is updated in place."""
    steps: bool = False
    """Whether x may be one step, (N, C)."""


class Arrays(NamedTuple):
    """What is given; `final` is None where it is the initial state, which is updated."""

    x: Any
    weight: Any
    bias: Any
    initial: Any
    final: Any
    out: Any


class Numbers(NamedTuple):
    """What tells one sequence from the next, and which states are theirs."""

    seq_idx: Any = None
    cu_seqlens: Any = None
    state_indices: Any = None


@dataclass(frozen=True)
class Posed:
    """A problem and its arrays, those of sequences and states seen as (N, C, L)."""

    spec: CausalSpec
    """Of sequences that are at least one element long."""
    x: Array
    weight: Array
    bias: Array | None
    initial: Array | None
    final: Array | None
    out: Array | None
    count: int
    """Sequences that have states."""


def posed(asked: Asked, arrays: Arrays, numbers: Numbers) -> Posed:
    """Return the problem of a call.

    Raises:
        SpecError, ArrayError, DTypeError: it cannot exist, or an array does not fit it.
    """
    word("layout", asked.layout, LAYOUTS_1D)
    x = _sequences(as_numpy(arrays.x, "x"), "x", asked)
    weight, bias = _weight(arrays.weight, x.shape[1]), arrays.bias
    initial, final = (
        None if given is None else seen(_rank(as_numpy(given, name), name, 3), asked.layout)
        for given, name in ((arrays.initial, "the state"), (arrays.final, "final_state_out"))
    )
    spec = CausalSpec(
        channels=x.shape[1], length=max(x.shape[2], 1), kernel=weight.shape[1],
        batch=max(x.shape[0], 1), dilation=asked.dilation, layout=asked.layout,  # type: ignore[arg-type]
        dtype=x.dtype.name, bias=bias is not None, activation=asked.activation,
    )  # fmt: skip
    state = next((each.shape[2] for each in (initial, final) if each is not None), None)
    if state is None and asked.returns_state:
        state = spec.before
    spec = replace(spec, state=state or 0)
    out = None if arrays.out is None else as_numpy(arrays.out, "out")
    found = Posed(
        spec, x, weight, None if bias is None else as_numpy(bias, "bias"), initial, final,
        None if out is None else _sequences(out, "out", asked), _count(numbers, x),
    )  # fmt: skip
    _check_types(found)
    _check_bias(found)
    _check_states(found, asked, numbers)
    _check_written(found, asked)
    return found


def seen(view: Array, layout: str) -> Array:
    """Return an array of a layout as (N, C, L), or one that is so in that layout."""
    return view.transpose(0, 2, 1) if layout == "NLC" else view


def whole_numbers(given: Any, name: str) -> Array:
    """Return an array of whole numbers.

    Raises:
        DTypeError: it is another one.
    """
    array = np.asarray(given)
    if array.dtype.kind not in "iu":
        raise DTypeError(f"{name} has whole numbers; got {array.dtype}")
    return array.astype(np.int64, copy=False)


def _sequences(view: Array, name: str, asked: Asked) -> Array:
    """Return an array as (N, C, L)."""
    if view.ndim == 2 and asked.steps:
        sequences = view[:, :, None]
    elif view.ndim in (2, 3) and not (view.ndim == 2 and asked.steps):
        sequences = seen(view if view.ndim == 3 else view[None], asked.layout)
    else:
        axes = "(N, C)" if asked.steps else "(C, L)"
        raise ArrayError(
            f"{name} is (N, C, L) or (N, L, C), as the layout has it, or {axes}; got shape "
            f"{view.shape}"
        )
    if not sequences.shape[1]:
        raise ArrayError(f"{name} has channels; got shape {view.shape}")
    return sequences


def _rank(view: Array, name: str, rank: int) -> Array:
    if view.ndim != rank:
        raise ArrayError(f"{name} has {rank} axes; got shape {view.shape}")
    return view


def _weight(given: Any, channels: int) -> Array:
    """Return the weight as (C, K)."""
    view = as_numpy(given, "weight")
    taps = view[:, 0] if view.ndim == 3 and view.shape[1] == 1 else view
    if taps.ndim != 2 or taps.shape[0] != channels or 0 in taps.shape:
        raise ArrayError(
            f"weight is (C, K) or (C, 1, K) with C = {channels}, none empty; got {view.shape}"
        )
    return taps


def _count(numbers: Numbers, x: Array) -> int:
    """Return how many sequences have states."""
    if numbers.cu_seqlens is None:
        return len(x)
    if numbers.seq_idx is not None:
        raise ArrayError("sequences are told apart by seq_idx or by cu_seqlens; got both")
    ends = whole_numbers(numbers.cu_seqlens, "cu_seqlens")
    if len(x) != 1 or ends.ndim != 1 or not ends.size:
        raise ArrayError(
            f"cu_seqlens, (sequences + 1,), says where sequences lie in one row, N = 1; got shape "
            f"{ends.shape} for N = {len(x)}"
        )
    return len(ends) - 1


def _check_types(found: Posed) -> None:
    named = {
        "weight": found.weight, "bias": found.bias, "the state": found.initial,
        "final_state_out": found.final, "out": found.out,
    }  # fmt: skip
    for name, array in named.items():
        if array is not None and array.dtype != found.x.dtype:
            raise DTypeError(
                f"{name} has the dtype of x, {found.x.dtype}; got {array.dtype}: {found.spec}"
            )


def _check_bias(found: Posed) -> None:
    if found.bias is not None and found.bias.shape != (found.spec.channels,):
        raise ArrayError(
            f"bias is (C,) with C = {found.spec.channels}; got {found.bias.shape}: {found.spec}"
        )


def _check_states(found: Posed, asked: Asked, numbers: Numbers) -> None:
    spec, count = found.spec, found.count
    if numbers.seq_idx is not None and (spec.state or asked.returns_state):
        raise ArrayError(
            f"sequences that seq_idx tells apart have no states (use cu_seqlens); got one: {spec}"
        )
    if numbers.state_indices is not None and found.initial is None:
        raise ArrayError(f"state_indices are those of initial states; got none: {spec}")
    any_number = numbers.state_indices is not None
    for name, array in (("the state", found.initial), ("final_state_out", found.final)):
        if array is None:
            continue
        chosen = any_number and array is found.initial
        shape = (len(array) if chosen else count, spec.channels, spec.state)
        if array.shape != shape or spec.state < spec.before:
            at_least = f"{spec.dilation} * ({spec.kernel} - 1) = {spec.before}"
            raise ArrayError(
                f"{name} has {count} sequences of {spec.channels} channels and {at_least} "
                f"elements or more; got (N, C, S) = {array.shape}: {spec}"
            )


def _check_written(found: Posed, asked: Asked) -> None:
    """Refuse to write to what is read-only, or read or written meanwhile."""
    read = [found.x, found.weight, *([] if found.bias is None else [found.bias])]
    if found.out is not None:
        if found.out.shape != found.x.shape:
            raise ArrayError(
                f"out has the shape of x, (N, C, L) = {found.x.shape}; got {found.out.shape}: "
                f"{found.spec}"
            )
        check_writable(found.out, found.spec)
        check_apart(found.out, "out", found.spec)
        if any(np.may_share_memory(found.out, array) for array in read):
            raise overlap(found.spec)
    written = found.initial if asked.updates else found.final
    if written is None:
        return
    check_apart(written, "a state that is updated", found.spec)
    others = read if found.out is None else [*read, found.out]
    if found.initial is not None and not asked.updates:
        others = [*others, found.initial]
    check_state(written, others, found.spec)


def check_state(state: Array, others: list[Array], spec: CausalSpec) -> None:
    """Refuse a state that cannot be written to.

    Raises:
        ArrayError: it is read-only, or shares memory with another array.
    """
    if not state.flags.writeable:
        raise ArrayError(f"a state that is updated is writable; got a read-only array: {spec}")
    if any(np.may_share_memory(state, array) for array in others):
        raise shared(spec)


def shared(spec: CausalSpec) -> ArrayError:
    """Return the error of a state that shares memory with another array."""
    return ArrayError(
        f"a state that is updated shares no memory with another array; got one that may: {spec}"
    )
