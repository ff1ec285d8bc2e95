"""A call of a network along an axis of time: each step where it begins, in a lane of its kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthwise.drawing import COLOURS, OUR_COLOUR, canvas, save
from depthwise.network.report import CALL, COPY, VIEW

if TYPE_CHECKING:
    from depthwise.network.report import Measured, Outside, Part, Report

PRODUCTS, BLOCKS, OTHERS = "products, convolutions", "depthwise, blocks", "element by element, …"
COPIES, BETWEEN = "copies", "between the kernels"
KINDS = {
    PRODUCTS: ("pointwise", "conv", "attention"),
    BLOCKS: ("depthwise", "depthwise1d", "separable", "inverted"),
    COPIES: (COPY, VIEW),
}
"""The kinds of parts in each lane; those of an engine are in one that has its name, and all other
kernels of ours in `OTHERS`."""
LANES = {PRODUCTS: OUR_COLOUR, BLOCKS: COLOURS[0], OTHERS: COLOURS[1], COPIES: COLOURS[5]}
"""The colours of lanes; those of engines come after these."""
ENGINE_COLOUR, BETWEEN_COLOUR = COLOURS[2], COLOURS[-1]
SHADES = 1.0, 0.6
"""How opaque the bars of a lane are in turns, so that neighbours are told apart."""
WIDTH, ACROSS, MARGIN = 13.0, 10.7, 1.3
"""Inches of the picture, of the axis of time in it, nearly, and of what surrounds the lanes."""
BAR, GAP, LEVEL, LEVELS = 0.4, 0.22, 0.15, 4
"""Inches of a bar, between two lanes, and of each row of labels above the bars; the most rows."""
LABELS, LONGEST_LABEL, LETTER = 20, 36, 0.062
"""How many of the longest steps have labels, of how many letters, and a letter's inches, nearly."""
LEAST = 0.01
"""The share of a call from which on a step has a label."""
FARTHEST, MARGIN_AFTER = 2.0, 1.02
"""An axis goes to the end of the other engine's call where that takes at most so many times as long
as ours, and a little farther than to the last end."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """Words beside a line up from the middle of a bar.

    Attributes:
        text: the words.
        x: where the line is.
        begin: from where the words reach, which is `x` or to the left of it.
        end: where to.
    """

    text: str
    x: float
    begin: float
    end: float


@dataclass(frozen=True, kw_only=True)
class Lane:
    """Bars beside one another.

    Attributes:
        name: what they have in common.
        colour: of the bars.
        stretches: begin and length of each, in microseconds.
        labels: each with the row in which it stands.
    """

    name: str
    colour: str
    stretches: tuple[tuple[float, float], ...]
    labels: tuple[tuple[Label, int], ...] = ()

    @property
    def us(self) -> float:
        """The length of all bars."""
        return sum(us for _, us in self.stretches)

    @property
    def height(self) -> float:
        """In inches, with the labels and a gap."""
        return BAR + GAP + LEVEL * max((row + 1 for _, row in self.labels), default=0)


def plot(report: Report, file: Path) -> None:
    """Draw a network that was measured.

    Raises:
        DepthwiseError: matplotlib is missing, or the file cannot be written.
    """
    measured, outside = report.measured, report.outside
    assert measured is not None
    assert outside is not None
    end = _end(measured)
    shown = lanes(report.parts, outside, end)
    tops = [*accumulate(each.height for each in shown)]
    figure, axes = canvas(WIDTH, MARGIN + tops[-1])
    axes.set_ylim(tops[-1] + GAP, 0)
    axes.set_yticks(
        [bottom - BAR / 2 for bottom in tops],
        [
            f"{each.name}\n{_milliseconds(each.us)}, {each.us / outside.total_us:.1%}"
            for each in shown
        ],
        fontsize="small",
    )
    for each, bottom in zip(shown, tops, strict=True):
        _draw(axes, each, bottom)
    _draw_axis(axes, measured, end)
    axes.set_title(
        f"A call takes {_milliseconds(outside.total_us)}, {outside.share:.1%} of it outside our "
        f"kernels: {measured.speedup:.2f} times as fast as {measured.reference}"
    )
    save(figure, file)


def _end(measured: Measured) -> float:
    """Return the last end of a call that is drawn, in microseconds."""
    ours, other = measured.total_us, measured.reference_us
    return other if ours < other <= FARTHEST * ours else ours


def lanes(parts: Sequence[Part], outside: Outside, end: float) -> list[Lane]:
    """Return what is drawn of the parts of a call, lane by lane, and of what lies between them.

    Args:
        parts: with their times.
        outside: of that call.
        end: how many microseconds the axis has.
    """
    running = [part for part in parts if part.us]
    longest = sorted(running, key=lambda part: -(part.us or 0.0))[:LABELS]
    found = []
    for name in dict.fromkeys([PRODUCTS, BLOCKS, OTHERS, *map(lane_of, running), COPIES]):
        own = [part for part in running if lane_of(part) == name]
        told = [part for part in longest if lane_of(part) == name]
        words = [labels_of(part, outside.total_us, end) for part in told if _counts(part, outside)]
        if own:
            found.append(
                Lane(
                    name=name,
                    colour=LANES.get(name, ENGINE_COLOUR),
                    stretches=tuple((part.begin_us or 0.0, part.us or 0.0) for part in own),
                    labels=tuple(arranged(words)),
                )
            )
    between = tuple(_gaps(running, outside.total_us))
    return [*found, Lane(name=BETWEEN, colour=BETWEEN_COLOUR, stretches=between)]


def lane_of(part: Part) -> str:
    """Return the name of the lane of a part."""
    if part.kind == CALL:
        return str(part.engine)
    return next((name for name, kinds in KINDS.items() if part.kind in kinds), OTHERS)


def _counts(part: Part, outside: Outside) -> bool:
    return (part.us or 0.0) >= LEAST * outside.total_us


def _gaps(running: Sequence[Part], total: float) -> list[tuple[float, float]]:
    """Return when nothing runs."""
    begins = [*(part.begin_us or 0.0 for part in running), total]
    ends = [0.0, *((part.begin_us or 0.0) + (part.us or 0.0) for part in running)]
    return [(end, max(0.0, begin - end)) for end, begin in zip(ends, begins, strict=True)]


def labels_of(part: Part, total: float, end: float) -> list[Label]:
    """Return the end of a part's name and how long it takes, on each side where a call has room."""
    time = _milliseconds(part.us or 0.0)
    name, room = part.name or part.problem, LONGEST_LABEL - len(time) - 1
    text = f"{name if len(name) <= room else '…' + name[1 - room :]} {time}"
    x = (part.begin_us or 0.0) + (part.us or 0.0) / 2
    width = LETTER * (len(text) + 2) * end / ACROSS
    sides = [Label(text=text, x=x, begin=begin, end=begin + width) for begin in (x, x - width)]
    return [side for side in sides if side.begin >= 0 and side.end <= total]


