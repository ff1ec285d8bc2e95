"""Where the pixels of a resized image lie in the image before, in whole numbers."""

from __future__ import annotations

from typing import NamedTuple

from depthwise.problem.resizes import ResizeSpec


class Places(NamedTuple):
    """Pixel i along an axis lies at (i * step + start) / parts of an image of so many pixels."""

    step: int
    start: int
    parts: int
    pixels: int


def places(spec: ResizeSpec, axis: int) -> Places:
    """Return those of an axis of (N, H, W, C)."""
    before, after = spec.input_shape[axis], spec.output_shape[axis]
    if spec.coordinates == "asymmetric":
        return Places(before, 0, after, before)
    if spec.coordinates == "half_pixel":
        return Places(2 * before, before - after, 2 * after, before)
    if after == 1:
        return Places(0, 0, 1, before)
    return Places(before - 1, 0, after - 1, before)
