"""Plots that tell their numbers when pointed at; the style of the page gives them its colours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from math import log10
from statistics import geometric_mean
from typing import TYPE_CHECKING, Any

from depthwise.bench.comparison import OURS, Pair
from depthwise.bench.report import microseconds
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
from depthwise.drawing import COLOURS, OUR_COLOUR

if TYPE_CHECKING:
    from depthwise.measure.roofline import Roofline

DASHES = ("solid", "dash", "dot", "dashdot")
MARKERS = ("circle", "square", "triangle-up", "diamond")
CLEAR = "rgba(0,0,0,0)"
GREY = "#7f7f7f"
HEIGHT, ROW_HEIGHT, MARGIN = 500, 34, 90
"""Pixels of a plot, of a row of one that has rows, and of what surrounds them."""
BAR = 0.42
"""The height of a bar in rows; its name stands above it, so that plots may be narrow."""
LETTER = 7
"""Pixels of a letter in a legend."""
ROOM = 1.5
"""By how much an axis goes on beyond the longest bar, for its number."""
CONFIG = {"responsive": True, "displayModeBar": False}
LOGARITHMIC = {
    "type": "log",
    "tickvals": [digit * 10.0**power for power in range(-4, 7) for digit in (1, 2, 5)],
}


@dataclass(frozen=True)
class Chart:
    """A plot with the words around it."""

    title: str
    text: str
    """What it shows."""
    figure: Any
    narrow: bool = False
    """Whether others may stand beside it."""

    def html(self, name: str) -> str:
        """Return the plot as an element of this id and the script that draws it."""
        drawn: str = self.figure.to_html(
            full_html=False, include_plotlyjs=False, div_id=name, config=CONFIG
        )
        return drawn


def channels(results: Sequence[Result]) -> Chart | None:
    """Draw GFLOP/s over channels, a line for each contestant; None where no problems form such."""
    words, lines = channel_lines(results)
    if not lines:
        return None
    figure = _canvas()
    for name, look in looks(lines).items():
        line = lines[name]
        figure.add_scatter(
            x=list(line), y=list(line.values()), name=escape(name), mode="lines+markers",
            line=_line(look), marker=_marker(look),
            hovertemplate="%{x} channels: %{y:.1f} GFLOP/s",
        )  # fmt: skip
    counts = sorted({count for line in lines.values() for count in line})
    figure.update_xaxes(title="channels", type="log", tickvals=counts, ticktext=counts)
    figure.update_yaxes(rangemode="tozero")
    figure.update_layout(legend_entrywidth=LETTER * max(map(len, lines)))
    best = {count: max(lines, key=lambda name: lines[name].get(count, 0)) for count in counts}
    led = sum(name.startswith(f"{OURS} ") for name in best.values())
    lead = f"ours leads at {led} of {len(counts)} counts"
    text = f"{channels_title(words, results[0])}. More is better; {lead}."
    return Chart("GFLOP/s over channels", text, figure)


def roofline(points: Sequence[Point], limits: Roofline) -> Chart:
    """Draw GFLOP/s over FLOPs per byte: the peak, a slope for each level of memory, the points."""
    figure = _canvas()
    low, high = extent(points, limits)
    peak = limits.peak_gflops
    roofs = {f"peak {peak:.0f} GFLOP/s": ([low, high], [peak, peak])}
    for level, bandwidth in limits.levels().items():
        xs = [low, peak / bandwidth]
        roofs[f"{level} {bandwidth:.0f} GB/s"] = (xs, [x * bandwidth for x in xs])
    for name, (xs, ys) in roofs.items():
        figure.add_scatter(
            x=xs, y=ys, name=name, mode="lines", showlegend=False, hoverinfo="name",
            line={"color": GREY, "width": 1.5},
        )  # fmt: skip
        figure.add_annotation(
            x=log10(xs[0]), y=log10(ys[0]), text=name, showarrow=False, xanchor="left",
            yanchor="middle" if name.startswith("peak") else "bottom",
        )  # fmt: skip
    for name, look in looks(dict.fromkeys(point.series for point in points)).items():
        own = [point for point in points if point.series == name]
        figure.add_scatter(
            x=[point.intensity for point in own], y=[point.gflops for point in own], name=name,
            mode="markers", marker=_marker(look, size=9), text=[escape(p.about) for p in own],
            hovertemplate="%{text}<br>%{y:.1f} GFLOP/s at %{x:.2f} FLOP/byte<extra></extra>",
        )  # fmt: skip
    figure.update_xaxes(
        title="arithmetic intensity (FLOP/byte)", range=_logarithms(low, high), **LOGARITHMIC
    )
    figure.update_yaxes(title="GFLOP/s", **LOGARITHMIC)
    text = f"{roofline_title(limits)}. Each point is a problem: our fastest, and the fastest peer."
    return Chart("Problems under the roofline", text, figure)


def ratios(pairs: Iterable[Pair], name: Callable[[Pair], str]) -> Chart | None:
    """Draw the fastest peer's time over ours, a bar for each problem; None without a peer.

    Args:
        pairs: of all problems.
        name: what a problem is called beside its bar.
    """
    found = [(pair, pair.ratio) for pair in pairs if pair.ratio is not None]
    if not found:
        return None
    rows = range(len(found))
    figure = _canvas(len(found))
    for series, colour, ahead in (
        (f"{OURS} is faster", OUR_COLOUR, True),
        ("the peer is faster", COLOURS[0], False),
    ):
        own = [k for k in rows if (found[k][1] >= 1) == ahead]
        figure.add_bar(
            x=[found[k][1] - 1 for k in own], y=own, base=1, orientation="h", name=series,
            marker={"color": colour}, text=[f"{found[k][1]:.2f}" for k in own],
            textposition="outside", hovertext=[_both(found[k][0]) for k in own],
            hovertemplate="%{hovertext}<extra></extra>",
        )  # fmt: skip
    values = [ratio for _, ratio in found]
    span = _logarithms(min(1, *values) / ROOM, max(1, *values) * ROOM)
    figure.update_xaxes(title="its time over ours", range=span, **LOGARITHMIC)
    _name_bars(figure, [name(pair) for pair, _ in found])
    won = sum(value >= 1 for value in values)
    text = (
        f"Above 1 ours is faster: on {won} of {len(values)} problems; "
        f"geometric mean {geometric_mean(values):.2f}."
    )
    return Chart("Our fastest beside the fastest peer, by problem", text, figure)


def bars(title: str, text: str, values: dict[str, float], colours: Sequence[str]) -> Chart:
    """Draw a bar for each name, the first at the top."""
    figure = _canvas(len(values))
    figure.add_bar(
        x=list(values.values()), y=list(range(len(values))), orientation="h", showlegend=False,
        marker={"color": list(colours)}, text=[f"{value:.3g}" for value in values.values()],
        textposition="outside", cliponaxis=False, hovertext=[escape(name) for name in values],
        hovertemplate="%{hovertext}: %{x:.4g}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(
        range=[0, ROOM * max(*values.values(), 1e-9)], showgrid=False, showticklabels=False
    )
    _name_bars(figure, list(values))
    return Chart(title, text, figure, narrow=True)


def _canvas(rows: int | None = None) -> Any:
    """Return an empty figure, for so many bars upon one another where that is given."""
    from plotly import graph_objects

    height = HEIGHT if rows is None else MARGIN + ROW_HEIGHT * rows
    return graph_objects.Figure(
        layout={
            "template": "none", "height": height, "paper_bgcolor": CLEAR, "plot_bgcolor": CLEAR,
            "font": {"family": "system-ui, sans-serif", "size": 13},
            "margin": {"l": 10, "r": 10, "t": 10, "b": 10},
            "xaxis": {"automargin": True}, "yaxis": {"automargin": True},
            "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
            "dragmode": False, "hoverlabel": {"namelength": -1, "align": "left"},
        }
    )  # fmt: skip


def _logarithms(low: float, high: float) -> list[float]:
    """Return a range as logarithmic axes take it."""
    return [log10(low), log10(high)]


def _line(look: Look) -> dict[str, Any]:
    dash = DASHES[look.dash % len(DASHES)]
    return {"color": look.colour, "dash": dash, "width": 3.5 if look.ours else 1.8}


def _marker(look: Look, size: int = 7) -> dict[str, Any]:
    return {"color": look.colour, "symbol": MARKERS[look.marker % len(MARKERS)], "size": size}


def _name_bars(figure: Any, names: Sequence[str]) -> None:
    figure.update_traces(width=BAR)
    figure.update_yaxes(
        tickvals=[row - 0.75 * BAR - 0.1 for row in range(len(names))],
        ticktext=[escape(name) for name in names], ticklabelposition="inside", ticks="",
        range=[len(names) - 1 + BAR, -1], showgrid=False, zeroline=False,
    )  # fmt: skip


def _both(pair: Pair) -> str:
    lines = [pair.spec] + [
        f"{result.contestant}: {microseconds(result.time)} us"
        for result in (pair.ours, pair.peer)
        if result
    ]
    return "<br>".join(map(escape, lines))
