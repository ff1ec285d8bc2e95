"""The files by which a network reaches every engine, and its arrays; needs NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depthwise.measure.posed import aligned_copy
from depthwise.problem.arrays import Array, aligned

MODULE = "network.pt"
"""The network in eval mode, for PyTorch."""
ONNX = "network.onnx"
"""The same, from "x" to "y"."""
IMAGES = "images.npy"
"""(N, 3, H, W)"""
EXPECTED = "expected.npy"
"""Logits (N, O) in float64."""


@dataclass(frozen=True)
class Posed:
    """What is known of a network once its files are there."""

    export_seconds: float
    """What the export to ONNX took."""
    macs: int
    """Of the whole batch."""
    largest_logit: float
    """The absolute value."""


def arrays(folder: Path) -> tuple[Array, Array]:
    """Return the images, and logits that hold nothing yet."""
    images = aligned_copy(folder / IMAGES)
    logits = aligned(expected(folder).shape, images.dtype)
    logits.fill(np.nan)
    return images, logits


def expected(folder: Path) -> Array:
    """Return the logits that are expected."""
    logits: Array = np.load(folder / EXPECTED)
    return logits
