"""The weights of a network as its kernels take them: each once, however many shapes come."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeAlias

import numpy as np

from depthwise.kernel.kernel import Kernel
from depthwise.network.steps import Stage
from depthwise.problem.arrays import CACHE_LINE, Array, Memory, aligned
from depthwise.problem.values import nbytes
from depthwise.schedule.steps import Packing

_Key: TypeAlias = "tuple[Stage, int, Hashable]"


class PackedWeights:
    """Lays out the weights of stages, those of the kernels that come together in one piece.

    A call reads every weight once, and with pages of 4 KiB it waits for the addresses of thousands
    of them.  NumPy asks the operating system for large pages where a piece has 4 MiB or more.
    """

    def __init__(self) -> None:
        self._known: dict[_Key, Array] = {}

    def pack(self, kernels: Sequence[tuple[Stage, Kernel]]) -> list[list[Memory]]:
        """Return the operands of each kernel as it takes them, 0 for those that are computed."""
        new = {
            key: packing
            for stage, kernel in kernels
            for place, packing in kernel.packings
            if (key := (stage, place, packing.form.layout)) not in self._known
        }
        piece = aligned((sum(map(_size, new.values())),), np.uint8)
        start = 0
        for key, packing in new.items():
            self._known[key] = _laid_out(key, packing, piece[start:])
            start += _size(packing)
        return [self._operands(*each) for each in kernels]

    def _operands(self, stage: Stage, kernel: Kernel) -> list[Memory]:
        operands = stage.all_operands([0] * len(stage.spec.computed))
        for place, packing in kernel.packings:
            operands[place] = self._known[stage, place, packing.form.layout]
        return operands


def _size(packing: Packing) -> int:
    """Return the bytes of a packed weight, up to the next cache line."""
    conv = packing.conv
    size = nbytes(packing.form.weight_shape(conv), conv.dtype)
    return -(-size // CACHE_LINE) * CACHE_LINE


def _laid_out(key: _Key, packing: Packing, memory: Array) -> Array:
    stage, place, _ = key
    weight, pack = stage.arrays()[place], packing.form.pack(packing.conv)
    packed = weight if pack is None else pack(weight)
    assert isinstance(packed, np.ndarray)
    target: Array = np.ndarray(packed.shape, packed.dtype, memory)
    target[...] = packed
    return target
