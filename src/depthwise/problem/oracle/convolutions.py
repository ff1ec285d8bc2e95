"""A convolution in NumPy and float64."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from depthwise.problem.oracle.activations import activate
from depthwise.problem.oracle.planes import Array, as_laid_out, planes
from depthwise.problem.oracle.taps import grouped, padded, summed, taps, windows
from depthwise.problem.spec import ConvSpec


def compute(spec: ConvSpec, given: Mapping[str, Array]) -> Array:
    """Return the output of a convolution in its layout; see `Family.compute`."""
    images = {name: planes(spec, given[name]) for name in ("x", "residual") if name in given}
    return as_laid_out(spec, convolved(spec, **{**given, **images}))


def convolved(
    spec: ConvSpec,
    x: Array,
    weight: Array,
    bias: Array | None = None,
    residual: Array | None = None,
) -> Array:
    """Return activation(convolution + bias) + residual, (N, O, OH, OW), of planes (N, C, H, W)."""
    source, factors = grouped(spec, padded(spec, x)), taps(spec, weight)
    y = np.zeros((spec.batch, spec.out_channels, spec.out_height, spec.out_width))
    for r, s, window in windows(spec):
        grouped(spec, y)[...] += summed("goc,ngcpq->ngopq", factors[..., r, s], source[window])
    if bias is not None:
        y += bias[:, None, None]
    y = activate(spec.activation, y)
    return y if residual is None else y + residual
