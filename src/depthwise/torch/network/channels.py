"""Concatenations of torch along the channels of images, slices and splits."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from math import ceil
from typing import Any, TypeAlias, cast

from torch import fx

from depthwise.network.graph import Value
from depthwise.network.operators import Concat, Operator, Slice, closed_axis, sliced
from depthwise.problem.dtypes import DTYPES
from depthwise.torch.network.operators import arguments

Read: TypeAlias = "tuple[Operator, list[Value | None]] | None"
Find: TypeAlias = "Callable[[Any], Value | None]"


def concat(value: Find, node: fx.Node) -> Read:
    """Read a concatenation along an axis whose sizes are known."""
    given = arguments(node)
    found = [value(each) for each in given["tensors"]]
    if any(x is None for x in found) or all(x and x.constant is not None for x in found):
        return None
    axes = {closed_axis(given["dim"], x.sizes or ()) for x in found if x}
    kinds = {x.dtype for x in found if x}
    axis = axes.pop()
    return None if axis is None or axes or len(kinds) > 1 else (Concat(axis=axis), found)


def cut(value: Find, node: fx.Node) -> Read:
    """Read a slice."""
    given = arguments(node)
    ends = given["start"], given["end"]
    known = all(end is None or type(end) is int for end in (*ends, given["step"]))
    return _read(value, given, *ends, given["step"]) if known else None


def part(value: Find, node: fx.Node) -> Read:
    """Read one of the parts of what is split."""
    whole, number = cast("tuple[fx.Node, int]", node.args)
    given = arguments(whole)
    x = value(given["self"])
    axis = None if x is None else closed_axis(given["dim"], x.sizes or ())
    if x is None or axis is None:
        return None
    counts = _counts(given, cast("tuple[int, ...]", x.shape)[axis])
    start, stop = [*accumulate(counts, initial=0)][number : number + 2]
    return _read(value, given, start, stop)


SPLITS = ("split", "split_with_sizes", "chunk", "unsafe_chunk", "unsafe_split")
"""What makes a list of parts."""


def _counts(given: dict[str, Any], size: int) -> list[int]:
    """Return the sizes of the parts of an axis."""
    if "chunks" in given:
        each = ceil(size / given["chunks"])
    elif isinstance(given.get("split_size"), int):
        each = given["split_size"]
    else:
        return list(given.get("split_sizes") or given["split_size"])
    return [min(each, size - start) for start in range(0, size, each)]


def roll(value: Find, node: fx.Node) -> list[tuple[Slice, Slice, Concat]]:
    """Read what is rolled as parts that change places, along one axis after the other.

    It is empty where that cannot be said, or where nothing is rolled.
    """
    given = arguments(node)
    x, made = value(given["self"]), value(node)
    if made is None or made.dtype not in DTYPES:
        return []
    found = []
    for axis, shift in zip(given["dims"], given["shifts"], strict=False):
        at = None if x is None or x.constant is not None else closed_axis(axis, x.sizes or ())
        if x is None or at is None or type(shift) is not int:
            return []
        size = cast("tuple[int, ...]", x.shape)[at]
        first = -shift % size
        if first:
            parts = Slice(axis=at, start=first, stop=size), Slice(axis=at, start=0, stop=first)
            found.append((*parts, Concat(axis=at)))
    return found


def _read(
    value: Find, given: dict[str, Any], start: int | None, stop: int | None, step: int = 1
) -> Read:
    x = value(given["self"])
    axis = None if x is None or x.constant is not None else closed_axis(given["dim"], x.sizes or ())
    if x is None or axis is None:
        return None
    found: Slice | None = sliced(axis, cast("tuple[int, ...]", x.shape)[axis], start, stop, step)
    return None if found is None else (found, [x])
