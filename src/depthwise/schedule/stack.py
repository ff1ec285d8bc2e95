"""Padded channels-last images upon one another, and where in them the windows of pixels lie."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, starmap
from typing import Any

from depthwise.problem.spec import ConvSpec
from depthwise.problem.vocabulary import Pair


@dataclass(frozen=True)
class Stack:
    """All images as one column of rows, and the output pixels in the order in which they lie."""

    images: int
    height: int
    """Rows of an image with its padding."""
    row: int
    """Elements of a row with its padding."""
    outputs: Pair
    """Rows and columns of an image's output."""
    steps: Pair
    """Rows, and elements of a row, from output to output."""
    reach: int
    """Rows of a window, those between its taps included."""

    @classmethod
    def of(cls, spec: ConvSpec) -> Stack:
        """Return that of a convolution."""
        rows, columns = spec.stride
        return cls(
            images=spec.batch,
            height=spec.padded_height,
            row=spec.padded_width * spec.channels,
            outputs=(spec.out_height, spec.out_width),
            steps=(rows, columns * spec.channels),
            reach=(spec.kernel[0] - 1) * spec.dilation[0] + 1,
        )

    @property
    def pixels(self) -> int:
        """Output pixels of all images."""
        return self.images * self.outputs[0] * self.outputs[1]

    @property
    def is_even(self) -> bool:
        """Whether from each pixel to the next it is as far, those of the next line included."""
        rows, step = self.outputs[0], self.steps[0]
        joined = self.images == 1 or rows * step == self.height
        return joined and self.outputs[1] * self.steps[1] == step * self.row

    def first_row(self, line: Any) -> Any:
        """Return the first row that a line of outputs reads, lines of all images counted."""
        rows, step = self.outputs[0], self.steps[0]
        if self.images == 1 or rows * step == self.height:
            return line * step
        return line // rows * self.height + line % rows * step

    def rows(self, first: Any, last: Any) -> tuple[Any, Any]:
        """Return the first of the rows that a run of pixels reads, and the one to stop before."""
        columns = self.outputs[1]
        return self.first_row(first // columns), self.first_row((last - 1) // columns) + self.reach

    def most_rows(self, ends: list[int]) -> int:
        """Return the rows that a run of pixels reads at most, where they begin and end there."""
        read = starmap(self.rows, pairwise(ends))
        return max(int(stop) - int(start) for start, stop in read)
