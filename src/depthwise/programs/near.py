"""Strips of an array brought near: some rows of a block of channels, channels-last, in scratch.

That is how gradients of channels-first data are computed by vectors of channels too, and how the
outputs of a channel, where there are several, come to lie apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tvm import tirx
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.problem.spec import ConvSpec
from depthwise.problem.vocabulary import Pair
from depthwise.programs import pixel_runs
from depthwise.programs.direct import Parts, Pixels, in_turn

Expr: TypeAlias = Any

_STRIP_BYTES = 2**18
"""About how much memory strips take: half of a core's second cache."""


@dataclass(frozen=True)
class Images:
    """An array of images."""

    name: str
    plane: Pair
    """Rows and columns."""
    channels: int
    multiplier: int
    """How many of them belong together."""
    planes: bool
    """Whether it is channels-first."""
    dtype: str

    @classmethod
    def inputs(cls, conv: ConvSpec) -> Images:
        """Return those that a convolution reads."""
        plane = conv.height, conv.width
        return cls("x", plane, conv.channels, 1, not conv.channels_last, conv.element.tvm)

    @classmethod
    def outputs(cls, conv: ConvSpec) -> Images:
        """Return those that it writes."""
        plane, multiplier = (conv.out_height, conv.out_width), conv.multiplier
        return cls(
            "y", plane, conv.out_channels, multiplier, not conv.channels_last, conv.element.tvm
        )

    @property
    def stays(self) -> bool:
        """Whether it is as kernels take it: channels-last, each channel for itself."""
        return not self.planes and self.multiplier == 1

    def pixels(self, buffer: Any, image: Expr, channel: Expr) -> Pixels:
        """Return an image where it lies."""
        rows, columns = self.plane
        row = columns * self.channels
        return Pixels(buffer, image * (rows * row) + channel, row, self.channels)

    def parts(self, buffer: Any, at: Expr, width: int, rows: int, first: Expr) -> Parts:
        """Return the parts of a strip that was brought near.

        Args:
            buffer: scratch memory.
            at: where the strip begins.
            width: channels of a part.
            rows: for how many rows there is room.
            first: the first row that is there.
        """
        row = self.plane[1] * width
        pixels = Pixels(buffer, at - first * row, row, width)
        return Parts(pixels, self.multiplier, rows * row)

    def size(self, width: int, rows: int) -> int:
        """Return the elements of a strip."""
        return self.multiplier * rows * self.plane[1] * width

    def functions(self, width: int, rows: int, lanes: int, *, back: bool) -> dict[str, Any]:
        """Return what brings a strip near, or back, under the names that `bring` calls."""
        rows_of_image, columns = self.plane
        distance = self.multiplier * rows_of_image * columns
        name = self._function(width, back=back)
        if back:
            return {name: pixel_runs.scatter(width, distance, width, self.dtype, lanes)}
        if self.planes:
            return {name: pixel_runs.gather(width, distance, width, self.dtype, lanes)}
        size = rows * columns * width
        return {name: pixel_runs.apart(width, self.multiplier, self.channels, size, self.dtype)}

    def bring(
        self, array: Any, image: Expr, channel: Expr, first: Expr, count: Expr,
        scratch: Any, at: Expr, width: int, rows: int, *, back: bool = False,
    ) -> None:  # fmt: skip
        """Write the calls that bring rows of some channels near, or back.

        Args:
            array: the images.
            image: which of them.
            channel: the first channel of the block, where each has `multiplier` outputs.
            first: the first row.
            count: how many rows; there may be none.
            scratch: scratch memory.
            at: where the strip begins.
            width: channels of a part.
            rows: for how many rows there is room.
            back: from there to the array.
        """
        all_rows, columns = self.plane
        pixels = count * columns
        name = self._function(width, back=back)

        def move(far: Expr, near: Expr) -> None:
            places = T.address_of(array[far]), T.address_of(scratch[near])
            T.evaluate(tirx.call_extern("void", name, *places[:: -1 if back else 1], pixels))

        if not self.planes:
            start = (image * all_rows + first) * (columns * self.channels)
            move(start + channel * self.multiplier, at)
            return
        for part in in_turn(self.multiplier):
            plane = image * self.channels + channel * self.multiplier + part
            move((plane * all_rows + first) * columns, at + part * (rows * columns * width))

    def _function(self, width: int, *, back: bool) -> str:
        return f"{self.name}_{'from' if back else 'to'}_{width}_channels"


def strip_rows(pixels: int, width: int, itemsize: int, most: int) -> int:
    """Return the rows of a strip, at most so many.

    Args:
        pixels: those that a row of the strip brings near.
        width: channels of each.
        itemsize: bytes of an element.
        most: the rows that there are.
    """
    return max(1, min(most, _STRIP_BYTES // (pixels * width * itemsize)))


def among(runs: Sequence[tuple[int, Pair]], number: Expr) -> Iterator[tuple[Expr, int]]:
    """Write a branch for each width of the runs of `pixel_runs.vectors`, for number n of them.

    Yields:
        Its first channel and its channels.
    """
    before = 0
    for start, (count, width) in runs:
        with T.If(tirx.all(number >= before, number < before + count)), T.Then():
            yield T.Bind((number - before) * width + start), width
        before += count
