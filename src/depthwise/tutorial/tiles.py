"""The register tile of a channels-last kernel: what it reads, how often, and where that lies."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import ceil, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from depthwise.machine.target import Target, caches
from depthwise.problem.costs import cost
from depthwise.problem.spec import ConvSpec
from depthwise.schedule.plan import Plan
from depthwise.tutorial.picture import COLOURS, INK, canvas, picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Tile:
    """What one tile of `plan.th` rows, `plan.tw` columns and `plan.tc` channels takes.

    Counted away from the border, in vectors.
    """

    spec: ConvSpec
    plan: Plan
    target: Target

    @cached_property
    def reads(self) -> Counter[tuple[int, int]]:
        """How many FMAs read each pixel of the window, by (row, column) within it."""
        (sh, sw), (dh, dw) = self.spec.stride, self.spec.dilation
        taps = [range(taps) for taps in self.spec.kernel]
        return Counter(
            (row * sh + r * dh, column * sw + s * dw)
            for row, column, r, s in product(range(self.plan.th), range(self.plan.tw), *taps)
        )

    @property
    def window(self) -> tuple[int, int]:
        """Rows and columns of the window, those between dilated taps included."""
        rows, columns = (1 + max(at) for at in zip(*self.reads, strict=True))
        return rows, columns

    @property
    def vectors(self) -> int:
        """Vector registers that the channels of one pixel fill."""
        return ceil(self.plan.tc / self.target.lanes(self.spec.dtype))

    @property
    def accumulators(self) -> int:
        """Sums that are kept in registers, one for each output."""
        return self.plan.th * self.plan.tw * self.vectors

    @property
    def fmas(self) -> int:
        """FMAs that a tile takes: one for each tap of each output."""
        return self.accumulators * prod(self.spec.kernel)

    @property
    def input_loads(self) -> int:
        """Vectors of the input that it loads: each pixel of the window once."""
        return len(self.reads) * self.vectors

    @property
    def weight_loads(self) -> int:
        """Vectors of weights that it loads: each tap once."""
        return prod(self.spec.kernel) * self.vectors

    @property
    def loads(self) -> int:
        """Vectors that it loads, of the input and of weights."""
        return self.input_loads + self.weight_loads

    @property
    def fmas_per_load(self) -> float:
        """FMAs for each vector that is loaded."""
        return self.fmas / self.loads

    @property
    def working_sets(self) -> dict[str, int]:
        """Bytes that lie between one use of an input and the next, by what was computed then.

        A tile is computed for one vector of channels after the other, then the tile to its right,
        then the strip of rows below.
        """
        spec, (rows, columns) = self.spec, self.window
        item = spec.element.bytes
        taps, outputs = prod(spec.kernel), self.plan.th * self.plan.tw
        pixel = spec.channels * item
        return {
            "a tile, one vector of channels": (
                (len(self.reads) + taps + outputs) * self.plan.tc * item
            ),
            "a tile, all channels": (rows * columns + taps + outputs) * pixel,
            "a strip of tiles": (
                (rows * spec.width + taps + self.plan.th * spec.out_width) * pixel
            ),
            "the whole problem": cost(spec).bytes,
        }


@picture
def window(tile: Tile) -> tuple[Figure, str]:
    """Draw the pixels that a tile reads, each with the number of FMAs, and those it computes."""
    (rows, columns), plan = tile.window, tile.plan
    outputs = columns + 1
    across, size = outputs + plan.tw, 0.45
    figure, axes = canvas(size * across + 0.4, size * (max(rows, plan.th) + 1) + 0.3)
    axes.set(xlim=(0, across), ylim=(max(rows, plan.th), -1), aspect="equal")
    axes.axis("off")
    most = max(tile.reads.values())
    for (row, column), times in tile.reads.items():
        _cell(axes, row, column, COLOURS[1], 0.08 + 0.5 * times / most, str(times))
    for row, column in np.ndindex(plan.th, plan.tw):
        _cell(axes, row, outputs + column, COLOURS[0], 0.5, "Σ")
    axes.text(columns / 2, -0.35, f"{rows} x {columns} pixels read", ha="center", color=INK)
    axes.text(
        outputs + plan.tw / 2, -0.35, f"{plan.th} x {plan.tw} outputs", ha="center", color=INK
    )
    text = (
        f"A tile of {plan.th} by {plan.tw} outputs reads a window of {rows} by {columns} pixels, "
        f"{len(tile.reads)} of them: "
        + "; ".join(f"{n} are read by {times} FMAs each" for times, n in _tally(tile.reads))
        + f". {tile.fmas} FMAs with {tile.loads} vectors loaded, {tile.fmas_per_load:.2f} a load."
    )
    return figure, text


@picture
def working_sets(tile: Tile) -> tuple[Figure, str]:
    """Draw how much memory lies between uses of an input, against the caches of this machine."""
    sets, levels = tile.working_sets, caches()
    figure, axes = canvas(7, 2.4)
    names = list(sets)[::-1]
    axes.barh(names, [sets[name] for name in names], color=COLOURS[1], height=0.55)
    axes.set_xscale("log", base=16)
    for name in names:
        axes.text(1.1 * sets[name], name, _kib(sets[name]), va="center", color=INK)
    axes.xaxis.set_major_formatter(lambda nbytes, _: _kib(nbytes))
    axes.xaxis.minorticks_off()
    for level, size in levels.items():
        axes.axvline(size, color=COLOURS[0], linestyle="--", linewidth=1, alpha=0.6, zorder=0)
        axes.text(size, len(names) - 0.45, level, ha="center", color=COLOURS[0])
    axes.set_xlim(right=2.5 * max(*sets.values(), *levels.values()))
    held = ", ".join(f"{level} {_kib(size)}" for level, size in levels.items())
    listed = ", ".join(f"{name} {_kib(nbytes)}" for name, nbytes in sets.items())
    return figure, f"Bars of memory: {listed}. The data caches here: {held or 'unknown'}."


def _cell(axes: Any, row: int, column: int, colour: str, strength: float, words: str) -> None:
    from matplotlib.patches import Rectangle

    corner = column + 0.03, row + 0.03
    axes.add_patch(Rectangle(corner, 0.94, 0.94, facecolor=(colour, strength), edgecolor=colour))
    axes.text(column + 0.5, row + 0.5, words, ha="center", va="center", color=INK)


def _tally(reads: Counter[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return (times, how many pixels are read so often), the most often first."""
    return sorted(Counter(reads.values()).items(), reverse=True)


def _kib(nbytes: int) -> str:
    return f"{nbytes / 1024:,.3g} KiB" if nbytes < 2**20 else f"{nbytes / 2**20:.3g} MiB"
