"""Arrays of a problem as the oracle has them: float64, images as planes (N, C, H, W)."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from depthwise.errors import ArrayError
from depthwise.problem.problem import Problem
from depthwise.problem.vocabulary import LAYOUTS_1D, LAYOUTS_PACKED

Array: TypeAlias = NDArray[np.float64]


def checked(spec: Problem, name: str, array: ArrayLike, shape: tuple[int, ...]) -> Array:
    """Return an array in float64.

    Raises:
        ArrayError: it is not of this shape.
    """
    array = np.asarray(array, np.float64)
    if array.shape != shape:
        raise ArrayError(f"{name} has shape {shape}; got {array.shape}: {spec}")
    return array


def planes(spec: Problem, image: Array) -> Array:
    """View an image of the problem's layout as (N, C, H, W), a sequence as (N, C, 1, L)."""
    if spec.layout in LAYOUTS_PACKED:
        n, blocks, height, width, side_by_side = image.shape
        return np.moveaxis(image, -1, 2).reshape(n, blocks * side_by_side, height, width)
    if spec.layout in ("NHWC", "NLC"):
        image = np.moveaxis(image, -1, 1)
    return image[:, :, None] if spec.layout in LAYOUTS_1D else image


def as_laid_out(spec: Problem, image: Array) -> Array:
    """Return (N, C, H, W) in the problem's layout, which undoes `planes`."""
    if block := LAYOUTS_PACKED.get(spec.layout):
        n, channels, height, width = image.shape
        blocks = image.reshape(n, channels // block, block, height, width)
        return np.ascontiguousarray(np.moveaxis(blocks, 2, -1))
    array = image[:, :, 0] if spec.layout in LAYOUTS_1D else image
    return np.ascontiguousarray(
        np.moveaxis(array, 1, -1) if spec.layout in ("NHWC", "NLC") else array
    )
