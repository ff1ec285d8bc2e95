"""Pictures of the results: GFLOP/s over channels, and problems under the roofline.

Lines and points carry their names beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthwise.bench.results import Result
from depthwise.bench.series import (
    Look,
    Point,
    channel_lines,
    channels_title,
    extent,
    looks,
    roofline_title,
)  # fmt: skip
from depthwise.drawing import canvas, columns, save, spread
from depthwise.problem.dtypes import worded

if TYPE_CHECKING:
    from depthwise.measure.roofline import Roofline

DASHES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D")
LABEL_GAP = 0.034
"""Least distance between labels, as a part of the picture's height."""


def channels_plot(results: Sequence[Result], file: Path) -> bool:
    """Draw GFLOP/s over channels, a line for each contestant.

    Returns:
        Whether there was anything to draw.

    Raises:
        DepthwiseError: matplotlib is missing, or the file cannot be written.
    """
    words, lines = channel_lines(results)
    if not lines:
        return False
    figure, axes = canvas()
    styles = {name: _style(look) for name, look in looks(lines).items()}
    for name, line in lines.items():
        axes.plot(list(line), list(line.values()), **styles[name])
    ticks = sorted({channels for line in lines.values() for channels in line})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, map(str, ticks))
    axes.set_ylim(bottom=0)
    axes.set(
        xlabel="channels",
        ylabel=f"{worded('GFLOP/s', [results[0].dtype])} (more is better)",
        title=channels_title(words, results[0]),
    )
    ends = [
        (name, list(line)[-1], list(line.values())[-1], str(styles[name]["color"]))
        for name, line in lines.items()
    ]
    _label(axes, ends)
    save(figure, file)
    return True


def roofline_plot(points: Sequence[Point], roofline: Roofline, file: Path) -> None:
    """Draw GFLOP/s over FLOPs per byte: the peak, a slope for each level of memory, the points.

    Raises:
        DepthwiseError: matplotlib is missing, or the file cannot be written.
    """
    figure, axes = canvas()
    low, high = extent(points, roofline)
    axes.set(
        xscale="log", yscale="log", xlim=(low, high), title=roofline_title(roofline),
        xlabel=worded("arithmetic intensity (FLOP/byte)", [roofline.dtype]),
        ylabel=worded("GFLOP/s", [roofline.dtype]),
    )  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_major_locator().set_params(subs=(1, 2, 5))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    _draw_roofs(axes, roofline, low, high)
    series_looks = looks(dict.fromkeys(point.series for point in points))
    styles = {series: _style(look) for series, look in series_looks.items()}
    for series, style in styles.items():
        own = [point for point in points if point.series == series]
        look = {**style, "linestyle": "", "label": series or None}
        axes.plot([point.intensity for point in own], [point.gflops for point in own], **look)
    named = [(p.label, p.intensity, p.gflops, str(styles[p.series]["color"])) for p in points]
    _label(axes, [label for label in named if label[0]])
    if any(styles):
        axes.legend(loc="lower right", frameon=False)
    save(figure, file)


def _draw_roofs(axes: Any, roofline: Roofline, low: float, high: float) -> None:
    peak = roofline.peak_gflops
    axes.plot([low, high], [peak, peak], color="0.3", linewidth=1.5)
    text = worded(f"peak {peak:.0f} GFLOP/s", [roofline.dtype])
    axes.annotate(text, (low, peak), (4, 4), textcoords="offset points", color="0.3")
    for level, bandwidth in roofline.levels().items():
        axes.plot([low, peak / bandwidth], [low * bandwidth, peak], color="0.6", linewidth=1)
        axes.annotate(
            f"{level} {bandwidth:.0f} GB/s", (low, low * bandwidth), (2, 7),
            textcoords="offset points", color="0.4", rotation_mode="anchor",
            rotation=45, transform_rotates_text=True, fontsize="small",
        )  # fmt: skip


def _style(look: Look) -> dict[str, Any]:
    return {
        "color": look.colour,
        "linestyle": DASHES[look.dash % len(DASHES)],
        "marker": MARKERS[look.marker % len(MARKERS)],
        "linewidth": 2.5 if look.ours else 1.2,
        "markersize": 5,
        "zorder": 3 if look.ours else 2,
    }


def _label(axes: Any, labels: Sequence[tuple[str, float, float, str]]) -> None:
    """Write (text, x, y, colour) right of its point, in columns where points lie close together."""
    axes.get_xlim(), axes.get_ylim()  # settles the scales
    to_axes = axes.transData + axes.transAxes.inverted()
    places = [tuple(map(float, to_axes.transform((x, y)))) for _, x, y, _ in labels]
    for column in columns([x for x, _ in places]):
        right = max(places[k][0] for k in column) + 0.04
        heights = spread([places[k][1] for k in column], LABEL_GAP)
        for k, height in zip(column, heights, strict=True):
            text, x, y, colour = labels[k]
            axes.annotate(
                text, (x, y), (right, height), textcoords="axes fraction", color=colour,
                va="center", fontsize="small", annotation_clip=False,
                bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 0.5},
                arrowprops={
                    "arrowstyle": "-", "color": colour, "linewidth": 0.5, "relpos": (0, 0.5),
                },
            )  # fmt: skip
