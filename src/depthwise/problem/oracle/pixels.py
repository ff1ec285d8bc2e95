"""The mean of pixels, and their normalisation, in NumPy and float64."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from depthwise.problem.oracle.planes import Array
from depthwise.problem.pixels import PixelSpec


def compute(spec: PixelSpec, given: Mapping[str, Array]) -> Array:
    """Return the mean of the pixels, or each normalised over its channels."""
    x = given["x"]
    if spec.kind == "mean":
        return np.asarray(x.mean(axis=(1, 2), keepdims=True))
    apart = x - x.mean(axis=-1, keepdims=True)
    variance = (apart**2).mean(axis=-1, keepdims=True)
    scaled = apart / np.sqrt(variance + spec.epsilon)
    return np.asarray(scaled * given["weight"] + given["bias"])
