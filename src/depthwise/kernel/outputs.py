"""Where a call writes its result that is given an array for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from depthwise.kernel.addresses import addresses_of, signature
from depthwise.problem.arrays import (
    Array,
    Memory,
    check_output,
    check_writable,
    is_tensor,
    overlap,
    written,
)
from depthwise.problem.problem import Problem

Target: TypeAlias = Callable[[Any, Sequence[Any]], Memory]
"""`target(out, memory)` returns the memory to write to, where `memory` is read meanwhile.

It raises ArrayError where `out` cannot be written to.
"""


def target_signature(out: Any) -> Any:
    """Return what `target_for` depends on, None where an output is looked at in each call."""
    try:
        return signature(out)
    except TypeError:
        return None


def target_for(
    out: Any, view: Array, given: Sequence[Any], views: Sequence[Array], spec: Problem
) -> Target | None:
    """Check an output, and return what gives the memory of outputs with the same signature.

    What their signature does not tell is checked in each call: that an array may be written to, and
    that it shares no memory with what is read.

    Args:
        out: what the caller gave.
        view: the same memory in the shape of the problem's output.
        given: the arrays that are read.
        views: their memory in the shapes of the problem's inputs.
        spec: the problem.

    Returns:
        None where an array has to be copied, or arrays are of several kinds.
    """
    check_output(view, spec)
    if not all(array.flags.c_contiguous for array in (view, *views)):
        return None
    if all(map(is_tensor, (out, *given))):
        return _of_tensors(out, view.nbytes, [array.nbytes for array in views], spec)
    if all(type(each) is np.ndarray and each.flags.c_contiguous for each in (out, *given)):
        return _of_arrays(spec)
    return None


def _of_tensors(out: Any, size: int, sizes: Sequence[int], spec: Problem) -> Target:
    address_of = addresses_of((out,), ("out",))

    def target(same: Any, memory: Sequence[Any]) -> int:
        (start,) = address_of((same,))
        end = start + size
        for first, length in zip(memory, sizes):  # noqa: B905 (twice as fast)
            if first < end and start < first + length:
                raise overlap(spec)
        written(same)
        return start

    return target


def _of_arrays(spec: Problem) -> Target:
    def target(same: Any, memory: Sequence[Any]) -> Array:
        check_writable(same, spec)
        for array in memory:
            if np.may_share_memory(same, array):
                raise overlap(spec)
        return same  # type: ignore[no-any-return]

    return target
