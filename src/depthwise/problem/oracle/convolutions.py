"""A convolution in NumPy and float64."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from depthwise.problem.links import operand_kinds
from depthwise.problem.oracle.activations import activate
from depthwise.problem.oracle.elementwise import chained
from depthwise.problem.oracle.planes import Array, as_laid_out, planes
from depthwise.problem.oracle.taps import grouped, padded, summed, taps, windows
from depthwise.problem.spec import ConvSpec


def compute(spec: ConvSpec, given: Mapping[str, Array]) -> Array:
    """Return the output of a convolution in its layout; see `Family.compute`."""
    images = {name: planes(spec, given[name]) for name in ("x", "residual") if name in given}
    how = quantized if spec.quantized else convolved
    behind = operand_kinds(spec.chain)
    own = {name: array for name, array in given.items() if name not in behind}
    y = as_laid_out(spec, how(spec, **{**own, **images}))
    return chained(spec.chain, y, given)


def quantized(
    spec: ConvSpec,
    x: Array,
    weight: Array,
    scale: Array,
    zeros: Array,
    bounds: Array | None = None,
    bias: Array | None = None,
    table: Array | None = None,
    factors: Array | None = None,
    residual: Array | None = None,
) -> Array:
    """Return the whole numbers of a quantized convolution of planes; see `problem.quantized`.

    Sums of products are whole numbers below 2**53, which float64 has.
    """
    plain = replace(spec, dtype="float64", table=False, real=False, residual=False)
    sums = convolved(plain, x - zeros[0], weight, bias).astype(np.float32)
    scaled = sums * scale.astype(np.float32)[:, None, None]
    if bounds is None:
        return scaled.astype(np.float64)
    q: Array = np.clip(np.rint(scaled).astype(np.float64) + zeros[1], bounds[0], bounds[1])
    if table is not None:
        q = table[np.int64(q) - (-128 if spec.dtype == "int8" else 0)]
    if factors is None or residual is None:
        return q
    other = (residual - zeros[2]).astype(np.float32) * np.float32(factors[1])
    total = ((q - zeros[1]) * factors[0] + other).astype(np.float32)
    y: Array = np.clip(np.rint(total).astype(np.float64) + zeros[3], bounds[2], bounds[3])
    return y


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
