"""Which inputs and outputs of a convolution the taps connect, along one axis, as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from depthwise.problem.spec import ConvSpec
from depthwise.schedule.window import Axis, axes
from depthwise.tutorial.picture import COLOURS, canvas, picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Edge: TypeAlias = "tuple[int, int, int]"
"""An input, the output that reads it, and the tap through which."""

_PALE = 0.25


def edges(axis: Axis) -> Iterator[Edge]:
    """Yield each product along a forward axis, those with padding left out.

    Forward an output sums over its edges, backward an input does.
    """
    for output in range(axis.outputs):
        for tap in range(axis.taps):
            source = axis.source(output, tap)
            if source is not None and 0 <= source < axis.inputs:
                yield source, output, tap


@picture
def connections(spec: ConvSpec, inputs: Sequence[int]) -> tuple[Figure, str]:
    """Draw the columns of a convolution: a line for each product, in the colour of its tap.

    Args:
        spec: the convolution.
        inputs: those whose lines stand out.
    """
    _, axis = axes(spec)
    figure, drawing = canvas(7, 2.6)
    centre = (axis.taps - 1) * axis.dilation / 2 - axis.before
    places = [output * axis.stride + centre for output in range(axis.outputs)]
    found = list(edges(axis))
    for source, output, tap in found:
        strong = source in inputs
        drawing.plot(
            (source, places[output]), (1, 0), color=COLOURS[tap], zorder=1 + strong,
            alpha=1.0 if strong else _PALE, linewidth=2.2 if strong else 1.2,
        )  # fmt: skip
    for column in range(axis.inputs):
        _dot(drawing, column, 1.07, f"x{column}", column in inputs)
    for output, place in enumerate(places):
        read = any(source in inputs and output == reader for source, reader, _ in found)
        _dot(drawing, place, -0.07, f"y{output}", read)
    for tap in range(axis.taps):
        drawing.plot([], [], color=COLOURS[tap], label=f"tap {tap}")
    drawing.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    drawing.set(ylim=(-0.3, 1.3))
    drawing.axis("off")
    return figure, _in_words(axis, found, inputs)


def _dot(drawing: Any, x: float, y: float, label: str, strong: bool) -> None:
    edge = COLOURS[1] if strong else COLOURS[-1]
    box = {"boxstyle": "round", "facecolor": "none", "edgecolor": edge}
    drawing.text(x, y, label, ha="center", va="center", fontsize=9, bbox=box)


def _in_words(axis: Axis, found: Sequence[Edge], inputs: Sequence[int]) -> str:
    words = []
    for chosen in inputs:
        readers = [(output, tap) for source, output, tap in found if source == chosen]
        terms = ", ".join(f"y{output} through tap {tap}" for output, tap in readers)
        words.append(f"x{chosen} is read by {terms or 'no output'}")
    return (
        f"{axis.inputs} inputs above, {axis.outputs} outputs below, stride {axis.stride}, "
        f"{axis.taps} taps: {'; '.join(words)}."
    )
