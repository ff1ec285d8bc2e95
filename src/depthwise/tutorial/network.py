"""A whole network drawn: the time of each of its parts, and where its images lie in memory."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from depthwise.tutorial.picture import COLOURS, INK, canvas, picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from depthwise.network.places import Life, Place

Drawn: TypeAlias = "tuple[Figure, str]"
Times: TypeAlias = tuple[float, float, float]
"""Microseconds before and after, and the least that the machine allows."""

BEFORE, AFTER = COLOURS[5], COLOURS[0]
BAR = 0.4
"""The height of a bar, in rows."""
KIB = 2**10


@picture
def time_by_part(parts: Mapping[str, Times], words: str = "") -> Drawn:
    """Draw two bars for each part, downwards in the order given, and a stroke at its limit.

    Args:
        parts: by name.
        words: what is to be seen.
    """
    figure, axes = canvas(7.5, 1.2 + 0.3 * len(parts))
    rows = range(len(parts))
    before, after, limit = zip(*parts.values(), strict=True)
    axes.barh([row - BAR / 2 for row in rows], before, BAR, color=BEFORE, label="before")
    axes.barh([row + BAR / 2 for row in rows], after, BAR, color=AFTER, label="after")
    ends = [row - BAR for row in rows], [row + BAR for row in rows]
    axes.vlines(limit, *ends, color=INK, linewidth=1.5, label="limit")
    axes.set_yticks(rows, list(parts))
    axes.set_ylim(len(parts) - 0.4, -0.6)
    axes.set_xlabel("us")
    figure.legend(loc="outside upper center", ncols=3)
    told = "; ".join(
        f"{name}: {was:,.0f} us before, {now:,.0f} after, limit {least:,.0f}"
        for name, (was, now, least) in parts.items()
    )
    return figure, f"{words} Time of each part. {told}.".strip()


@picture
def memory_map(
    needs: Mapping[Hashable, Life], places: Mapping[Hashable, Place], words: str = ""
) -> Drawn:
    """Draw each array as a rectangle: the steps in which it is needed, the bytes where it lies.

    Args:
        needs: the life of each array.
        places: where it is.
        words: what is to be seen.
    """
    figure, axes = canvas(7.5, 3.6)
    for number, (key, life) in enumerate(needs.items()):
        _draw_array(axes, life, places[key], COLOURS[number % len(COLOURS)])
    end = max(place.end for place in places.values()) / KIB
    steps = 1 + max(life.dies for life in needs.values())
    axes.set(xlim=(0, steps), ylim=(0, end), xlabel="step", ylabel="KiB from the beginning")
    total = sum(life.nbytes for life in needs.values()) / KIB
    return figure, (
        f"{words} {len(needs)} arrays of {total:,.0f} KiB together lie in {end:,.0f} KiB: where "
        f"one is needed no more, a later one takes its place, over {steps} steps."
    ).strip()


def _draw_array(axes: Any, life: Life, place: Place, colour: str) -> None:
    axes.bar(
        life.born, place.nbytes / KIB, 1 + life.dies - life.born, place.offset / KIB,
        align="edge", color=colour, alpha=0.75, edgecolor=INK, linewidth=0.6,
    )  # fmt: skip
