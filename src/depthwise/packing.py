"""The layout in which a program takes its weights: packed once, ahead of the calls."""

from __future__ import annotations

import math

import numpy as np

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


def pack_weight(spec: ConvSpec, form: Form, weight: Array) -> Array:
    """Return a packed copy of weights of `spec.weight_shape`, zero beyond the last channel."""
    taps = weight.reshape(spec.out_channels, spec.channels // spec.groups, *spec.kernel)
    packed = np.zeros(packed_shape(spec, form), weight.dtype)
    if form.block is not None:
        for channel, filters in enumerate(taps[:, 0]):
            packed[channel // form.block, :, :, channel % form.block] = filters
    else:
        packed[...] = taps.transpose(2, 3, 1, 0) if spec.channels_last else taps
    return packed
