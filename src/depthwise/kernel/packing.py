"""The layout in which a program takes its weights: packed once, ahead of the calls."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from depthwise.machine import team
from depthwise.problem.arrays import Array, Memory, aligned
from depthwise.problem.spec import ConvSpec
from depthwise.problem.values import nbytes
from depthwise.schedule.rule import Form
from depthwise.schedule.tiling import packed_columns

_WORTH_KEEPING = 4096
"""Bytes from which on comparing weights is faster than packing them, where that is one pass."""
_MOST_KEPT = 32
"""How many weights of one problem are known at a time."""


def packed_shape(spec: ConvSpec, form: Form) -> tuple[int, ...]:
    """Return the shape of the weights that a program takes.

    (blocks, KH, KW, block) in NCHW[x]c, (KH, KW, multiplier, C) where multiples are summed apart,
    a (KH * KW * C, width) matrix for each panel behind another, (KH, KW, C / groups, O)
    channels-last, otherwise (O, C / groups, KH, KW).
    """
    if form.panels:
        return (spec.depth * packed_columns(form.panels),)
    if form.multiples:
        return (*spec.kernel, spec.multiplier, spec.channels)
    if form.block is not None:
        return (math.ceil(spec.channels / form.block), *spec.kernel, form.block)
    inner = spec.channels // spec.groups
    if spec.channels_last:
        return (*spec.kernel, inner, spec.out_channels)
    return (spec.out_channels, inner, *spec.kernel)


class Packer:
    """Lays out weights as a program takes them, and knows those again that it packed before.

    Weights are known by their address and by every byte, so that what was changed in place is
    packed anew.
    """

    def __init__(self, spec: ConvSpec, form: Form) -> None:
        self._spec = spec
        self._pack = packer(spec, form)
        size = nbytes(spec.weight_shape, spec.dtype)
        wide = bool(form.panels) or size >= _WORTH_KEEPING
        self._keeps = wide and self._pack is not _as_it_is
        self._known: dict[int, tuple[Array, Memory] | None] = {}

    def __call__(self, weight: Memory) -> Memory:
        """Return them packed; arguments are those of `packer`.

        What is seen for the second time at an address is kept, with a copy to compare with.
        """
        if not self._keeps:
            return self._pack(weight)
        address = weight if isinstance(weight, int) else weight.__array_interface__["data"][0]
        kept = self._known.get(address)
        if kept and team.native().same(weight, kept[0]):
            return kept[1]
        packed = self._pack(weight)
        again = address in self._known
        while len(self._known) >= _MOST_KEPT:
            self._known.pop(next(iter(self._known)), None)
        self._known[address] = (_array(weight, self._spec).copy(), packed) if again else None
        return packed


def reversed_taps(spec: ConvSpec, weight: Memory) -> Array:
    """Return the weights of a convolution with their taps in reverse order."""
    return np.ascontiguousarray(_array(weight, spec)[..., ::-1, ::-1])


def packer(spec: ConvSpec, form: Form) -> Callable[[Memory], Memory]:
    """Return the function that lays out weights as the program takes them.

    It takes a C-contiguous array of `spec.weight_shape` or the address of one, and returns that
    itself where the layout is the same.
    """
    if form.block is not None:
        return partial(_blocks, spec, form)
    if not spec.channels_last:
        return _as_it_is
    if form.panels:
        return partial(_panels, spec, form)
    if form.multiples:
        return partial(_multiples, spec)
    shape, dtype = packed_shape(spec, form), np.dtype(spec.dtype)
    outer, inner, taps = spec.out_channels, spec.channels // spec.groups, math.prod(spec.kernel)
    if 1 not in (inner, taps):
        return partial(_reordered, spec)
    transpose = team.native().transpose

    def transposed(weight: Memory) -> Array:
        packed = np.empty(shape, dtype)
        transpose(weight, packed, outer, inner * taps)
        return packed

    return transposed


def _as_it_is(weight: Memory) -> Memory:
    return weight


def _blocks(spec: ConvSpec, form: Form, weight: Memory) -> Array:
    """Pack for NCHW[x]c, zero beyond the last channel."""
    blocks, *taps, block = packed_shape(spec, form)
    packed = np.zeros((blocks * block, *taps), spec.dtype)
    packed[: spec.channels] = _array(weight, spec)[:, 0]
    return np.ascontiguousarray(packed.reshape(blocks, block, *taps).transpose(0, 2, 3, 1))


def _panels(spec: ConvSpec, form: Form, weight: Memory) -> Array:
    """Pack for a product, zero in columns that do not exist.

    No vector lies across two cache lines, which costs up to a tenth of a kernel's speed.
    """
    packed = aligned(packed_shape(spec, form), spec.dtype)
    depth = spec.depth
    windows = np.ascontiguousarray(_array(weight, spec).transpose(0, 2, 3, 1))
    matrix = windows.reshape(spec.out_channels, depth)
    transpose = team.native().transpose
    for panel in form.panels:
        for column in range(panel.start, panel.start + panel.count * panel.width, panel.width):
            first = column * depth
            target = packed[first : first + depth * panel.width]
            rows = matrix[column : column + panel.used]
            if panel.used == panel.width:
                transpose(rows, target, panel.width, depth)
            else:
                columns = target.reshape(depth, panel.width)
                columns[:, : panel.used], columns[:, panel.used :] = rows.T, 0
    return packed


def _multiples(spec: ConvSpec, weight: Memory) -> Array:
    taps = _array(weight, spec).reshape(spec.channels, spec.multiplier, *spec.kernel)
    return np.ascontiguousarray(taps.transpose(2, 3, 1, 0))


def _reordered(spec: ConvSpec, weight: Memory) -> Array:
    return np.ascontiguousarray(_array(weight, spec).transpose(2, 3, 1, 0))


def _array(weight: Memory, spec: ConvSpec) -> Array:
    shape = (spec.out_channels, spec.channels // spec.groups, *spec.kernel)
    if isinstance(weight, np.ndarray):
        return weight.reshape(shape)
    memory: Any = (ctypes.c_byte * nbytes(shape, spec.dtype)).from_address(weight)
    return np.frombuffer(memory, spec.dtype).reshape(shape)
