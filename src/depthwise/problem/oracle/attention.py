"""Attention in NumPy and float64."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from depthwise.problem.attention import AttentionSpec
from depthwise.problem.oracle.planes import Array


def compute(spec: AttentionSpec, given: Mapping[str, Array]) -> Array:
    """Return for each pixel and head the mean of the values, weighted by softmax."""
    x, key, value = (
        given[name].reshape(spec.batch, -1, spec.heads, channels // spec.heads)
        for name, channels in (
            ("x", spec.channels), ("key", spec.channels), ("value", spec.out_channels),
        )
    )  # fmt: skip
    with np.errstate(invalid="ignore"):
        scores = spec.scale * np.einsum("nphd,nlhd->nhlp", x, key)
        if spec.biases:
            scores = scores + given["bias"][np.arange(spec.batch) % spec.biases]
        weights = np.exp(scores - scores.max(axis=2, keepdims=True))
        weights = weights / weights.sum(axis=2, keepdims=True)
    y: Array = np.einsum("nhlp,nlhe->nphe", weights, value)
    return y.reshape(spec.output_shape)
