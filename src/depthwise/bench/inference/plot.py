"""Bars of one network: how long each engine takes, its memory, and how long it prepares."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from depthwise.bench.comparison import is_ours
from depthwise.bench.inference.report import MIB
from depthwise.bench.inference.run import NetworkResult
from depthwise.drawing import COLOURS, OUR_COLOUR, canvas, save
from depthwise.machine.team import in_words


def draw(results: Sequence[NetworkResult], file: Path) -> bool:
    """Draw the results of one network that have times, the fastest at the top.

    Returns:
        Whether there was anything to draw.

    Raises:
        DepthwiseError: matplotlib is missing, or the file cannot be written.
    """
    timed = by_time(results)
    if not timed:
        return False
    panels = bars(timed)
    figure, all_axes = canvas(11, 1.2 + 0.4 * len(timed), panels=len(panels))
    for axes, (title, values) in zip(all_axes, panels.items(), strict=True):
        drawn = axes.barh([r.contestant for r in timed], values, color=colours(timed))
        axes.bar_label(drawn, fmt="{:.3g}", padding=3)
        axes.set(title=title, xlim=(0, 1.2 * max(*values, 1e-9)))
    figure.suptitle(title_of(timed[0]))
    save(figure, file)
    return True


def by_time(results: Sequence[NetworkResult]) -> list[NetworkResult]:
    """Return the results that have times, the slowest first, as bars stand upon one another."""
    return sorted((r for r in results if r.median_us), key=lambda r: r.time, reverse=True)


def bars(timed: Sequence[NetworkResult]) -> dict[str, list[float]]:
    """Return what the bars of results show, panel by panel."""
    return {
        "ms a call": [r.time / 1e3 for r in timed],
        "MiB touched by a call": [(r.touched_bytes or 0) / MIB for r in timed],
        "s to prepare": [r.prepare_seconds + r.export_seconds for r in timed],
    }


def colours(timed: Sequence[NetworkResult]) -> list[str]:
    """Return the colour of each bar: ours and the others'."""
    return [OUR_COLOUR if is_ours(result) else COLOURS[0] for result in timed]


def title_of(one: NetworkResult) -> str:
    """Return a network and the conditions of its results, in words."""
    return f"{one.layer}, batch {one.batch}, {in_words(one.threads)}, {one.dtype}: less is better"
