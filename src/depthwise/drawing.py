"""What every picture begins and ends with: an empty figure, colours, names beside lines, a file."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

from depthwise.errors import DepthwiseError, installs
from depthwise.files import check_writable, written

OUR_COLOUR = "#D55E00"
COLOURS = (
    "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#6A5ACD", "#E69F00", "#AA4499", "#999933",
    "#888888",
)  # fmt: skip
"""For others than ours: Okabe and Ito's palette and Tol's, told apart by colour-blind readers, as
far as they are seen on white and on black."""
NEEDS = f"a plot needs matplotlib; this installs it: {installs('bench')}"
DPI = 150
COLUMN_WIDTH = 0.12
"""Points closer than this part of the picture's width have their labels in one column."""


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def canvas(width: float = 9, height: float = 5.5, panels: int = 1) -> tuple[Any, Any]:
    """Return an empty figure of this size in inches, and its axes.

    Several panels stand beside one another over one vertical axis; their axes are an array.

    Raises:
        DepthwiseError: matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure  # optional, and slow to import
    except ImportError:
        raise DepthwiseError(NEEDS) from None
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, panels, sharey=True)
    for panel in figure.axes:
        panel.grid(visible=True, linewidth=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes


def check_plot(file: Path) -> None:
    """Refuse a picture that could not be drawn or written later; make its folder.

    Raises:
        DepthwiseError: matplotlib is missing, the file cannot be written, or its suffix names no
            form of pictures.
    """
    check_writable(file)
    if not can_draw():
        raise DepthwiseError(NEEDS)
    from matplotlib.backend_bases import FigureCanvasBase

    forms = sorted(FigureCanvasBase.get_supported_filetypes())
    if _form(file) not in forms:
        raise DepthwiseError(
            f"a plot goes to a file whose suffix is one of {', '.join(forms)}; got {file}"
        )


def save(figure: Any, file: Path) -> None:
    """Write a figure to a file, whose folder is made, in the form that its suffix names.

    Raises:
        DepthwiseError: the file cannot be written, or there is no such form.
    """
    check_plot(file)
    with written(file) as content:
        figure.savefig(content, format=_form(file), dpi=DPI)


def _form(file: Path) -> str:
    return file.suffix[1:].lower() or "png"


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
