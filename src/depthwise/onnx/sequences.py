"""Convolutions of sequences (N, C, L) of ONNX, and their pads, read as those of one row."""

from __future__ import annotations

import math
from typing import cast

from depthwise.network.operators import Convolution, Pad
from depthwise.onnx.attributes import Given
from depthwise.problem.spec import resolve_padding

_RANK = 3


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
