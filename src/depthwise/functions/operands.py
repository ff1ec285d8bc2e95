"""What the weights and the residual of a call say about its problem."""

from __future__ import annotations

from typing import Any

from depthwise.errors import ArrayError
from depthwise.problem.arrays import as_numpy
from depthwise.problem.remedies import of_filter


def filters(weight: Any, name: str, channels: int, taps: str) -> tuple[int, Any]:
    """Return the multiplier and the sizes of the taps of a depthwise weight.

    Args:
        weight: (C * multiplier, 1, KH, KW), or (C * multiplier, 1, K) in 1-D.
        name: what errors call it.
        channels: C, the channels of the input.
        taps: its last axes as errors print them, "KH, KW" or "K".

    Raises:
        ArrayError: it has other axes, or a number of filters that C does not divide.
        DTypeError: it is of another element type than `dtypes.DTYPES`, or not an array.
    """
    shape = as_numpy(weight, name).shape
    rank = 2 + len(taps.split(","))
    if len(shape) != rank or 0 in shape or shape[0] % channels or shape[1] != 1:
        raise ArrayError(
            f"{name} has {rank} axes, (C * multiplier, 1, {taps}) with C = {channels}, "
            f"none empty; got {shape}{of_filter(shape, name, rank, channels)}"
        )
    return shape[0] // channels, shape[2:]


def mixes(weight: Any, name: str) -> int:
    """Return O, the output channels of a pointwise weight (O, C) or (O, C, 1, 1).

    Raises:
        ArrayError: it has another number of axes, or an empty one.
        DTypeError: it is of another element type than `dtypes.DTYPES`, or not an array.
    """
    shape = as_numpy(weight, name).shape
    if len(shape) not in (2, 4) or 0 in shape:
        raise ArrayError(f"{name} has 2 or 4 axes, none empty; got {shape}")
    return int(shape[0])


def to_add(x: Any, residual: Any) -> Any:
    """Return the array to add: the input `x` for True, None for False, else what was given."""
    if isinstance(residual, bool):
        return x if residual else None
    return residual
