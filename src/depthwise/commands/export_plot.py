"""The memory that each part of an exported call takes, drawn as bars."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from depthwise.drawing import COLOURS, OUR_COLOUR, canvas, save

if TYPE_CHECKING:
    from depthwise.exporting.report import Report

WIDTH, ROW_HEIGHT, MARGIN = 9.0, 0.24, 1.8
"""Inches of the picture: across, of each part, and of what surrounds them."""
_KIB = 2**10


def plot(report: Report, file: Path) -> None:
    """Draw a bar for each part of a call, downwards, beside the least without rows.

    Raises:
        DepthwiseError: matplotlib is missing, or the file cannot be written.
    """
    parts = report.segments
    figure, axes = canvas(WIDTH, MARGIN + ROW_HEIGHT * len(parts))
    kinds = ((True, OUR_COLOUR, "row by row"), (False, COLOURS[0], "one operation"))
    for by_rows, colour, label in kinds:
        places = [place for place, part in enumerate(parts) if bool(part.by_rows) == by_rows]
        if places:
            sizes = [parts[place].nbytes / _KIB for place in places]
            axes.barh(places, sizes, color=colour, label=label)
    least = report.layers_bytes / _KIB
    axes.axvline(least, color=COLOURS[1], linestyle="--", label="the least operation by operation")
    axes.set_yticks(range(len(parts)), [part.title for part in parts], fontsize="x-small")
    axes.set_ylim(len(parts) - 0.4, -0.6)
    axes.set_axisbelow(True)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("memory of the arena in use, KiB")
    axes.set_title(f"{report.name}: {report.arena_bytes / _KIB:,.1f} KiB")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    save(figure, file)
