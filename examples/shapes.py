"""Images to learn from, drawn by NumPy from a seed: shapes on shaded ground, filled or hollow.

The classes are told apart by their outlines alone: what is drawn has any place, size, angle and
colours, on ground that changes from one colour to another, under noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHAPES = ("triangle", "square", "disk", "flower")
CLASSES = (*SHAPES, *(f"hollow {shape}" for shape in SHAPES))
NOISE = 0.1
"""Standard deviation of each pixel's noise; colours lie between 0 and 1."""


def draw(count: int, size: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return images (count, 3, size, size) of mean about zero, and their classes (count,)."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(len(CLASSES), size=count)
    images = np.empty((count, 3, size, size), np.float32)
    for image, number in zip(images, classes, strict=True):
        hollow, shape = divmod(int(number), len(SHAPES))
        image[:] = _image(rng, SHAPES[shape], bool(hollow), size)
    return images, classes


def _image(rng: np.random.Generator, shape: str, hollow: bool, size: int) -> NDArray[np.float64]:
    """Return one image (3, size, size)."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    radius = rng.uniform(0.4, 0.8)
    left, up = rng.uniform(radius - 1, 1 - radius, 2)
    angle = np.arctan2(y - up, x - left) + rng.uniform(0, 2 * np.pi)
    distance = np.hypot(y - up, x - left) / (radius * _outline(shape, angle))
    covered = _below(1, distance, size) - (_below(0.5, distance, size) if hollow else 0)
    fill, ground, other = rng.uniform(size=(3, 3, 1, 1))
    shaded = ground + (other - ground) * (1 + x * rng.uniform(-1, 1)) / 2
    image = shaded + (fill - shaded) * covered - 0.5
    return np.asarray(image + NOISE * rng.standard_normal(image.shape))


def _below(limit: float, distance: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return 1 where a distance is below a limit, 0 where it is above, with an edge of pixels."""
    return np.clip((limit - distance) * size / 4 + 0.5, 0, 1)


def _outline(shape: str, angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far from its centre a shape reaches at each angle, 1 at its farthest."""
    if shape == "disk":
        return np.ones_like(angle)
    if shape == "flower":
        return 0.7 + 0.3 * np.cos(5 * angle)
    sector = 2 * np.pi / {"triangle": 3, "square": 4}[shape]
    return np.asarray(np.cos(sector / 2) / np.cos(angle % sector - sector / 2))
