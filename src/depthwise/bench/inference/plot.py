"""Bars of one network: how long each engine takes, its memory, and how long it prepares."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from depthwise.bench import plots
from depthwise.bench.inference.run import NetworkResult
from depthwise.bench.report import is_ours

MIB = 2**20


def draw(results: Sequence[NetworkResult], file: Path) -> bool:
    """Draw the results of one network that have times, the fastest at the top.

    Returns:
        Whether there was anything to draw.

    Raises:
        DepthwiseError: matplotlib is missing, or the file cannot be written.
    """
    timed = sorted((r for r in results if r.median_us), key=lambda r: r.time, reverse=True)
    if not timed:
        return False
    panels = (
        ("ms a call", [r.time / 1e3 for r in timed]),
        ("MiB touched by a call", [(r.touched_bytes or 0) / MIB for r in timed]),
        ("s to prepare", [r.prepare_seconds + r.export_seconds for r in timed]),
    )
    figure, all_axes = plots.canvas(11, 1.2 + 0.4 * len(timed), panels=len(panels))
    colours = [plots.OUR_COLOUR if is_ours(result) else plots.COLOURS[0] for result in timed]
    for axes, (title, values) in zip(all_axes, panels, strict=True):
        bars = axes.barh([result.contestant for result in timed], values, color=colours)
        axes.bar_label(bars, fmt="{:.3g}", padding=3)
        axes.set(title=title, xlim=(0, 1.2 * max(*values, 1e-9)))
    first = timed[0]
    figure.suptitle(
        f"{first.layer}, batch {first.batch}, {plots.threads(first.threads)}, float32: "
        "less is better"
    )
    plots.save(figure, file)
    return True
