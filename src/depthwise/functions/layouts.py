"""Packing channels in blocks: from (N, C, H, W) to (N, ceil(C / c), H, W, c), and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from depthwise.errors import ArrayError
from depthwise.problem.arrays import as_numpy, like
from depthwise.problem.values import whole


def pack_nchwc(x: Any, block: int) -> Any:
    """Gather each run of `block` channels of a pixel, zero beyond the last channel.

    Where C is a multiple of c, `depthwise_conv2d` takes that with layout "NCHW16c" (c of 16).
    Equivalent to `x.unflatten(1, (-1, c)).movedim(2, -1).contiguous()`.

    Args:
        x: (N, C, H, W).
        block: c, the number of channels that become neighbours in memory.

    Returns:
        (N, ceil(C / c), H, W, c), of the kind of `x`.

    Raises:
        ArrayError: `x` does not have four axes, or the block is below one.
    """
    view = as_numpy(x, "x")
    size = whole("block", block)
    if view.ndim != 4 or size < 1:
        raise ArrayError(
            f"x has 4 axes and the block is at least 1; got {view.shape}, block {size}"
        )
    n, channels, height, width = view.shape
    blocks = -(-channels // size)
    packed = np.zeros((n, blocks, size, height, width), view.dtype)
    packed.reshape(n, blocks * size, height, width)[:, :channels] = view
    return like(x)(np.ascontiguousarray(packed.transpose(0, 1, 3, 4, 2)))


def unpack_nchwc(y: Any, channels: int) -> Any:
    """Return blocks of channels as (N, C, H, W): the reverse of `pack_nchwc`.

    Args:
        y: (N, ceil(C / c), H, W, c).
        channels: C.

    Returns:
        (N, C, H, W), of the kind of `y`.

    Raises:
        ArrayError: `y` does not have five axes, or has another number of blocks than C needs.
    """
    view = as_numpy(y, "y")
    count = whole("channels", channels)
    if (
        view.ndim != 5
        or 0 in view.shape
        or count < 1
        or -(-count // view.shape[4]) != view.shape[1]
    ):
        raise ArrayError(f"y is (N, ceil(C / c), H, W, c) with C = {count}; got {view.shape}")
    n, blocks, height, width, size = view.shape
    plain = view.transpose(0, 1, 4, 2, 3).reshape(n, blocks * size, height, width)
    return like(y)(np.ascontiguousarray(plain[:, :count]))
