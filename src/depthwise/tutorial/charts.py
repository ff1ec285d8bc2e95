"""Charts of what a page has counted and measured: roofline, lines, bars, heat map.

Each makes its alternative text from the numbers that it shows, after the words that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite, nan
from typing import TYPE_CHECKING, Any, TypeAlias

from depthwise.drawing import columns, spread
from depthwise.machine.team import in_words
from depthwise.measure.roofline import Roofline
from depthwise.tutorial.picture import COLOURS, INK, canvas, picture
from depthwise.tutorial.prose import number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Drawn: TypeAlias = "tuple[Figure, str]"
Label: TypeAlias = tuple[str, float, float, str]
"""A text, where it belongs (x, y), and its colour."""

MARKERS = "os^Dv*"
FAINT = 0.25
"""How much of the ink grids and slopes take."""
LABEL_INCHES = 0.19
"""How far labels that stand above one another are apart."""
MOST_TICKS = 10
"""More places than these have ticks at every second or third of them."""
WIDE = 8
"""Numbers whose largest is so many times their smallest stand on a logarithmic axis."""
DARK, LIGHT = "#101010", "#f4f4f4"
"""Letters upon filled cells."""


@picture
def roofline(limits: Roofline, points: Mapping[str, tuple[float, float]], words: str = "") -> Drawn:
    """Draw GFLOP/s over FLOPs per byte: the peak, a slope for each level of memory, the points.

    Args:
        limits: of this machine.
        points: by label: FLOPs per byte, and GFLOP/s.  Those whose labels begin with the same word
            look alike; where several words begin more than one label each, the legend has the words
            and the points have the rest.
        words: what is to be seen.
    """
    figure, axes = canvas(7, 4.8)
    slopes = limits.levels()
    known = [limits.peak_gflops / slope for slope in slopes.values()]
    known += [intensity for intensity, _ in points.values()]
    low, high = min(known) / 2, max(known) * 2
    axes.set(
        xscale="log", yscale="log", xlim=(low, high),
        xlabel="arithmetic intensity (FLOP/byte)", ylabel="GFLOP/s",
    )  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_major_locator().set_params(subs=(1, 2, 5))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    _draw_roofs(axes, limits.peak_gflops, slopes, low, high)
    _draw_points(axes, points)
    roofs = ", ".join(f"{level} {slope:.0f} GB/s" for level, slope in slopes.items())
    told = _listed(f"{name}: {x:.2g} FLOP/byte, {y:.0f} GFLOP/s" for name, (x, y) in points.items())
    return figure, (
        f"{words} Roofline of {in_words(limits.threads)}: no more than {limits.peak_gflops:.0f} "
        f"GFLOP/s, and no more than the bytes moved allow: {roofs}. {told}"
    ).strip()


@picture
def lines(
    series: Mapping[str, Mapping[float, float]], x: str, y: str, words: str = "",
    limit: tuple[str, float] | None = None,
) -> Drawn:  # fmt: skip
    """Draw a line for each series, its name at its end.

    Args:
        series: by name: height by place.
        x: what the places are.
        y: what the heights are.
        words: what is to be seen.
        limit: the name and height of a dashed line.
    """
    figure, axes = canvas()
    colours = _cycled(series)
    for name, line in series.items():
        axes.plot(list(line), list(line.values()), color=colours[name], marker="o", markersize=4)
    _name_places(axes, sorted({place for line in series.values() for place in line}))
    axes.set(xlabel=x, ylabel=y)
    ends = [(name, *list(line.items())[-1], colours[name]) for name, line in series.items()]
    if limit:
        axes.axhline(limit[1], color=INK, linewidth=1, linestyle="--")
        ends.append((limit[0], axes.get_xlim()[1], limit[1], INK))
    axes.set_ylim(bottom=0)
    axes.grid(color=INK, alpha=FAINT, linewidth=0.4)
    _write_beside(axes, ends)
    told = _listed(
        f"{name}: " + ", ".join(f"{number(height)} at {place:g}" for place, height in line.items())
        for name, line in series.items()
    )
    bound = f" {limit[0]}: {number(limit[1])}." if limit else ""
    return figure, f"{words} {y} over {x}. {told}{bound}".strip()


@picture
def bars(
    values: Mapping[str, float], unit: str, limit: tuple[str, float] | None = None, words: str = ""
) -> Drawn:
    """Draw a bar for each value, downwards in the order given, the number at its end.

    Args:
        values: by name.
        unit: of the values.
        limit: the name and value of a dashed line across the bars.
        words: what is to be seen.
    """
    figure, axes = canvas(7, 0.8 + 0.32 * len(values) + 0.3 * bool(limit))
    drawn = axes.barh(list(values), list(values.values()), color=COLOURS[1], height=0.7)
    axes.bar_label(drawn, [*map(number, values.values())], padding=3)
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.margins(x=0.12)
    if limit:
        axes.axvline(limit[1], color=INK, linewidth=1, linestyle="--")
        axes.annotate(
            f"{limit[0]} {number(limit[1])}", (limit[1], 1), (3, 3), ("data", "axes fraction"),
            textcoords="offset points", fontsize="small",
        )  # fmt: skip
    told = _listed(f"{name}: {number(value)} {unit}" for name, value in values.items())
    bound = f" {limit[0]}: {number(limit[1])} {unit}." if limit else ""
    return figure, f"{words} {told}{bound}".strip()


@picture
def heat_map(
    values: Mapping[tuple[Any, Any], float], row: str, column: str, unit: str, words: str = "",
    best: Callable[[Iterable[float]], float] = max,
) -> Drawn:  # fmt: skip
    """Draw a cell for each value: rows upwards, columns across, the best in bold letters.

    Args:
        values: by row and column; pairs that are missing, or not finite, leave a gap.
        row: what the rows are.
        column: what the columns are.
        unit: of the values.
        words: what is to be seen.
        best: `max`, or `min` where less is better.
    """
    from matplotlib import colormaps

    upwards, across = (sorted({cell[axis] for cell in values}) for axis in (0, 1))
    found = {cell: value for cell, value in values.items() if isfinite(value)}
    figure, axes = canvas(1.6 + 0.75 * len(across), 1.2 + 0.45 * len(upwards))
    grid = [[found.get((y, x), nan) for x in across] for y in upwards]
    image = axes.imshow(grid, origin="lower", aspect="auto", cmap="viridis")
    winner = best(found.values())
    for (y, x), value in found.items():
        axes.text(
            across.index(x), upwards.index(y), number(value), ha="center", va="center",
            color=_letters(colormaps["viridis"](image.norm(value))),
            fontweight="bold" if value == winner else "normal",
        )  # fmt: skip
    axes.set_xticks(range(len(across)), [str(x) for x in across])
    axes.set_yticks(range(len(upwards)), [str(y) for y in upwards])
    axes.set(xlabel=column, ylabel=row)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, label=unit)
    (top, left) = next(cell for cell, value in found.items() if value == winner)
    return figure, (
        f"{words} {unit} by {row} and {column}: from {number(min(found.values()))} to "
        f"{number(max(found.values()))}; the best, {number(winner)}, at {row} {top} and "
        f"{column} {left}."
    ).strip()


def _draw_roofs(
    axes: Any, peak: float, slopes: Mapping[str, float], low: float, high: float
) -> None:
    axes.plot([low, high], [peak, peak], color=INK, linewidth=1.5)
    axes.annotate(f"peak {peak:.0f} GFLOP/s", (low, peak), (4, 4), textcoords="offset points")
    for level, slope in slopes.items():
        axes.plot([low, peak / slope], [low * slope, peak], color=INK, alpha=2 * FAINT, linewidth=1)
        axes.annotate(
            f"{level} {slope:.0f} GB/s", (low, low * slope), (2, 6), fontsize="small",
            textcoords="offset points", rotation=45, rotation_mode="anchor",
            transform_rotates_text=True,
        )  # fmt: skip


def _draw_points(axes: Any, points: Mapping[str, tuple[float, float]]) -> None:
    kinds = list(dict.fromkeys(label.split(" ")[0] for label in points))
    grouped = 1 < len(kinds) < len(points)
    colours, labels = _cycled(kinds), []
    for kind, marker in zip(kinds, MARKERS * len(kinds), strict=False):
        own = {label: at for label, at in points.items() if label.split(" ")[0] == kind}
        axes.plot(
            [x for x, _ in own.values()], [y for _, y in own.values()], marker, markersize=5,
            color=colours[kind], label=kind if grouped else None,
        )  # fmt: skip
        for label, at in own.items():
            labels.append((label.partition(" ")[2] if grouped else label, *at, colours[kind]))
    if grouped:
        axes.legend(loc="lower right")
    _write_beside(axes, labels)


def _write_beside(axes: Any, labels: Sequence[Label]) -> None:
    """Write each text right of its place, in columns where places lie close together."""
    axes.get_xlim(), axes.get_ylim()  # settles the scales
    to_axes = axes.transData + axes.transAxes.inverted()
    places = [tuple(map(float, to_axes.transform((x, y)))) for _, x, y, _ in labels]
    for column in columns([x for x, _ in places]):
        right = max(places[k][0] for k in column) + 0.03
        gap = LABEL_INCHES / axes.figure.get_figheight()
        heights = spread([places[k][1] for k in column], gap)
        for k, height in zip(column, heights, strict=True):
            text, x, y, colour = labels[k]
            axes.annotate(
                text, (x, y), (right, height), textcoords="axes fraction", color=colour,
                va="center", fontsize="small", annotation_clip=False,
                arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5,
                            "relpos": (0, 0.5)},
            )  # fmt: skip


def _name_places(axes: Any, places: Sequence[float]) -> None:
    """Put ticks at the places, on a logarithmic axis where they lie far apart."""
    if places[0] > 0 and places[-1] / places[0] >= WIDE:
        axes.set_xscale("log", base=2)
    shown = places[:: -(-len(places) // MOST_TICKS)]
    axes.set_xticks(shown, [f"{place:g}" for place in shown])
    axes.set_xticks([], minor=True)


def _cycled(names: Iterable[str]) -> dict[str, str]:
    return {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(names)}


def _letters(cell: Sequence[float]) -> str:
    """Return the colour of letters that are read on a cell of this colour (red, green, blue)."""
    red, green, blue = cell[:3]
    return DARK if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else LIGHT


def _listed(sentences: Iterable[str]) -> str:
    return "; ".join(sentences) + "."
