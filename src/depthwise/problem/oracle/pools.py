"""A pool in NumPy and float64."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from depthwise.problem.oracle.planes import Array, as_laid_out, planes
from depthwise.problem.oracle.taps import windows
from depthwise.problem.pools import PoolSpec


def compute(spec: PoolSpec, given: Mapping[str, Array]) -> Array:
    """Return the largest, or the mean, of each window of x."""
    zeros = given.get("zeros", np.zeros(2))
    x, window = planes(spec, given["x"]) - zeros[0], spec.window
    inside = np.pad(np.ones(x.shape[2:], bool), window.padding)
    around = np.pad(x, ((0, 0), (0, 0), *window.padding))
    taps = np.stack([around[at] for _, _, at in windows(window)])
    exists = np.stack([inside[at] for _, _, at in windows(window)])[:, None, None]
    if spec.kind == "maxpool":
        return as_laid_out(spec, np.where(exists | spec.padded, taps, -np.inf).max(axis=0))
    count = len(exists) if spec.padded else exists.sum(axis=0)
    if "scale" not in given:
        return as_laid_out(spec, taps.sum(axis=0) / count)
    factor = given["scale"].astype(np.float32) / np.float32(count)
    real = np.rint(taps.sum(axis=0).astype(np.float32) * factor).astype(np.float64)
    return as_laid_out(spec, np.clip(real + zeros[1], *given["bounds"]))