def arranged(labels: Sequence[Sequence[Label]]) -> list[tuple[Label, int]]:
    """Return labels with the lowest row in which each meets neither another nor its line.

    Args:
        labels: each as it may be; those that come first have their place first, and those for which
            there is no place left have none.
    """
    found: list[tuple[Label, int]] = []
    for sides in labels:
        places = (
            (side, row)
            for row in range(LEVELS)
            for side in sides
            if not any(_meet(side, row, *taken) for taken in found)
        )
        found.extend(islice(places, 1))
    return found


def _meet(one: Label, row: int, other: Label, taken: int) -> bool:
    """Whether two labels in these rows meet: their words, or one's words and the other's line."""
    if row == taken:
        return one.begin < other.end and other.begin < one.end
    low, high = (one, other) if row < taken else (other, one)
    return low.begin <= high.x <= low.end


def _draw(axes: Any, lane: Lane, bottom: float) -> None:
    top = bottom - BAR
    for first, shade in enumerate(SHADES):
        bars = lane.stretches[first :: len(SHADES)]
        axes.broken_barh(
            bars, (top, BAR), facecolor=lane.colour, alpha=shade, linewidth=0, snap=False
        )  # a bar of less than a pixel is a faint one
    for each, row in lane.labels:
        y = top - LEVEL * (row + 0.5)
        axes.plot((each.x, each.x), (top, y), color="0.5", linewidth=0.5)
        axes.text(
            each.x, y, f" {each.text} ", fontsize="x-small", va="center",
            ha="left" if each.begin == each.x else "right",
        )  # fmt: skip


def _draw_axis(axes: Any, measured: Measured, end: float) -> None:
    """Draw the axis of time with the ends of both calls; one far behind ours is an arrow."""
    total, other = measured.total_us, measured.reference_us
    axes.set_xlim(0, end * MARGIN_AFTER)
    axes.xaxis.set_major_formatter(lambda us, _: f"{us / 1000:g}")
    axes.set_xlabel(f"milliseconds from where a call begins, {measured.conditions}")
    axes.grid(visible=False, axis="y")
    axes.set_axisbelow(True)
    axes.axvline(total, color=OUR_COLOUR, linewidth=1)
    words = f"{measured.reference}: {_milliseconds(other)}"
    if other <= end:
        axes.axvline(other, color="0.3", linewidth=1, linestyle="--")
    else:
        words += " →"
    axes.annotate(
        f"{words} ", (min(other, end), 0), (-2, -2), textcoords="offset points", ha="right",
        va="top", fontsize="small", color="0.3",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0},
    )  # fmt: skip


def _milliseconds(us: float) -> str:
    return f"{us / 1000:.2f} ms"
