"""The NumPy face: one call, compiled at first use for these shapes, remembered afterwards.

Arrays are NumPy's or DLPack tensors on the CPU (a torch tensor comes back as a torch tensor), of an
element type out of `depthwise.problem.dtypes.DTYPES`.  NCHW is (N, C, H, W), NHWC is (N, H, W, C);
the batch axis may be left out.  An NCHW array whose memory is channels-last, as torch's
channels_last, is computed in place as NHWC.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from depthwise.functions.call import Image, call
from depthwise.functions.operands import filters, mixes, to_add
from depthwise.problem.arrays import Given
from depthwise.problem.spec import ConvSpec
from depthwise.problem.vocabulary import (
    LAYOUTS_1D,
    LAYOUTS_2D,
    LAYOUTS_PACKED,
    Activation,
    Padding,
    PaddingMode,
    Pair,
)

_LAYOUTS = *LAYOUTS_2D, *LAYOUTS_PACKED
"""Those of a depthwise convolution."""


def depthwise_conv2d(
    x: Given,
    weight: Any,
    bias: Any = None,
    *,
    stride: int | Pair = 1,
    padding: Padding = 0,
    dilation: int | Pair = 1,
    padding_mode: str = "zeros",
    layout: str = "NCHW",
    activation: Activation | None = None,
    out: Any = None,
    threads: int | None = None,
) -> Given:
    """Convolve each channel with filters of its own.

    Equivalent to `activation(F.conv2d(x, weight, bias, stride, padding, dilation, groups=C))`.

    Args:
        x: (N, C, H, W), (N, H, W, C) or packed, (N, C / c, H, W, c), or each without N.
        weight: (C * multiplier, 1, KH, KW), whatever the layout.
        bias: (C * multiplier,) or None.
        stride: distance between outputs, one number or (height, width).
        padding: one number, (height, width), ((top, bottom), (left, right)), "valid" or "same"
            (TensorFlow's rule).
        dilation: distance between taps, one number or (height, width).
        padding_mode: zeros, reflect, replicate or circular.
        layout: "NCHW", "NHWC" or, for whole blocks of channels and multiplier 1, "NCHW4c",
            "NCHW8c", "NCHW16c" or "NCHW32c" (see `pack_nchwc`), of `x` and of the result.
        activation: None or one of `depthwise.problem.vocabulary.ACTIVATIONS`.
        out: an array of the result's shape to write to.
        threads: how many threads to use; None is `team.size()`.

    Returns:
        (N, C * multiplier, OH, OW), (N, OH, OW, C * multiplier) or (N, C / c, OH, OW, c), of the
        kind of `x`.

    Raises:
        SpecError: the problem cannot exist.
        ArrayError: an array does not fit the problem, or `out` cannot be written to.
        DTypeError: an array is of another element type than `dtypes.DTYPES`, or not an array.
    """
    attributes = stride, padding, dilation, padding_mode, activation
    return call(depthwise_spec, _LAYOUTS, layout, attributes, x, (weight, bias), out, threads)


def depthwise_conv1d(
    x: Given,
    weight: Any,
    bias: Any = None,
    *,
    stride: int = 1,
    padding: Padding = 0,
    dilation: int = 1,
    padding_mode: str = "zeros",
    layout: str = "NCL",
    activation: Activation | None = None,
    out: Any = None,
    threads: int | None = None,
) -> Given:
    """Convolve each channel of a sequence with filters of its own.

    Equivalent to `activation(F.conv1d(x, weight, bias, stride, padding, dilation, groups=C))`;
    padding "causal" to `F.conv1d(F.pad(x, (dilation * (K - 1), 0)), ...)`.

    Args:
        x: (N, C, L) or (N, L, C), or either without N.
        weight: (C * multiplier, 1, K), whatever the layout.
        bias: (C * multiplier,) or None.
        stride: distance between outputs.
        padding: one number, (left, right), "valid", "same" (TensorFlow's rule) or "causal" (no
            output reads an input behind it).
        dilation: distance between taps.
        padding_mode: zeros, reflect, replicate or circular.
        layout: "NCL" or "NLC", of `x` and of the result.
        activation: None or one of `depthwise.problem.vocabulary.ACTIVATIONS`.
        out: an array of the result's shape to write to.
        threads: how many threads to use; None is `team.size()`.

    Returns:
        (N, C * multiplier, OL) or (N, OL, C * multiplier), of the kind of `x`.

    Raises:
        SpecError: the problem cannot exist.
        ArrayError: an array does not fit the problem, or `out` cannot be written to.
        DTypeError: an array is of another element type than `dtypes.DTYPES`, or not an array.
    """
    attributes = stride, padding, dilation, padding_mode, activation
    return call(_depthwise1d_spec, LAYOUTS_1D, layout, attributes, x, (weight, bias), out, threads)


def pointwise_conv2d(
    x: Given,
    weight: Any,
    bias: Any = None,
    *,
    layout: str = "NCHW",
    activation: Activation | None = None,
    residual: Any = None,
    out: Any = None,
    threads: int | None = None,
) -> Given:
    """Mix the channels of each pixel: a 1x1 convolution.

    Equivalent to `activation(F.conv2d(x, weight[:, :, None, None], bias)) + residual`.

    Args:
        x: (N, C, H, W) or (N, H, W, C), or either without N.
        weight: (O, C) or (O, C, 1, 1), whatever the layout.
        bias: (O,) or None.
        layout: "NCHW" or "NHWC", of `x`, of the residual and of the result.
        activation: None or one of `depthwise.problem.vocabulary.ACTIVATIONS`.
        residual: an array of the result's shape, added after the activation; True is `x` itself.
        out: an array of the result's shape to write to.
        threads: how many threads to use; None is `team.size()`.

    Returns:
        (N, O, H, W) or (N, H, W, O), of the kind of `x`.

    Raises:
        SpecError: the problem cannot exist.
        ArrayError: an array does not fit the problem, or `out` cannot be written to.
        DTypeError: an array is of another element type than `dtypes.DTYPES`, or not an array.
    """
    operands = weight, bias, to_add(x, residual)
    return call(pointwise_spec, LAYOUTS_2D, layout, (activation,), x, operands, out, threads)


def depthwise_spec(
    image: Image, operands: Sequence[Any], stride: Any, padding: Any, dilation: Any,
    padding_mode: PaddingMode, activation: Activation | None,
) -> ConvSpec:  # fmt: skip
    """Return the depthwise convolution that arrays and attributes pose."""
    weight, bias = operands
    multiplier, kernel = filters(weight, "weight", image.channels, "KH, KW")
    return ConvSpec.depthwise(
        image.channels, image.size, kernel, multiplier=multiplier, stride=stride, padding=padding,
        dilation=dilation, padding_mode=padding_mode, activation=activation, bias=bias is not None,
        **image.fields,
    )  # fmt: skip


def _depthwise1d_spec(
    image: Image, operands: Sequence[Any], stride: Any, padding: Any, dilation: Any,
    padding_mode: PaddingMode, activation: Activation | None,
) -> ConvSpec:  # fmt: skip
    weight, bias = operands
    multiplier, (kernel,) = filters(weight, "weight", image.channels, "K")
    (length,) = image.size
    return ConvSpec.depthwise1d(
        image.channels, length, kernel, multiplier=multiplier, stride=stride, padding=padding,
        dilation=dilation, padding_mode=padding_mode, activation=activation, bias=bias is not None,
        **image.fields,
    )  # fmt: skip


def pointwise_spec(
    image: Image, operands: Sequence[Any], activation: Activation | None
) -> ConvSpec:
    """Return the pointwise convolution that arrays pose."""
    weight, bias, residual = operands
    return ConvSpec.pointwise(
        image.channels, mixes(weight, "weight"), image.size, activation=activation,
        bias=bias is not None, residual=residual is not None, **image.fields,
    )  # fmt: skip
