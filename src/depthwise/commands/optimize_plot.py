"""The time of each layer before and after `optimize`, drawn as bars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthwise.drawing import COLOURS, OUR_COLOUR, canvas, save

if TYPE_CHECKING:
    from depthwise.torch.optimize_report import Report, Row

BEFORE_COLOUR = "#999999"
OTHER_COLOUR = COLOURS[0]
WIDTH, ROW_HEIGHT, MARGIN = 10.0, 0.27, 1.8
"""Inches of the picture: across, of each row, and of what surrounds the rows."""
BAR = 0.4
"""The height of a bar, in rows."""
LONGEST_LABEL = 44


def plot(report: Report, file: Path) -> None:
    """Draw two bars for each line of a report, in the order of the network, downwards.

    Raises:
        DepthwiseError: matplotlib is missing, or the file cannot be written.
    """
    figure, axes = canvas(WIDTH, MARGIN + ROW_HEIGHT * len(report.lines))
    _draw_bars(axes, report.lines)
    axes.set_axisbelow(True)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"microseconds (less is better), {report.conditions}")
    axes.set_title(
        f"A call took {_milliseconds(report.total_before_us)} and takes "
        f"{_milliseconds(report.total_after_us)} now: {report.speedup:.2f} times as fast"
    )
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    save(figure, file)


def _draw_bars(axes: Any, lines: Sequence[Row]) -> None:
    places = range(len(lines))
    ours = [y for y in places if lines[y].plan is not None]
    others = [y for y in places if lines[y].plan is None]
    above, below = -BAR / 2, BAR / 2
    for own, shift, time, colour, label in (
        (places, above, "before_us", BEFORE_COLOUR, "before"),
        (ours, below, "after_us", OUR_COLOUR, "after, in our kernels"),
        (others, below, "after_us", OTHER_COLOUR, "after, outside them"),
    ):
        widths = [getattr(lines[y], time) for y in own]
        axes.barh([y + shift for y in own], widths, BAR, color=colour, label=label)
    for y, row in enumerate(lines):
        if row.speedup is not None:
            axes.annotate(
                f"{row.speedup:.2f}x", (max(row.before_us, row.after_us), y), (4, 0),
                textcoords="offset points", va="center", fontsize="x-small", color="0.3",
            )  # fmt: skip
    axes.set_yticks(places, [_label(row) for row in lines], fontsize="small")
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.margins(x=0.06)


def _label(row: Row) -> str:
    kind = row.kind if row.plan is not None else row.problem
    text = f"{row.name}  {kind}".strip()
    return text if len(text) <= LONGEST_LABEL else "…" + text[1 - LONGEST_LABEL :]


def _milliseconds(us: float) -> str:
    return f"{us / 1000:.2f} ms"
