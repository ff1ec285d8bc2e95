"""Convolutions of sequences (N, C, L) of ONNX, and their pads, read as those of one row."""

from __future__ import annotations

import math
from typing import cast

from depthwise.network.operators import Concat, Convolution, Pad, Tail
from depthwise.onnx.attributes import Given
from depthwise.problem.spec import resolve_padding

_RANK = 3
_NO_END = 2**31 - 1
"""An end that is beyond all sequences."""


def convolution(given: Given) -> Convolution | None:
    """Return the convolution of images of one row that a node is; None where it is none."""
    weight, shape = given.constant(1), given.x.shape or ()
    if weight is None or weight.ndim != _RANK or len(shape) != _RANK:
        return None
    (stride,), (dilation,) = (given.attributes.get(name, (1,)) for name in ("strides", "dilations"))
    pads = _pads(given, weight.shape[2], int(stride), int(dilation))
    groups = int(given.attributes.get("group", 1))
    if pads is None or min(pads) < 0 or groups < 1:
        return None
    bias = given.constant(2)
    outputs, taken, taps = weight.shape
    fits = taken * groups == shape[1] and outputs % groups == 0
    fits = fits and list(given.attributes.get("kernel_shape", [taps])) == [taps]
    fits = fits and (given.is_left_out(2) or (bias is not None and bias.shape == (outputs,)))
    if not fits or shape[2] + sum(pads) < dilation * (taps - 1) + 1:
        return None
    return Convolution(
        stride=(1, int(stride)), padding=((0, 0), pads), dilation=(1, int(dilation)), groups=groups
    )


def _pads(given: Given, taps: int, stride: int, dilation: int) -> tuple[int, int] | None:
    """Return what is put before and behind; None where it depends on a size that is open."""
    how = given.word("auto_pad", "NOTSET")
    if how in ("NOTSET", "VALID"):
        first, last = given.attributes.get("pads", (0, 0)) if how == "NOTSET" else (0, 0)
        return int(first), int(last)
    if isinstance((given.x.sizes or ())[2], str) and stride > 1:
        return None
    size = cast("tuple[int, ...]", given.x.shape)[2]
    _, (less, more) = resolve_padding("same", (1, size), (1, taps), (1, stride), (1, dilation))
    return (more, less) if how == "SAME_LOWER" else (less, more)


def pad(given: Given) -> Pad | None:
    """Return what puts one number before and behind sequences; None of any other pad."""
    pads, value = given.numbers("pads", 1), given.number("value", 2, 0.0)
    plain = given.word("mode", "constant") == "constant" and given.is_left_out(3)
    if not plain or pads is None or value is None or math.isnan(value):
        return None
    if len(given.x.shape or ()) != _RANK or len(pads) != 2 * _RANK or min(pads) < 0:
        return None
    first, last = pads[2], pads[5]
    outside = any((*pads[:2], *pads[3:5]))
    return None if outside else Pad(padding=((0, 0), (first, last)), value=value)


def concat(given: Given) -> Concat | None:
    """Return what puts sequences of any length one behind the other; None of another node."""
    ranks = {len((x and x.shape) or ()) for x in given.inputs}
    computed = all(x is not None and x.constant is None for x in given.inputs)
    axis = given.attributes["axis"]
    return Concat(axis=2) if ranks == {_RANK} and computed and axis in (2, -1) else None


def tail(given: Given) -> Tail | None:
    """Return what keeps the last elements of sequences of any length; None of another node."""
    starts, ends = given.numbers("starts", 1), given.numbers("ends", 2)
    axes, steps = given.numbers("axes", 3), given.numbers("steps", 4)
    along = axes is not None and len(axes) == 1 and axes[0] in (2, -1)
    if not along or len(given.x.shape or ()) != _RANK or given.x.constant is not None:
        return None
    if not starts or not ends or starts[0] >= 0 or ends[0] < _NO_END or steps not in (None, [1]):
        return None
    made = (given.outputs[0].sizes or ())[2:]
    return Tail(axis=2, count=-starts[0]) if made == (-starts[0],) else None
