"""Arrays in other orders: channels packed in blocks and back, and TensorFlow's filters."""

from __future__ import annotations

import numpy as np

from depthwise.errors import ArrayError
from depthwise.problem.arrays import Given, as_numpy, like
from depthwise.problem.values import whole


def pack_nchwc(x: Given, block: int) -> Given:
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
    result: Given = like(x)(np.ascontiguousarray(packed.transpose(0, 1, 3, 4, 2)))
    return result


def from_tensorflow_filter(w: Given) -> Given:
    """Return the weight of `depthwise_conv2d` for a depthwise filter of TensorFlow or Keras.

    Equivalent to `w.permute(2, 3, 0, 1).reshape(C * M, 1, KH, KW)`.  (What they call the filter of
    an ordinary convolution, (KH, KW, C, O), is `w.permute(3, 2, 0, 1)`.)

    Args:
        w: (KH, KW, C, M) as `tf.nn.depthwise_conv2d` and `keras.layers.DepthwiseConv2D` have it, or
            (K, C, M) as `keras.layers.DepthwiseConv1D`; M is the multiplier.

    Returns:
        (C * M, 1, KH, KW) or (C * M, 1, K), of the kind of `w`: outputs c * M to c * M + M - 1 are
        those of channel c, as TensorFlow's are.

    Raises:
        ArrayError: `w` has another number of axes, or an empty one.
        DTypeError: it is of another element type than `dtypes.DTYPES`, or not an array.
    """
    view = as_numpy(w, "w")
    if view.ndim not in (3, 4) or 0 in view.shape:
        raise ArrayError(f"w is (KH, KW, C, M) or (K, C, M), no axis empty; got {view.shape}")
    *taps, channels, multiplier = view.shape
    ordered = np.moveaxis(view, (-2, -1), (0, 1)).reshape(channels * multiplier, 1, *taps)
    result: Given = like(w)(np.ascontiguousarray(ordered))
    return result


def unpack_nchwc(y: Given, channels: int) -> Given:
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
    result: Given = like(y)(np.ascontiguousarray(plain[:, :count]))
    return result
