"""Concatenations of ONNX along the channels of images, slices and splits."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TypeAlias, cast

from depthwise.network.graph import Value
from depthwise.network.operators import Concat, Operator, Slice, closed_axis, sliced
from depthwise.onnx.attributes import Given

Read: TypeAlias = "tuple[Operator, list[Value | None]] | None"


def concat(given: Given) -> Read:
    """Read a concatenation along an axis whose sizes are known."""
    if any(x is None for x in given.inputs) or all(
        x and x.constant is not None for x in given.inputs
    ):
        return None
    axes = {_axis(given.attributes["axis"], x) for x in given.inputs if x}
    axis = axes.pop()
    return (Concat(axis=axis), given.inputs) if axis is not None and not axes else None


def cut(given: Given) -> Read:
    """Read a slice of one axis that goes forward."""
    starts, ends = given.numbers("starts", 1), given.numbers("ends", 2)
    if not starts or not ends or given.x.constant is not None:
        return None
    axes = given.numbers("axes", 3)
    steps = [1] if given.is_left_out(4) else given.numbers("steps", 4)
    if axes is None:
        axes = [0] if given.is_left_out(3) else []
    if len(axes) != 1 or len(starts) != 1 or not steps or steps[0] < 1:
        return None
    axis = _axis(axes[0], given.x)
    found = (
        None if axis is None else sliced(axis, _size(given.x, axis), starts[0], ends[0], steps[0])
    )
    return None if found is None else (found, [given.x])


def parts(given: Given) -> list[Slice]:
    """Return a slice for each output of a split; none where it is another node."""
    proto = given.proto
    if proto.op_type != "Split" or proto.domain not in ("", "ai.onnx") or not given.inputs:
        return []
    if given.inputs[0] is None or given.x.constant is not None or not all(proto.output):
        return []
    axis = _axis(int(given.attributes.get("axis", 0)), given.x)
    if axis is None or any(_axis(axis, made) is None for made in given.outputs):
        return []
    counts = [_size(made, axis) for made in given.outputs]
    ends = pairwise(accumulate(counts, initial=0))
    found = [sliced(axis, _size(given.x, axis), start, stop) for start, stop in ends]
    return [] if None in found else cast("list[Slice]", found)


def _axis(axis: int, value: Value) -> int | None:
    return closed_axis(axis, value.sizes or ())


def _size(value: Value, axis: int) -> int:
    return cast("tuple[int, ...]", value.shape)[axis]
