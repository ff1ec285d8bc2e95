"""One axis of a depthwise convolution: which element each tap reads, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from depthwise.problem.spec import ConvSpec

Steps: TypeAlias = "dict[int, list[tuple[int, int]]]"
"""For each source that a tile reads, the targets that it adds to, each with the tap."""


@dataclass(frozen=True)
class Axis:
    """Rows or columns along which targets are summed from sources.

    Forward, the targets are outputs and the sources inputs; backward, it is the other way round,
    and of the taps of a target only those take part that some output read it with.
    """

    inputs: int
    outputs: int
    taps: int
    stride: int
    dilation: int
    before: int
    """Zeros before the first input."""
    backward: bool = False

    @property
    def targets(self) -> int:
        """How many there are."""
        return self.inputs if self.backward else self.outputs

    @property
    def sources(self) -> int:
        """How many there are."""
        return self.outputs if self.backward else self.inputs

    @property
    def period(self) -> int:
        """Targets after which the same taps take part."""
        return self.stride if self.backward else 1

    @property
    def advance(self) -> int:
        """Sources by which targets a period apart read on."""
        return 1 if self.backward else self.stride

    def source(self, target: int, tap: int) -> int | None:
        """Return what a tap of a target reads, inside or not; None where it takes no part."""
        if not self.backward:
            return target * self.stride + tap * self.dilation - self.before
        distance = target + self.before - tap * self.dilation
        return None if distance % self.stride else distance // self.stride

    def whole(self) -> range:
        """Return a run of targets of which no tap reads outside (backward, perhaps not all)."""
        reach = (self.taps - 1) * self.dilation
        if self.backward:
            first, last = reach - self.before, (self.outputs - 1) * self.stride - self.before
        else:
            first = -(-self.before // self.stride)
            last = (self.inputs - 1 + self.before - reach) // self.stride
        first = max(0, first)
        return range(first, max(first, min(self.targets, last + 1)))

    def steps(self, targets: Sequence[int]) -> Steps:
        """Return what these targets read, in order; targets are counted from the first one."""
        found: Steps = {}
        for number, target in enumerate(targets):
            for tap in range(self.taps):
                source = self.source(target, tap)
                if source is not None and 0 <= source < self.sources:
                    found.setdefault(source, []).append((number, tap))
        return dict(sorted(found.items()))


def axes(spec: ConvSpec, backward: bool = False) -> tuple[Axis, Axis]:
    """Return the rows and the columns of a convolution."""
    sizes = (spec.height, spec.out_height), (spec.width, spec.out_width)
    rows, columns = (
        Axis(inputs, outputs, taps, stride, dilation, before, backward)
        for (inputs, outputs), taps, stride, dilation, (before, _) in zip(
            sizes, spec.kernel, spec.stride, spec.dilation, spec.padding, strict=True
        )
    )
    return rows, columns


@dataclass(frozen=True)
class Cover:
    """The targets of a row in tiles: those of a loop read nothing outside, the others may."""

    first: int
    """The first target of the loop."""
    count: int
    """Tiles of the loop."""
    width: int
    """Targets of such a tile, a multiple of the period."""
    sources: int
    """Sources by which a tile of the loop reads on from the one before."""
    apart: tuple[range, ...]
    """The other tiles, no wider."""


def cover(axis: Axis, width: int) -> Cover:
    """Cut the targets into tiles of about this width."""
    wide = max(1, width // axis.period) * axis.period
    whole = axis.whole()
    count = len(whole) // wide
    first = whole.start if count else 0
    gaps = range(first), range(first + count * wide, axis.targets)
    apart = tuple(
        range(start, min(start + wide, gap.stop))
        for gap in gaps
        for start in range(gap.start, gap.stop, wide)
    )
    return Cover(first, count, wide, wide // axis.period * axis.advance, apart)
