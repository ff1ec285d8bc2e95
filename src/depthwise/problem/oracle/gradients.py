"""The gradients of a convolution in NumPy and float64, and the passes of training made of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from depthwise.problem.oracle import convolutions
from depthwise.problem.oracle.planes import Array, as_laid_out, checked, planes
from depthwise.problem.oracle.taps import grouped, padded, padding_matrix, summed, taps, windows
from depthwise.problem.spec import ConvSpec
from depthwise.problem.training import PassSpec


def input_gradient(spec: ConvSpec, grad: ArrayLike, weight: ArrayLike) -> Array:
    """Return the gradient with respect to the input, of `spec.input_shape`, in float64.

    Args:
        spec: the convolution; its activation plays no part.
        grad: the gradient with respect to the convolution's sum, of `spec.output_shape`.
        weight: of `spec.weight_shape`.

    Raises:
        ArrayError: the shape of an array is not that of the problem.
    """
    dy = grouped(spec, planes(spec, checked(spec, "grad", grad, spec.output_shape)))
    factors = taps(spec, checked(spec, "weight", weight, spec.weight_shape))
    dx = np.zeros((spec.batch, spec.channels, spec.padded_height, spec.padded_width))
    for r, s, window in windows(spec):
        grouped(spec, dx)[window] += summed("goc,ngopq->ngcpq", factors[..., r, s], dy)
    rows = padding_matrix(spec, spec.height, spec.padding[0])
    columns = padding_matrix(spec, spec.width, spec.padding[1])
    return as_laid_out(spec, rows.T @ dx @ columns)


def weight_gradient(spec: ConvSpec, x: ArrayLike, grad: ArrayLike) -> Array:
    """Return the gradient with respect to the weight, of `spec.weight_shape`, in float64.

    Args:
        spec: the convolution; its activation plays no part.
        x: the input, of `spec.input_shape`.
        grad: the gradient with respect to the convolution's sum, of `spec.output_shape`.

    Raises:
        ArrayError: the shape of an array is not that of the problem.
    """
    dy = grouped(spec, planes(spec, checked(spec, "grad", grad, spec.output_shape)))
    image = planes(spec, checked(spec, "input", x, spec.input_shape))
    source = grouped(spec, padded(spec, image))
    weight = np.zeros(spec.weight_shape)
    for r, s, window in windows(spec):
        taps(spec, weight)[..., r, s] = summed("ngopq,ngcpq->goc", dy, source[window])
    return weight


def bias_gradient(spec: ConvSpec, grad: ArrayLike) -> Array:
    """Return the gradient with respect to the bias, of shape (O,), in float64.

    Raises:
        ArrayError: `grad` is not of `spec.output_shape`.
    """
    dy = planes(spec, checked(spec, "grad", grad, spec.output_shape))
    return np.asarray(dy.sum(axis=(0, 2, 3)))


def compute(spec: PassSpec, given: Mapping[str, Array]) -> Array:
    """Return the results of a pass of training as `PassSpec` has them; see `Family.compute`."""
    if spec.kind == "input_gradient":
        return input_gradient(spec.conv, **given)
    if spec.kind == "weight_gradient":
        results = [weight_gradient(spec.conv, **given)]
        results += [bias_gradient(spec.conv, given["grad"])] if spec.conv.bias else []
    else:
        results = [compute(part, _taken(part, given)) for part in spec.gradients]
    if spec.kind == "training":
        results.insert(0, convolutions.compute(spec.conv, _taken(spec.conv, given)))
    return np.concatenate([result.ravel() for result in results])


def _taken(spec: ConvSpec | PassSpec, given: Mapping[str, Array]) -> dict[str, Array]:
    return {name: given[name] for name in spec.array_names}
