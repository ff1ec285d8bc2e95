"""The NumPy face: one call, compiled at first use for these shapes, remembered afterwards.

Arrays are NumPy's or DLPack tensors on the CPU (a torch tensor comes back as a torch tensor),
float32 or float64.  NCHW is (N, C, H, W), NHWC is (N, H, W, C); the batch axis may be left out.  An
NCHW array whose memory is channels-last, as torch's channels_last, is computed in place as NHWC.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from depthwise.arrays import as_numpy
from depthwise.block import BlockSpec
from depthwise.call import Image, call
from depthwise.errors import ArrayError
from depthwise.spec import ConvSpec
from depthwise.vocabulary import Activation, Padding, PaddingMode, Pair

_IMAGES, _SEQUENCES = ("NCHW", "NHWC"), ("NCL", "NLC")


def depthwise_conv2d(
    x: Any,
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
) -> Any:
    """Convolve each channel with filters of its own.

    Equivalent to `activation(F.conv2d(x, weight, bias, stride, padding, dilation, groups=C))`.

    Args:
        x: (N, C, H, W) or (N, H, W, C), or either without N.
        weight: (C * multiplier, 1, KH, KW), whatever the layout.
        bias: (C * multiplier,) or None.
        stride: distance between outputs, one number or (height, width).
        padding: one number, (height, width), ((top, bottom), (left, right)), "valid" or "same"
            (TensorFlow's rule).
        dilation: distance between taps, one number or (height, width).
        padding_mode: zeros, reflect, replicate or circular.
        layout: "NCHW" or "NHWC", of `x` and of the result.
        activation: None or one of `depthwise.vocabulary.ACTIVATIONS`.
        out: an array of the result's shape to write to.
        threads: how many threads to use; None is `team.size()`.

    Returns:
        (N, C * multiplier, OH, OW) or (N, OH, OW, C * multiplier), of the kind of `x`.

    Raises:
        SpecError: the problem cannot exist.
        ArrayError: an array does not fit the problem, or `out` cannot be written to.
        DTypeError: an array is neither float32 nor float64, or not an array.
    """
    attributes = stride, padding, dilation, padding_mode, activation
    return call(_depthwise_spec, _IMAGES, layout, attributes, x, (weight, bias), out, threads)


def depthwise_conv1d(
    x: Any,
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
) -> Any:
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
        activation: None or one of `depthwise.vocabulary.ACTIVATIONS`.
        out: an array of the result's shape to write to.
        threads: how many threads to use; None is `team.size()`.

    Returns:
        (N, C * multiplier, OL) or (N, OL, C * multiplier), of the kind of `x`.

    Raises:
        SpecError: the problem cannot exist.
        ArrayError: an array does not fit the problem, or `out` cannot be written to.
        DTypeError: an array is neither float32 nor float64, or not an array.
    """
    attributes = stride, padding, dilation, padding_mode, activation
    return call(_depthwise1d_spec, _SEQUENCES, layout, attributes, x, (weight, bias), out, threads)


def pointwise_conv2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    *,
    layout: str = "NCHW",
    activation: Activation | None = None,
    residual: Any = None,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Mix the channels of each pixel: a 1x1 convolution.

    Equivalent to `activation(F.conv2d(x, weight[:, :, None, None], bias)) + residual`.

    Args:
        x: (N, C, H, W) or (N, H, W, C), or either without N.
        weight: (O, C) or (O, C, 1, 1), whatever the layout.
        bias: (O,) or None.
        layout: "NCHW" or "NHWC", of `x`, of the residual and of the result.
        activation: None or one of `depthwise.vocabulary.ACTIVATIONS`.
        residual: an array of the result's shape, added after the activation; True is `x` itself.
        out: an array of the result's shape to write to.
        threads: how many threads to use; None is `team.size()`.

    Returns:
        (N, O, H, W) or (N, H, W, O), of the kind of `x`.

    Raises:
        SpecError: the problem cannot exist.
        ArrayError: an array does not fit the problem, or `out` cannot be written to.
        DTypeError: an array is neither float32 nor float64, or not an array.
    """
    operands = weight, bias, _residual(x, residual)
    return call(_pointwise_spec, _IMAGES, layout, (activation,), x, operands, out, threads)


def separable_conv2d(
    x: Any,
    depthwise_weight: Any,
    pointwise_weight: Any,
    depthwise_bias: Any = None,
    pointwise_bias: Any = None,
    *,
    stride: int | Pair = 1,
    padding: Padding = 0,
    dilation: int | Pair = 1,
    padding_mode: str = "zeros",
    layout: str = "NCHW",
    depthwise_activation: Activation | None = None,
    activation: Activation | None = None,
    residual: Any = None,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Convolve each channel with filters of its own, then mix the channels of each pixel.

    Equivalent to `F.conv2d(act(F.conv2d(x, depthwise_weight, depthwise_bias, stride, padding,
    dilation, groups=C)), pointwise_weight, pointwise_bias)`, then activation and residual.

    Args:
        x: (N, C, H, W) or (N, H, W, C), or either without N.
        depthwise_weight: (C * multiplier, 1, KH, KW), whatever the layout.
        pointwise_weight: (O, C * multiplier) or (O, C * multiplier, 1, 1).
        depthwise_bias: (C * multiplier,) or None.
        pointwise_bias: (O,) or None.
        stride: of the depthwise convolution; see `depthwise_conv2d`.
        padding: of the depthwise convolution; see `depthwise_conv2d`.
        dilation: of the depthwise convolution; see `depthwise_conv2d`.
        padding_mode: zeros, reflect, replicate or circular.
        layout: "NCHW" or "NHWC", of `x`, of the residual and of the result.
        depthwise_activation: between the two convolutions.
        activation: after the pointwise convolution.
        residual: an array of the result's shape, added after the activation; True is `x` itself.
        out: an array of the result's shape to write to.
        threads: how many threads to use; None is `team.size()`.

    Returns:
        (N, O, OH, OW) or (N, OH, OW, O), of the kind of `x`.

    Raises:
        SpecError: the problem cannot exist.
        ArrayError: an array does not fit the problem, or `out` cannot be written to.
        DTypeError: an array is neither float32 nor float64, or not an array.
    """
    attributes = stride, padding, dilation, padding_mode, depthwise_activation, activation
    weights = depthwise_weight, pointwise_weight, depthwise_bias, pointwise_bias
    operands = *weights, _residual(x, residual)
    return call(_separable_spec, _IMAGES, layout, attributes, x, operands, out, threads)


def _depthwise_spec(
    image: Image, operands: Sequence[Any], stride: Any, padding: Any, dilation: Any,
    padding_mode: PaddingMode, activation: Activation | None,
) -> ConvSpec:  # fmt: skip
    weight, bias = operands
    multiplier, kernel = _filters(weight, "weight", image, "KH, KW")
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
    multiplier, (kernel,) = _filters(weight, "weight", image, "K")
    (length,) = image.size
    return ConvSpec.depthwise1d(
        image.channels, length, kernel, multiplier=multiplier, stride=stride, padding=padding,
        dilation=dilation, padding_mode=padding_mode, activation=activation, bias=bias is not None,
        **image.fields,
    )  # fmt: skip


def _pointwise_spec(
    image: Image, operands: Sequence[Any], activation: Activation | None
) -> ConvSpec:
    weight, bias, residual = operands
    return ConvSpec.pointwise(
        image.channels, _mixes(weight, "weight"), image.size, activation=activation,
        bias=bias is not None, residual=residual is not None, **image.fields,
    )  # fmt: skip


def _separable_spec(
    image: Image, operands: Sequence[Any], stride: Any, padding: Any, dilation: Any,
    padding_mode: PaddingMode, depthwise_activation: Activation | None,
    activation: Activation | None,
) -> BlockSpec:  # fmt: skip
    depthwise_weight, pointwise_weight, depthwise_bias, pointwise_bias, residual = operands
    multiplier, kernel = _filters(depthwise_weight, "depthwise_weight", image, "KH, KW")
    return BlockSpec.separable(
        image.channels, _mixes(pointwise_weight, "pointwise_weight"), image.size, kernel=kernel,
        multiplier=multiplier, stride=stride, padding=padding, dilation=dilation,
        padding_mode=padding_mode, depthwise_activation=depthwise_activation,
        activation=activation, depthwise_bias=depthwise_bias is not None,
        pointwise_bias=pointwise_bias is not None, residual=residual is not None, **image.fields,
    )  # fmt: skip


def _filters(weight: Any, name: str, image: Image, taps: str) -> tuple[int, Any]:
    """Return the multiplier and the taps of a depthwise weight."""
    shape = as_numpy(weight, name).shape
    if len(shape) != image.rank or 0 in shape or shape[0] % image.channels:
        raise ArrayError(
            f"{name} has {image.rank} axes, (C * multiplier, 1, {taps}) with C = {image.channels}, "
            f"none empty; got {shape}"
        )
    return shape[0] // image.channels, shape[2:]


def _mixes(weight: Any, name: str) -> int:
    """Return the output channels of a pointwise weight."""
    shape = as_numpy(weight, name).shape
    if len(shape) not in (2, 4) or 0 in shape:
        raise ArrayError(f"{name} has 2 or 4 axes, none empty; got {shape}")
    return int(shape[0])


def _residual(x: Any, residual: Any) -> Any:
    """Return the array to add: True stands for the input, False for none."""
    if isinstance(residual, bool):
        return x if residual else None
    return residual
