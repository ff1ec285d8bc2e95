"""The gradients of a depthwise convolution as functions of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from depthwise.errors import ArrayError
from depthwise.functions.call import Image, call
from depthwise.functions.operands import filters
from depthwise.problem.arrays import Given
from depthwise.problem.spec import ConvSpec
from depthwise.problem.training import PassSpec
from depthwise.problem.values import whole
from depthwise.problem.vocabulary import LAYOUTS_2D, Padding, Pair


def depthwise_conv2d_input_gradient(
    grad: Given,
    weight: Any,
    size: Pair,
    *,
    multiplier: int = 1,
    stride: int | Pair = 1,
    padding: Padding = 0,
    dilation: int | Pair = 1,
    layout: str = "NCHW",
    out: Any = None,
    threads: int | None = None,
) -> Given:
    """Return the gradient of a depthwise convolution with respect to its input.

    Equivalent to `torch.nn.grad.conv2d_input((N, C, *size), weight, grad, ..., groups=C)`.

    Args:
        grad: the gradient with respect to the output, (N, C * multiplier, OH, OW) or
            (N, OH, OW, C * multiplier), or either without N.
        weight: (C * multiplier, 1, KH, KW), whatever the layout.
        size: the input's height and width.
        multiplier: how many output channels each of the C input channels has.
        stride: the stride of the convolution; see `depthwise_conv2d`.
        padding: the padding of the convolution, which is of zeros; see `depthwise_conv2d`.
        dilation: the dilation of the convolution; see `depthwise_conv2d`.
        layout: "NCHW" or "NHWC", of `grad` and of the result.
        out: an array of the result's shape to write to.
        threads: how many threads to use; None is `team.size()`.

    Returns:
        (N, C, *size) or (N, *size, C), of the kind of `grad`.

    Raises:
        SpecError: the problem cannot exist.
        ArrayError: an array does not fit the problem, or `out` cannot be written to.
        DTypeError: an array is of another element type than `dtypes.DTYPES`, or not an array.
    """
    attributes = size, multiplier, stride, padding, dilation
    return call(_input_spec, LAYOUTS_2D, layout, attributes, grad, (weight,), out, threads)


def depthwise_conv2d_weight_gradient(
    grad: Given,
    x: Any,
    kernel: Pair,
    *,
    stride: int | Pair = 1,
    padding: Padding = 0,
    dilation: int | Pair = 1,
    bias: bool = False,
    layout: str = "NCHW",
    threads: int | None = None,
) -> Given:
    """Return the gradient of a depthwise convolution with respect to its weight and its bias.

    Equivalent to `torch.nn.grad.conv2d_weight(x, (O, 1, KH, KW), grad, ..., groups=C)`, and for the
    bias to `grad.sum((0, 2, 3))`.  The order of summation does not depend on the threads.

    Args:
        grad: the gradient with respect to the output, (N, O, OH, OW) or (N, OH, OW, O), or either
            without N.
        x: the input, (N, C, H, W) or (N, H, W, C), without N where `grad` is; C divides O.
        kernel: KH and KW.
        stride: the stride of the convolution; see `depthwise_conv2d`.
        padding: the padding of the convolution, which is of zeros; see `depthwise_conv2d`.
        dilation: the dilation of the convolution; see `depthwise_conv2d`.
        bias: whether the gradient with respect to the bias is given too.
        layout: "NCHW" or "NHWC", of `grad` and of `x`.
        threads: how many threads to use; None is `team.size()`.

    Returns:
        One axis, of the kind of `grad`: the O * KH * KW elements of the weight's gradient,
        (O, 1, KH, KW), then, with `bias`, the O elements of the bias's.

    Raises:
        SpecError: the problem cannot exist.
        ArrayError: an array does not fit the problem.
        DTypeError: an array is of another element type than `dtypes.DTYPES`, or not an array.
    """
    attributes = kernel, stride, padding, dilation, bias, layout
    return call(_weight_spec, LAYOUTS_2D, layout, attributes, grad, (x,), None, threads)


def _input_spec(
    grad: Image, operands: Sequence[Any], size: Pair, multiplier: int, stride: Any, padding: Any,
    dilation: Any,
) -> PassSpec:  # fmt: skip
    (weight,) = operands
    _, kernel = filters(weight, "weight", grad.channels, "KH, KW")
    multiplier = whole("multiplier", multiplier)
    if multiplier < 1 or grad.channels % multiplier:
        raise ArrayError(
            f"grad has multiplier * C channels; got {grad.channels} with multiplier {multiplier}"
        )
    conv = ConvSpec.depthwise(
        grad.channels // multiplier, size, kernel, multiplier=multiplier, stride=stride,
        padding=padding, dilation=dilation, **grad.fields,
    )  # fmt: skip
    return PassSpec(kind="input_gradient", conv=conv)


def _weight_spec(
    grad: Image, operands: Sequence[Any], kernel: Pair, stride: Any, padding: Any, dilation: Any,
    bias: bool, layout: str,
) -> PassSpec:  # fmt: skip
    image = Image(operands[0], layout)
    if grad.channels % image.channels:
        raise ArrayError(
            f"grad has a multiple of x's channels; got {grad.channels} and {image.channels}"
        )
    conv = ConvSpec.depthwise(
        image.channels, image.size, kernel, multiplier=grad.channels // image.channels,
        stride=stride, padding=padding, dilation=dilation, bias=bias, **grad.fields,
    )  # fmt: skip
    return PassSpec(kind="weight_gradient", conv=conv)
