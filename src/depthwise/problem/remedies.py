"""What makes an array fit that was given in another order or element type, as errors say it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

_ORDERS = (0, 2, 3, 1), (0, 3, 1, 2), (0, 2, 1)
"""From channels-first to channels-last, back, and either of sequences."""


def of_type(array: Any, name: str) -> str:
    """Return how an array of numbers becomes one of float32, "" for other arrays."""
    if isinstance(array, np.ndarray):
        return f" (use {name}.astype(np.float32))" if array.dtype.kind in "fiub" else ""
    strided = str(getattr(array, "layout", "")) == "torch.strided"
    return f" (use {name}.float())" if strided and not array.is_complex() else ""


def of_shape(array: Any, name: str, wanted: Sequence[int]) -> str:
    """Return what makes an array fit whose axes are in another order, "" where none does."""
    shape = tuple(array.shape)
    if name.endswith("weight") and len(wanted) > 2 and wanted[1] == 1:
        return of_filter(shape, name, len(wanted), wanted[0])
    turn = "transpose" if isinstance(array, np.ndarray) else "permute"
    for order in _ORDERS:
        if len(shape) == len(order) and tuple(shape[axis] for axis in order) == tuple(wanted):
            return f" (use {name}.{turn}{order})"
    return ""


def of_filter(shape: Sequence[int], name: str, rank: int, channels: int) -> str:
    """Return what makes a depthwise weight of an array of this shape, "" where nothing does.

    Args:
        shape: of (C * multiplier, KH, KW), without the unit axis, or (KH, KW, C, M).
        name: what errors call it.
        rank: how many axes the weight has.
        channels: those of the input, or the output channels.
    """
    if len(shape) == rank - 1 and shape[0] % channels == 0:
        return f" (use {name}[:, None])"
    if len(shape) == rank and shape[1] != 1 and channels in (shape[-2], prod(shape[-2:])):
        order = "KH, KW, C, M" if rank == 4 else "K, C, M"
        return f" (of TensorFlow, ({order}): use depthwise.from_tensorflow_filter({name}))"
    return ""
