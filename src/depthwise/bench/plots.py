"""Pictures of the results: GFLOP/s over channels, and problems under the roofline.

Lines and points carry their names beside them.  The only module that meets matplotlib.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
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
from depthwise.errors import DepthwiseError

if TYPE_CHECKING:
    from depthwise.measure.roofline import Roofline

DASHES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D")
DPI = 150
LABEL_GAP = 0.034
"""Least distance between labels, as a part of the picture's height."""
COLUMN_WIDTH = 0.12
"""Points closer than this part of the picture's width have their labels in one column."""


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
        ylabel="GFLOP/s (more is better)",
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
        xscale="log", yscale="log", xlim=(low, high), xlabel="arithmetic intensity (FLOP/byte)",
        ylabel="GFLOP/s", title=roofline_title(roofline),
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
    axes.annotate(
        f"peak {peak:.0f} GFLOP/s", (low, peak), (4, 4), textcoords="offset points", color="0.3"
    )
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


def columns(places: Sequence[float]) -> list[list[int]]:
    """Return the indices of places in groups, each no wider than `COLUMN_WIDTH`."""
    found: list[list[int]] = []
    for k in sorted(range(len(places)), key=lambda k: places[k]):
        if found and places[k] - places[found[-1][0]] <= COLUMN_WIDTH:
            found[-1].append(k)
        else:
            found.append([k])
    return found


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Move heights apart, up and down alike, until neighbours differ by `gap`; none above 1."""
    order = sorted(range(len(heights)), key=lambda k: heights[k])
    up, down = list(heights), list(heights)
    for below, above in pairwise(order):
        up[above] = max(up[above], up[below] + gap)
    for above, below in pairwise(reversed(order)):
        down[below] = min(down[below], down[above] - gap)
    moved = [(high + low) / 2 for high, low in zip(up, down, strict=True)]
    excess = max(0.0, max(moved) - 1)
    return [height - excess for height in moved]


def tiling_map(title: str, tilings: Sequence[tuple[int, int, int, float]], file: Path) -> None:
    """Draw the GFLOP/s of tilings (tc, tw, th, GFLOP/s): channels or rows upwards, columns across.

    Rows of the tile stand in place of channels where the channels do not vary.
    """
    figure, axes = canvas()
    axes.grid(visible=False)
    by_rows = len({tc for tc, *_ in tilings}) == 1
    cells = {(th if by_rows else tc, tw): rate for tc, tw, th, rate in tilings}
    upwards, across = (sorted({cell[axis] for cell in cells}) for axis in (0, 1))
    grid = [[cells.get((y, x), float("nan")) for x in across] for y in upwards]
    image = axes.imshow(grid, origin="lower", aspect="auto", cmap="viridis")
    fastest = max(cells.values())
    for (y, x), rate in cells.items():
        axes.text(
            across.index(x), upwards.index(y), f"{rate:.1f}", ha="center", va="center",
            color="black" if rate > 0.6 * fastest else "white",
            fontweight="bold" if rate == fastest else "normal",
        )  # fmt: skip
    axes.set_xticks(range(len(across)), [str(x) for x in across])
    axes.set_yticks(range(len(upwards)), [str(y) for y in upwards])
    axes.set_xlabel("tw, columns in a tile")
    axes.set_ylabel("th, rows in a tile" if by_rows else "tc, channels in a vector or block")
    axes.set_title(title)
    figure.colorbar(image, label="GFLOP/s")
    save(figure, file)


def canvas(width: float = 9, height: float = 5.5, panels: int = 1) -> tuple[Any, Any]:
    """Return an empty figure of this size in inches, and its axes.

    Several panels stand beside one another over one vertical axis; their axes are an array.

    Raises:
        DepthwiseError: matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure  # optional, and slow to import
    except ImportError:
        raise DepthwiseError(
            "a plot needs matplotlib; this installs it: pip install 'depthwise[bench]'"
        ) from None
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, panels, sharey=True)
    for panel in figure.axes:
        panel.grid(visible=True, linewidth=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save(figure: Any, file: Path) -> None:
    """Write a figure to a file, whose folder is made.

    Raises:
        DepthwiseError: the file cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, dpi=DPI)
    except (OSError, ValueError) as error:
        raise DepthwiseError(f"a plot goes to a file that can be written; got {error}") from error
