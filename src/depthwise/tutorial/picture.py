"""A drawing that stands in the text: in the colours of the page, with words for what it shows."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from functools import wraps
from io import StringIO
from typing import TYPE_CHECKING, Any, ParamSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

P = ParamSpec("P")

INK = "#010203"
"""Lines and letters: drawn in this colour, they take that of the text around the picture."""
COLOURS = ("#d55e00", "#1f83d6", "#009e73", "#b65cc0", "#b07d00", "#7f7f7f")
"""Told apart by colour-blind readers, and seen on white and on black; ours is the first."""

_COUNTED_ID = re.compile(r' id="[^"]*_\d+"')
"""What matplotlib calls the parts of every figure alike; nothing refers to them."""
_STYLE: Any = {
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK
    ),
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), "none"),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    "axes.prop_cycle": "cycler('color', [{}])".format(", ".join(map(repr, COLOURS))),
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",
}


class Picture:
    """A figure of matplotlib, shown as a drawing within the page.

    Attributes:
        figure: what was drawn.
        text: what it shows, in words, for those who cannot see it.
    """

    def __init__(self, figure: Figure, text: str) -> None:
        self.figure, self.text = figure, text

    def _repr_html_(self) -> str:
        """Return the drawing as HTML, which is how notebooks and the site show it."""
        from matplotlib import rc_context

        file = StringIO()
        with rc_context({**_STYLE, "svg.hashsalt": self.text}):
            self.figure.savefig(file, format="svg", metadata={"Date": None})
        drawing = file.getvalue().replace(INK, "currentColor")
        drawing = _COUNTED_ID.sub("", drawing[drawing.index("<svg") :])
        words = html.escape(self.text, quote=True)
        head = f'<svg role="img" aria-label="{words}" style="max-width: 100%; height: auto" '
        return f'<figure class="picture">{drawing.replace("<svg ", head, 1)}</figure>'


def picture(draw: Callable[P, tuple[Figure, str]]) -> Callable[P, Picture]:
    """Make a function that returns a figure and what it shows in words return a `Picture`."""

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Picture:
        from matplotlib import rc_context

        with rc_context(_STYLE):
            return Picture(*draw(*args, **kwargs))

    return styled


def canvas(width: float = 7, height: float = 3.5, **options: Any) -> tuple[Figure, Any]:
    """Return an empty figure of so many inches and its axes; options are those of `subplots`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(**options)
