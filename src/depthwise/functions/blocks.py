"""The NumPy face, blocks: convolutions that follow one another, computed as one.

Arrays, layouts and what is remembered are those of `depthwise.functions.convolutions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from depthwise.errors import SpecError
from depthwise.functions.call import Image, call
from depthwise.functions.operands import filters, mixes, to_add
from depthwise.problem.arrays import Given, as_numpy
from depthwise.problem.block import BlockSpec, SqueezeExcite
from depthwise.problem.values import shown
from depthwise.problem.vocabulary import LAYOUTS_2D, Activation, Padding, PaddingMode, Pair

Gate: TypeAlias = "tuple[Any, Any, Any, Any, Activation, Activation]"


def separable_conv2d(
    x: Given,
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
) -> Given:
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
        DTypeError: an array is of another element type than `dtypes.DTYPES`, or not an array.
    """
    attributes = stride, padding, dilation, padding_mode, depthwise_activation, activation
    operands = (
        depthwise_weight, pointwise_weight, depthwise_bias, pointwise_bias, to_add(x, residual),
    )  # fmt: skip
    return call(separable_spec, LAYOUTS_2D, layout, attributes, x, operands, out, threads)


def inverted_residual(
    x: Given,
    expand_weight: Any,
    depthwise_weight: Any,
    project_weight: Any,
    expand_bias: Any = None,
    depthwise_bias: Any = None,
    project_bias: Any = None,
    *,
    squeeze_excite: Gate | None = None,
    stride: int | Pair = 1,
    padding: Padding = 0,
    dilation: int | Pair = 1,
    layout: str = "NCHW",
    activation: Activation | None = "relu6",
    residual: Any = None,
    out: Any = None,
    threads: int | None = None,
) -> Given:
    """Widen each pixel, convolve each channel with filters of its own, and narrow each pixel.

    Equivalent to `F.conv2d(act(F.conv2d(act(F.conv2d(x, expand_weight, expand_bias)),
    depthwise_weight, depthwise_bias, stride, padding, dilation, groups=E)), project_weight,
    project_bias) + residual` (Sandler et al. 2018, MobileNetV2: Inverted Residuals and Linear
    Bottlenecks).

    Args:
        x: (N, C, H, W) or (N, H, W, C), or either without N.
        expand_weight: (E, C) or (E, C, 1, 1); None leaves the expansion out, and E is C.
        depthwise_weight: (D, 1, KH, KW), whatever the layout; D is a multiple of E.
        project_weight: (O, D) or (O, D, 1, 1).
        expand_bias: (E,) or None.
        depthwise_bias: (D,) or None.
        project_bias: (O,) or None.
        squeeze_excite: None, or (reduce_weight, reduce_bias, expand_weight, expand_bias,
            activation, gate) of shapes (S, D) or (S, D, 1, 1), (S,), (D, S) or (D, S, 1, 1) and
            (D,), and two names: what is projected is first multiplied by `gate(expand(activation(
            reduce(mean over the pixels))))` (Hu et al. 2018, Squeeze-and-Excitation Networks).
        stride: of the depthwise convolution; see `depthwise_conv2d`.
        padding: of the depthwise convolution; see `depthwise_conv2d`.
        dilation: of the depthwise convolution; see `depthwise_conv2d`.
        layout: "NCHW" or "NHWC", of `x`, of the residual and of the result.
        activation: after the expansion and after the depthwise convolution; the projection has
            none.
        residual: an array of the result's shape, added last; True is `x` itself.
        out: an array of the result's shape to write to.
        threads: how many threads to use; None is `team.size()`.

    Returns:
        (N, O, OH, OW) or (N, OH, OW, O), of the kind of `x`.

    Raises:
        SpecError: the problem cannot exist.
        ArrayError: an array does not fit the problem, or `out` cannot be written to.
        DTypeError: an array is of another element type than `dtypes.DTYPES`, or not an array.
    """
    gate_arrays: Sequence[Any]
    gate_arrays, gate = _taken_apart(squeeze_excite)
    attributes = stride, padding, dilation, activation, gate
    operands = [
        expand_weight, depthwise_weight, project_weight, expand_bias, depthwise_bias, project_bias,
        *gate_arrays, to_add(x, residual),
    ]  # fmt: skip
    return call(inverted_spec, LAYOUTS_2D, layout, attributes, x, operands, out, threads)


def separable_spec(
    image: Image, operands: Sequence[Any], stride: Any, padding: Any, dilation: Any,
    padding_mode: PaddingMode, depthwise_activation: Activation | None,
    activation: Activation | None,
) -> BlockSpec:  # fmt: skip
    """Return the separable block that arrays and attributes pose."""
    depthwise_weight, pointwise_weight, depthwise_bias, pointwise_bias, residual = operands
    multiplier, kernel = filters(depthwise_weight, "depthwise_weight", image.channels, "KH, KW")
    return BlockSpec.separable(
        image.channels, mixes(pointwise_weight, "pointwise_weight"), image.size, kernel=kernel,
        multiplier=multiplier, stride=stride, padding=padding, dilation=dilation,
        padding_mode=padding_mode, depthwise_activation=depthwise_activation,
        activation=activation, depthwise_bias=depthwise_bias is not None,
        pointwise_bias=pointwise_bias is not None, residual=residual is not None, **image.fields,
    )  # fmt: skip


def inverted_spec(
    image: Image, operands: Sequence[Any], stride: Any, padding: Any, dilation: Any,
    activation: Activation | None, gate: tuple[Activation, Activation] | None,
) -> BlockSpec:  # fmt: skip
    """Return the inverted residual that arrays and attributes pose."""
    expand_weight, depthwise_weight, project_weight, *others = operands
    expand_bias, depthwise_bias, project_bias, *gate_arrays, residual = others
    expanded = None if expand_weight is None else mixes(expand_weight, "expand_weight")
    multiplier, kernel = filters(
        depthwise_weight, "depthwise_weight", expanded or image.channels, "KH, KW"
    )
    return BlockSpec.inverted(
        image.channels, mixes(project_weight, "project_weight"), image.size, kernel=kernel,
        expanded=expanded, multiplier=multiplier, stride=stride, padding=padding,
        dilation=dilation, activation=activation, expand_bias=expand_bias is not None,
        depthwise_bias=depthwise_bias is not None, project_bias=project_bias is not None,
        squeeze_excite=gate and _squeeze_excite(gate_arrays, *gate), residual=residual is not None,
        **image.fields,
    )  # fmt: skip


def _taken_apart(squeeze_excite: Any) -> tuple[Sequence[Any], Any]:
    """Return the arrays of a gate and its two activations."""
    if squeeze_excite is None:
        return (None,) * 4, None
    if not isinstance(squeeze_excite, (tuple, list)) or len(squeeze_excite) != 6:
        raise SpecError(
            "squeeze_excite is (reduce_weight, reduce_bias, expand_weight, expand_bias, "
            f"activation, gate); got {shown(squeeze_excite)}"
        )
    *arrays, activation, gate = squeeze_excite
    return arrays, (activation, gate)


def _squeeze_excite(
    arrays: Sequence[Any], activation: Activation, gate: Activation
) -> SqueezeExcite:
    names = ("se_reduce_weight", "se_reduce_bias", "se_expand_weight", "se_expand_bias")
    for name, array in zip(names, arrays, strict=True):
        as_numpy(array, name)
    return SqueezeExcite(
        channels=mixes(arrays[0], "se_reduce_weight"), activation=activation, gate=gate
    )
