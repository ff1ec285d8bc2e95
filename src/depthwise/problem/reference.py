"""The oracle: every problem in NumPy and float64, straight from the equations.

Nothing here is meant to be fast, and of this package only the problem's own types are imported.
Arrays come in the specification's layout and in any element type.  Inside they are (N, C, H, W) in
float64, and every kind of convolution is one with G groups: (N, G, C / G, H, W) goes to
(N, G, O / G, P, Q).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from depthwise.errors import ArrayError, SpecError
from depthwise.problem.block import BlockSpec, Spec, SqueezeExcite, parts_of
from depthwise.problem.dtypes import element
from depthwise.problem.pixels import PixelSpec
from depthwise.problem.spec import ConvSpec
from depthwise.problem.training import PassSpec, array_names
from depthwise.problem.vocabulary import ACTIVATIONS, LAYOUTS_1D, Pair

Array = NDArray[np.float64]

_PAD_MODES: dict[str, Literal["constant", "reflect", "edge", "wrap"]] = {
    "zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap",
}  # fmt: skip


def forward(spec: Spec, x: ArrayLike, *operands: ArrayLike) -> Array:
    """Return the result of a convolution, a block or a pass of training, in float64.

    It is of `spec.output_shape`.  A residual is added last:
    y = activation(convolution + bias) + residual.

    Args:
        spec: the problem.
        x: the input, of `spec.input_shape`.
        operands: the arrays of `spec.operands`, in that order.

    Raises:
        ArrayError: an array is missing, or its shape is not that of the problem.
    """
    if len(operands) != len(spec.operands):
        names = ", ".join(spec.operands)
        raise ArrayError(f"the operands are {names}; got {len(operands)} arrays: {spec}")
    if isinstance(spec, PassSpec):
        return _pass(spec, dict(zip(array_names(spec), (x, *operands), strict=True)))
    given = {
        name: _checked(spec, name, operand, spec.operands[name])
        for name, operand in zip(spec.operands, operands, strict=True)
    }
    if "residual" in given:
        given["residual"] = _nchw(spec, given["residual"])
    if isinstance(spec, PixelSpec):
        return _pixels(spec, _checked(spec, "input", x, spec.input_shape), **given)
    x = _nchw(spec, _checked(spec, "input", x, spec.input_shape))
    return _as_laid_out(
        spec, _block(spec, x, given) if isinstance(spec, BlockSpec) else _conv(spec, x, **given)
    )


def input_gradient(spec: ConvSpec, grad: ArrayLike, weight: ArrayLike) -> Array:
    """Return the gradient with respect to the input, of `spec.input_shape`, in float64.

    Args:
        spec: the convolution; its activation plays no part.
        grad: the gradient with respect to the convolution's sum, of `spec.output_shape`.
        weight: of `spec.weight_shape`.

    Raises:
        ArrayError: the shape of an array is not that of the problem.
    """
    dy = _grouped(spec, _nchw(spec, _checked(spec, "grad", grad, spec.output_shape)))
    taps = _taps(spec, _checked(spec, "weight", weight, spec.weight_shape))
    padded = np.zeros((spec.batch, spec.channels, spec.padded_height, spec.padded_width))
    for r, s, window in _windows(spec):
        _grouped(spec, padded)[window] += _einsum("goc,ngopq->ngcpq", taps[..., r, s], dy)
    rows = _padding_matrix(spec, spec.height, spec.padding[0])
    columns = _padding_matrix(spec, spec.width, spec.padding[1])
    return _as_laid_out(spec, rows.T @ padded @ columns)


def weight_gradient(spec: ConvSpec, x: ArrayLike, grad: ArrayLike) -> Array:
    """Return the gradient with respect to the weight, of `spec.weight_shape`, in float64.

    Args:
        spec: the convolution; its activation plays no part.
        x: the input, of `spec.input_shape`.
        grad: the gradient with respect to the convolution's sum, of `spec.output_shape`.

    Raises:
        ArrayError: the shape of an array is not that of the problem.
    """
    dy = _grouped(spec, _nchw(spec, _checked(spec, "grad", grad, spec.output_shape)))
    padded = _grouped(spec, _pad(spec, _nchw(spec, _checked(spec, "input", x, spec.input_shape))))
    weight = np.zeros(spec.weight_shape)
    for r, s, window in _windows(spec):
        _taps(spec, weight)[..., r, s] = _einsum("ngopq,ngcpq->goc", dy, padded[window])
    return weight


def bias_gradient(spec: ConvSpec, grad: ArrayLike) -> Array:
    """Return the gradient with respect to the bias, of shape (O,), in float64.

    Raises:
        ArrayError: `grad` is not of `spec.output_shape`.
    """
    dy = _nchw(spec, _checked(spec, "grad", grad, spec.output_shape))
    return np.asarray(dy.sum(axis=(0, 2, 3)))


def activate(name: str | None, x: ArrayLike) -> Array:
    """Return the activation of every element, in float64; None is the identity.

    "gelu" is the exact one, x * Phi(x); the slope of "leaky_relu" is 0.01; "hardsigmoid" is
    relu6(x + 3) / 6 and "hardswish" x times that (Howard et al. 2019, Searching for MobileNetV3).

    Raises:
        SpecError: the name is not known.
    """
    x = np.asarray(x, np.float64)
    if name is None:
        return x
    if name not in _ACTIVATE:
        raise SpecError(f"activation is None or one of {', '.join(ACTIVATIONS)}; got {name!r}")
    return _ACTIVATE[name](x)


def tolerance(spec: Spec, dtype: str | None = None) -> tuple[float, float]:
    """Return (rtol, atol) for results computed in `dtype` from data of `random_problem`'s scale.

    Each sum of products may be off by as many units of rounding of its accumulator as it has
    products, and by 16 of the element type for bias, activation and the last rounding.  The
    gradient of a weight sums over all pixels: too many for all their errors to have one sign, so
    that it is granted twice the square root of their number, more than ten standard deviations.
    (Errors of random data: Higham and Mary, "Sharper Probabilistic Backward Error Analysis for
    Basic Linear Algebra Kernels with Random Data", 2020.)

    Args:
        spec: the problem.
        dtype: the name of the element type computed in; the specification's own unless given.
    """
    computed = element(dtype or spec.dtype)
    sums = element(computed.accumulator)
    bound = sum(length * sums.epsilon + 16 * computed.epsilon for length in _lengths(spec))
    return bound, bound


def _lengths(spec: Spec) -> list[float]:
    """Return the units of rounding that each step of a problem is granted for its products."""
    if isinstance(spec, PassSpec):
        taps = spec.conv.multiplier * math.prod(spec.conv.kernel)
        pixels = 0 if spec.kind == "input_gradient" else 2 * math.sqrt(spec.summands)
        return [max(taps, pixels)]
    if isinstance(spec, PixelSpec):
        return [spec.height * spec.width if spec.kind == "mean" else spec.channels]
    lengths = [float(math.prod(part.weight_shape[1:])) for part in parts_of(spec)]
    if isinstance(spec, BlockSpec) and spec.squeeze_excite:
        lengths += [spec.depthwise.out_channels, spec.squeeze_excite.channels]
    return lengths


def _pixels(
    spec: PixelSpec, x: Array, weight: Array | None = None, bias: Array | None = None
) -> Array:
    """Return the mean of the pixels, or each normalised over its channels."""
    if weight is None or bias is None:
        return np.asarray(x.mean(axis=(1, 2), keepdims=True))
    apart = x - x.mean(axis=-1, keepdims=True)
    variance = (apart**2).mean(axis=-1, keepdims=True)
    return np.asarray(apart / np.sqrt(variance + spec.epsilon) * weight + bias)


def _pass(spec: PassSpec, given: dict[str, ArrayLike]) -> Array:
    if spec.kind == "input_gradient":
        return input_gradient(spec.conv, **given)
    if spec.kind == "weight_gradient":
        results = [weight_gradient(spec.conv, **given)]
        results += [bias_gradient(spec.conv, given["grad"])] if spec.conv.bias else []
    else:
        results = [
            forward(part, *(given[name] for name in array_names(part))) for part in spec.kernels
        ]
    return np.concatenate([result.ravel() for result in results])


def _conv(
    spec: ConvSpec,
    x: Array,
    weight: Array,
    bias: Array | None = None,
    residual: Array | None = None,
) -> Array:
    padded, taps = _grouped(spec, _pad(spec, x)), _taps(spec, weight)
    y = np.zeros((spec.batch, spec.out_channels, spec.out_height, spec.out_width))
    for r, s, window in _windows(spec):
        _grouped(spec, y)[...] += _einsum("goc,ngcpq->ngopq", taps[..., r, s], padded[window])
    if bias is not None:
        y += bias[:, None, None]
    y = activate(spec.activation, y)
    return y if residual is None else y + residual


def _block(spec: BlockSpec, x: Array, given: dict[str, Array]) -> Array:
    if spec.expand:
        x = _conv(spec.expand, x, given["expand_weight"], given.get("expand_bias"))
    x = _conv(spec.depthwise, x, given["depthwise_weight"], given.get("depthwise_bias"))
    if spec.squeeze_excite:
        x = x * _gate(spec.squeeze_excite, x, given)
    last = "pointwise" if spec.kind == "separable" else "project"
    return _conv(
        spec.project, x, given[f"{last}_weight"], given.get(f"{last}_bias"), given.get("residual")
    )


def _gate(gate: SqueezeExcite, x: Array, given: dict[str, Array]) -> Array:
    mean = x.mean(axis=(2, 3))
    narrow = mean @ given["se_reduce_weight"].T + given["se_reduce_bias"]
    wide = activate(gate.activation, narrow) @ given["se_expand_weight"].T + given["se_expand_bias"]
    return activate(gate.gate, wide)[:, :, None, None]


def _windows(spec: ConvSpec) -> Iterator[tuple[int, int, tuple[Any, ...]]]:
    """Yield each tap with the places in the padded input that it meets, one for each output."""
    (kh, kw), (sh, sw), (dh, dw) = spec.kernel, spec.stride, spec.dilation
    for r in range(kh):
        for s in range(kw):
            rows = slice(r * dh, r * dh + (spec.out_height - 1) * sh + 1, sh)
            columns = slice(s * dw, s * dw + (spec.out_width - 1) * sw + 1, sw)
            yield r, s, (..., rows, columns)


def _pad(spec: ConvSpec, x: Array) -> Array:
    return np.pad(x, ((0, 0), (0, 0), *spec.padding), mode=_PAD_MODES[spec.padding_mode])


def _padding_matrix(spec: ConvSpec, size: int, sides: Pair) -> Array:
    """Return the matrix by which padding along one axis is a product: (padded, size)."""
    return np.pad(np.eye(size), (sides, (0, 0)), mode=_PAD_MODES[spec.padding_mode])


def _einsum(subscripts: str, a: Array, b: Array) -> Array:
    return np.asarray(np.einsum(subscripts, a, b, optimize=True))


def _grouped(spec: ConvSpec, planes: Array) -> Array:
    """View (N, C, H, W) as (N, G, C / G, H, W)."""
    n, c, h, w = planes.shape
    return planes.reshape(n, spec.groups, c // spec.groups, h, w)


def _taps(spec: ConvSpec, weight: Array) -> Array:
    """View the weight of any kind as (G, O / G, C / G, KH, KW)."""
    g = spec.groups
    return weight.reshape(g, spec.out_channels // g, spec.channels // g, *spec.kernel)


def _checked(spec: Spec, name: str, array: ArrayLike, shape: tuple[int, ...]) -> Array:
    array = np.asarray(array, np.float64)
    if array.shape != shape:
        raise ArrayError(f"{name} has shape {shape}; got {array.shape}: {spec}")
    return array


def _nchw(spec: Spec, array: Array) -> Array:
    if spec.layout in ("NHWC", "NLC"):
        array = np.moveaxis(array, -1, 1)
    return array[:, :, None] if spec.layout in LAYOUTS_1D else array


def _as_laid_out(spec: Spec, planes: Array) -> Array:
    array = planes[:, :, 0] if spec.layout in LAYOUTS_1D else planes
    return np.ascontiguousarray(
        np.moveaxis(array, 1, -1) if spec.layout in ("NHWC", "NLC") else array
    )


_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _sigmoid(x: Array) -> Array:
    return np.asarray(np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x))))


def _hardsigmoid(x: Array) -> Array:
    return np.asarray(np.clip(x + 3, 0, 6) / 6)


_ACTIVATE: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "hardswish": lambda x: x * _hardsigmoid(x),
    "silu": lambda x: x * _sigmoid(x),
    "gelu": lambda x: x * 0.5 * _erfc(-x / math.sqrt(2)),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "sigmoid": _sigmoid,
    "hardsigmoid": _hardsigmoid,
}
