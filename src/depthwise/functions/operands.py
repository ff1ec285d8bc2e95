"""What the weights and the residual of a call say about its problem."""

from __future__ import annotations

from typing import Any

from depthwise.errors import ArrayError
from depthwise.problem.arrays import as_numpy


def filters(weight: Any, name: str, channels: int, taps: str) -> tuple[int, Any]:
    """Return the multiplier and the taps of a depthwise weight.

    Args:
        weight: what the caller gave.
        name: what errors call it.
        channels: those that it convolves.
        taps: the names of its last axes.

    Raises:
        ArrayError: it has other axes, or no whole number of filters a channel.
        DTypeError: it is of another element type than `dtypes.DTYPES`, or not an array.
    """
    shape = as_numpy(weight, name).shape
    rank = 2 + len(taps.split(","))
    if len(shape) != rank or 0 in shape or shape[0] % channels:
        raise ArrayError(
            f"{name} has {rank} axes, (C * multiplier, 1, {taps}) with C = {channels}, "
            f"none empty; got {shape}"
        )
    return shape[0] // channels, shape[2:]


def mixes(weight: Any, name: str) -> int:
    """Return the output channels of a pointwise weight.

    Raises:
        ArrayError: it has other axes than a matrix, or a 1x1 convolution's weight.
        DTypeError: it is of another element type than `dtypes.DTYPES`, or not an array.
    """
    shape = as_numpy(weight, name).shape
    if len(shape) not in (2, 4) or 0 in shape:
        raise ArrayError(f"{name} has 2 or 4 axes, none empty; got {shape}")
    return int(shape[0])


def to_add(x: Any, residual: Any) -> Any:
    """Return the array to add: True stands for the input, False for none."""
    if isinstance(residual, bool):
        return x if residual else None
    return residual
