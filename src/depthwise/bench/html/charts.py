"""What the pictures of a page show, placed on their axes; the templates draw it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import floor, log10
from statistics import geometric_mean
from typing import TYPE_CHECKING

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
from depthwise.problem.dtypes import worded

if TYPE_CHECKING:
    from depthwise.measure.roofline import Roofline

DASHES = ("none", "7 4", "2 3", "8 3 2 3")
MARKERS = ("circle", "square", "triangle", "diamond")
GREY = "#7f7f7f"
DIGITS = (1, 2, 5)
"""The first digits of the numbers beside an axis."""
MOST_TICKS = 8


@dataclass(frozen=True)
class Axis:
    """What is measured along an axis, from where to where."""

    title: str
    low: float
    high: float
    ticks: Mapping[float, str] = field(default_factory=dict)
    """What is written at which values."""
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Return how far along the axis a value lies, in percent."""
        low, high, at = self.low, self.high, value
        if self.logarithmic:
            low, high, at = log10(low), log10(high), log10(at)
        return round(100 * (at - low) / (high - low), 2)


@dataclass(frozen=True)
class Mark:
    """A point of a plot, and what it says when it is pointed at."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Note:
    """Words in a plot, beginning at a point and above or below it."""

    x: float
    y: float
    text: str
    below: bool


@dataclass(frozen=True)
class Line:
    """Marks that look alike."""

    name: str
    colour: str
    marks: tuple[Mark, ...]
    dash: str = "none"
    marker: str = ""
    """One of MARKERS, or empty: no marker."""
    width: float = 1.8
    """Of the line that joins the marks, in pixels; 0 is none."""


@dataclass(frozen=True)
class Plot:
    """Lines over two axes."""

    x: Axis
    y: Axis
    lines: tuple[Line, ...]
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Bar:
    """One bar: its name, its value and more in words, and which part of its row it covers."""

    name: str
    value: str
    about: str
    start: float
    length: float
    """Percent of the row."""
    colour: str


@dataclass(frozen=True)
class Chart:
    """Bars, or a plot, with the words around it."""

    title: str
    text: str
    """What it shows."""
    plot: Plot | None = None
    bars: tuple[Bar, ...] = ()
    colours: Mapping[str, str] = field(default_factory=dict)
    """What each colour of the bars means."""
    narrow: bool = False
    """Whether others may stand beside it."""


def channels(results: Sequence[Result]) -> Chart | None:
    """Draw GFLOP/s over channels, a line for each contestant; None where no problems form such."""
    words, lines = channel_lines(results)
    if not lines:
        return None
    counts = sorted({count for line in lines.values() for count in line})
    highest = max(gflops for line in lines.values() for gflops in line.values())
    unit = worded("GFLOP/s", [results[0].dtype])
    drawn = [
        _line(name, look, [
            Mark(count, gflops, f"{name}, {count} channels: {gflops:.1f} {unit}")
            for count, gflops in lines[name].items()
        ])
        for name, look in looks(lines).items()
    ]  # fmt: skip
    best = {count: max(lines, key=lambda name: lines[name].get(count, 0)) for count in counts}
    led = sum(name.startswith(f"{OURS} ") for name in best.values())
    lead = f"ours leads at {led} of {len(counts)} counts"
    text = f"{channels_title(words, results[0])}. More is better; {lead}."
    across = Axis("channels", counts[0], counts[-1], {count: str(count) for count in counts}, True)
    plot = Plot(across, from_zero(highest, unit), tuple(drawn))
    return Chart(f"{unit} over channels", text, plot)


def roofline(points: Sequence[Point], limits: Roofline) -> Chart:
    """Draw GFLOP/s over FLOPs per byte: the peak, a slope for each level of memory, the points."""
    low, high = extent(points, limits)
    peak = limits.peak_gflops
    unit, intensity = (worded(each, [limits.dtype]) for each in ("GFLOP/s", "FLOP/byte"))
    roofs = {f"peak {peak:.0f} {unit}": [(low, peak), (high, peak)]}
    for level, bandwidth in limits.levels().items():
        ends = (low, peak / bandwidth)
        roofs[f"{level} {bandwidth:.0f} GB/s"] = [(x, x * bandwidth) for x in ends]
    drawn = [
        Line(name, GREY, tuple(Mark(x, y, name) for x, y in ends)) for name, ends in roofs.items()
    ]
    notes = [Note(*ends[0], name, below=ends[0][1] < peak) for name, ends in roofs.items()]
    for name, look in looks(dict.fromkeys(point.series for point in points)).items():
        own = [
            Mark(p.intensity, p.gflops,
                 f"{p.about}: {p.gflops:.1f} {unit} at {p.intensity:.2f} {intensity}")
            for p in points if p.series == name
        ]  # fmt: skip
        drawn.append(_line(name, look, own, width=0))
    heights = [mark.y for line in drawn for mark in line.marks]
    across = _logarithmic(f"arithmetic intensity ({intensity})", low, high)
    upward = _logarithmic(unit, min(heights) / 1.5, max(heights) * 1.5)
    text = f"{roofline_title(limits)}. Each point is a problem: our fastest, and the fastest peer."
    plot = Plot(across, upward, tuple(drawn), tuple(notes))
    return Chart("Problems under the roofline", text, plot)


def ratios(pairs: Iterable[Pair], name: Callable[[Pair], str]) -> Chart | None:
    """Draw the fastest peer's time over ours, a bar for each problem; None without a peer.

    Args:
        pairs: of all problems.
        name: what a problem is called beside its bar.
    """
    found = [(pair, pair.ratio) for pair in pairs if pair.ratio is not None]
    if not found:
        return None
    values = [ratio for _, ratio in found]
    axis = Axis("", min(0.9, *values), max(1.1, *values), logarithmic=True)
    behind, ahead = COLOURS[0], OUR_COLOUR
    drawn = [
        _bar(name(pair), f"{ratio:.2f}", _both(pair), axis, 1, ratio, (behind, ahead)[ratio >= 1])
        for pair, ratio in found
    ]
    won = sum(value >= 1 for value in values)
    text = (
        "Its time over ours, on a logarithmic scale that begins at 1, where both are as fast. "
        f"Above 1 ours is faster: on {won} of {len(values)} problems; "
        f"geometric mean {geometric_mean(values):.2f}."
    )
    title = "Our fastest beside the fastest peer, by problem"
    colours = {f"{OURS} is faster": ahead, "the peer is faster": behind}
    return Chart(title, text, bars=tuple(drawn), colours=colours)


def bars(title: str, text: str, values: dict[str, float], colours: Sequence[str]) -> Chart:
    """Draw a bar for each name, the first at the top."""
    axis = Axis("", 0, max(*values.values(), 1e-9))
    drawn = [
        _bar(name, f"{value:.3g}", "", axis, 0, value, colour)
        for (name, value), colour in zip(values.items(), colours, strict=True)
    ]
    return Chart(title, text, bars=tuple(drawn), narrow=True)


def _bar(
    name: str, value: str, about: str, axis: Axis, start: float, end: float, colour: str
) -> Bar:
    low, high = sorted((axis.place(start), axis.place(end)))
    return Bar(name, value, about, low, round(high - low, 2), colour)


def _line(name: str, look: Look, marks: Sequence[Mark], width: float | None = None) -> Line:
    if width is None:
        width = 3.5 if look.ours else 1.8
    dash, marker = DASHES[look.dash % len(DASHES)], MARKERS[look.marker % len(MARKERS)]
    return Line(name, look.colour, tuple(marks), dash, marker, width)


def _logarithmic(title: str, low: float, high: float) -> Axis:
    powers = range(floor(log10(low)), floor(log10(high)) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in DIGITS]
    return Axis(title, low, high, {t: f"{t:g}" for t in ticks if low <= t <= high}, True)


def from_zero(highest: float, title: str) -> Axis:
    """Return an axis from zero to a little above the highest."""
    high = 1.05 * highest
    power = 10.0 ** floor(log10(high / MOST_TICKS))
    step = next(d * power for d in (*DIGITS, 10) if high / (d * power) <= MOST_TICKS)
    ticks = [step * k for k in range(int(high / step) + 1)]
    return Axis(title, 0, high, {tick: f"{tick:g}" for tick in ticks})


def _both(pair: Pair) -> str:
    return ", ".join(
        f"{result.contestant} {microseconds(result.time)}\N{NO-BREAK SPACE}us"
        for result in (pair.ours, pair.peer)
        if result
    )
