"""The layout in which a program takes its weights: packed once, ahead of the calls."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np

from depthwise import team
from depthwise.arrays import Array
from depthwise.schedule.rule import Form
from depthwise.spec import ConvSpec


def packed_shape(spec: ConvSpec, form: Form) -> tuple[int, ...]:
    """Return the shape of the weights that a program takes.

    (blocks, KH, KW, block) in NCHW[x]c, (KH, KW, C / groups, O) channels-last, otherwise
    (O, C / groups, KH, KW).
    """
    if form.block is not None:
        return (math.ceil(spec.channels / form.block), *spec.kernel, form.block)
    inner = spec.channels // spec.groups
    if spec.channels_last:
        return (*spec.kernel, inner, spec.out_channels)
    return (spec.out_channels, inner, *spec.kernel)


def pack_weight(spec: ConvSpec, form: Form, weight: Array | int) -> Array | int:
    """Return weights as the program takes them: `weight` itself where it has that layout already.

    Args:
        spec: the convolution.
        form: the form of its program.
        weight: C-contiguous, of `spec.weight_shape`, or its address.
    """
    if form.block is None and not spec.channels_last:
        return weight
    outer, inner, taps = spec.out_channels, spec.channels // spec.groups, math.prod(spec.kernel)
    packed = np.empty(packed_shape(spec, form), spec.dtype)
    if form.block is None and 1 in (inner, taps):
        team.native().transpose(weight, packed, outer, inner * taps)
        return packed
    filters = _array(weight, (outer, inner, *spec.kernel), spec.dtype)
    if form.block is None:
        np.copyto(packed, filters.transpose(2, 3, 1, 0))
        return packed
    packed[-1] = 0
    for channel, taps_of_one in enumerate(filters[:, 0]):
        packed[channel // form.block, :, :, channel % form.block] = taps_of_one
    return packed


def _array(weight: Array | int, shape: tuple[int, ...], dtype: str) -> Array:
    if isinstance(weight, np.ndarray):
        return weight.reshape(shape)
    nbytes = math.prod(shape) * np.dtype(dtype).itemsize
    memory: Any = (ctypes.c_byte * nbytes).from_address(weight)
    return np.frombuffer(memory, dtype).reshape(shape)
