"""The files by which a network is given to engines, and its arrays; needs NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from depthwise.measure.posed import aligned_copy
from depthwise.problem.arrays import Array, aligned

MODULE = "network.pt"
"""The network in eval mode, for PyTorch."""
ONNX = "network.onnx"
"""The same network for other engines, with the input "x" and the output "y"."""
IMAGES = "images.npy"
"""The images, (N, 3, H, W)."""
EXPECTED = "expected.npy"
"""The logits (N, O) that float64 gives."""


@dataclass(frozen=True)
class Posed:
    """What is known of a network once its files are there."""

    export_seconds: float
    """What the export of the ONNX file took."""
    macs: int
    """Multiply-accumulates of the whole batch."""
    largest_logit: float
    """The largest absolute value among the logits expected."""


def arrays(folder: Path) -> tuple[Array, Array]:
    """Return the images, and an array for the logits that holds NaN."""
    images = aligned_copy(folder / IMAGES)
    logits = aligned(expected(folder).shape, images.dtype)
    logits.fill(np.nan)
    return images, logits


def expected(folder: Path) -> Array:
    """Return the logits that are expected."""
    logits: Array = np.load(folder / EXPECTED)
    return logits
