"""The kernel of what is computed of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from depthwise.kernel.kernel import SingleKernel
from depthwise.problem.arrays import Memory
from depthwise.problem.pixels import PixelSpec


@dataclass(frozen=True)
class PixelKernel(SingleKernel):
    """The mean of pixels, or their normalisation."""

    spec: PixelSpec

    def pack(self, operands: Sequence[Memory]) -> Sequence[Any]:
        """Take them as they are."""
        return operands
