"""What a convolution reads: the window of an output in its plane, and the channels it sums over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

from depthwise.problem.block import Forward
from depthwise.problem.costs import cost
from depthwise.problem.spec import ConvSpec
from depthwise.problem.vocabulary import Pair
from depthwise.tutorial.picture import COLOURS, INK, canvas, picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Drawn: TypeAlias = "tuple[Figure, str]"

CELL_INCHES = 0.3
PLANE = 0.34
"""Half the side of a channel, where channels are one apart."""


def window(spec: ConvSpec, output: Pair) -> list[Pair]:
    """Return the (row, column) that each tap of an output reads; outside the input is padding."""
    rows, columns = (
        [at * stride + tap * dilation - before for tap in range(taps)]
        for at, stride, taps, dilation, (before, _) in zip(
            output, spec.stride, spec.kernel, spec.dilation, spec.padding, strict=True
        )
    )
    return [(row, column) for row in rows for column in columns]


def meetings(conv: ConvSpec) -> Iterator[Pair]:
    """Yield each (input channel, output channel) that a filter connects."""
    group_in, group_out = conv.channels // conv.groups, conv.out_channels // conv.groups
    for output in range(conv.out_channels):
        first = output // group_out * group_in
        for channel in range(first, first + group_in):
            yield channel, output


@picture
def sliding_window(spec: ConvSpec, outputs: Sequence[Pair]) -> Drawn:
    """Draw a plane with its padding, and what some of its outputs read.

    Args:
        spec: a convolution of a small plane.
        outputs: (row, column) of each output to colour.
    """
    (top, _), (left, _) = spec.padding
    tall, wide = max(spec.padded_height, spec.out_height), spec.padded_width + spec.out_width + 2
    figure, (before, after) = canvas(
        CELL_INCHES * wide + 0.4, CELL_INCHES * tall + 0.5, ncols=2,
        width_ratios=(spec.padded_width, spec.out_width),
    )  # fmt: skip
    for row in range(-top, spec.padded_height - top):
        for column in range(-left, spec.padded_width - left):
            _cell(before, (row, column), padding=not _inside(spec, (row, column)))
    for row in range(spec.out_height):
        for column in range(spec.out_width):
            _cell(after, (row, column))
    for output, colour in zip(outputs, COLOURS, strict=False):
        for place in window(spec, output):
            _fill(before, place, colour)
        _fill(after, output, colour)
    padded = ", padded" if spec.padding != ((0, 0), (0, 0)) else ""
    _finish(before, f"input {spec.height} by {spec.width}{padded}", tall)
    _finish(after, f"output {spec.out_height} by {spec.out_width}", tall)
    return figure, (
        f"A plane of {spec.height} by {spec.width} elements beside its output of "
        f"{spec.out_height} by {spec.out_width}: {spec}. "
        + " ".join(_told(spec, output) for output in outputs)
    )


@picture
def channel_structure(problems: Mapping[str, Forward]) -> Drawn:
    """Draw which input channels meet which output channels, a panel for each problem.

    The lines to an output channel are filters of one plane each; a block has a column of channels
    after each of its parts.

    Args:
        problems: by name; with few channels.
    """
    chains = {name: spec.parts for name, spec in problems.items()}
    lengths = [1 + len(chain) for chain in chains.values()]
    most = max(max(part.channels, part.out_channels) for c in chains.values() for part in c)
    figure, panels = canvas(
        1.1 * sum(lengths), 0.42 * most + 1.1, ncols=len(chains), squeeze=False,
        width_ratios=lengths,
    )  # fmt: skip
    for axes, (name, chain) in zip(panels[0], chains.items(), strict=True):
        _draw_chain(axes, chain)
        axes.set_title(f"{name}\n{cost(problems[name]).params} weights", fontsize="medium")
    return figure, " ".join(
        f"{name}: {_connected(spec)}; {cost(spec).params} weights."
        for name, spec in problems.items()
    )


def _draw_chain(axes: Any, chain: Sequence[ConvSpec]) -> None:
    widths = [chain[0].channels, *(part.out_channels for part in chain)]
    for step, part in enumerate(chain):
        for channel, output in meetings(part):
            ends = (_height(channel, part.channels), _height(output, part.out_channels))
            axes.plot(
                [2 * step + PLANE, 2 * step + 2 - PLANE], ends, linewidth=1.3,
                color=COLOURS[output % len(COLOURS)],
            )  # fmt: skip
    for step, width in enumerate(widths):
        for channel in range(width):
            _plane(axes, 2 * step, _height(channel, width))
    for step, part in enumerate(chain):
        kh, kw = part.kernel
        axes.text(2 * step + 1, max(widths) / 2 + 0.1, f"{kh} by {kw}", ha="center", va="bottom")
    axes.set(xlim=(-0.6, 2 * len(chain) + 0.6), ylim=(-max(widths) / 2, max(widths) / 2 + 0.6))
    axes.set_axis_off()


def _height(channel: int, count: int) -> float:
    """Return where a channel stands: the first one highest, the middle at zero."""
    return (count - 1) / 2 - channel


def _plane(axes: Any, x: float, y: float) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle((x - PLANE, y - PLANE), 2 * PLANE, 2 * PLANE, fill=False, edgecolor=INK)
    )


def _cell(axes: Any, place: Pair, padding: bool = False) -> None:
    from matplotlib.patches import Rectangle

    row, column = place
    style: dict[str, Any] = {"linestyle": ":", "alpha": 0.5} if padding else {}
    axes.add_patch(
        Rectangle((column, row), 1, 1, fill=False, edgecolor=INK, linewidth=0.7, **style)
    )
    if padding:
        axes.text(column + 0.5, row + 0.5, "0", ha="center", va="center", alpha=0.5, fontsize=8)


def _fill(axes: Any, place: Pair, colour: str) -> None:
    from matplotlib.patches import Rectangle

    row, column = place
    axes.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, alpha=0.45, linewidth=0))


def _finish(axes: Any, title: str, tall: int) -> None:
    """Show so many rows around the middle, downwards."""
    axes.autoscale_view()
    middle = sum(axes.get_ylim()) / 2
    axes.set_ylim(middle + tall / 2, middle - tall / 2)
    axes.set_title(title, fontsize="medium")
    axes.set_aspect("equal")
    axes.set_axis_off()


def _inside(spec: ConvSpec, place: Pair) -> bool:
    return 0 <= place[0] < spec.height and 0 <= place[1] < spec.width


def _told(spec: ConvSpec, output: Pair) -> str:
    places = window(spec, output)
    rows, columns = sorted({r for r, _ in places}), sorted({c for _, c in places})
    outside = sum(not _inside(spec, place) for place in places)
    beyond = f", {outside} of which are padding" if outside else ""
    return (
        f"The output at row {output[0]}, column {output[1]} sums the {len(places)} elements at "
        f"rows {_numbers(rows)} and columns {_numbers(columns)}{beyond}."
    )


def _numbers(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))


def _taps(part: ConvSpec) -> str:
    taps = prod(part.kernel)
    return "1 tap" if taps == 1 else f"{taps} taps"


def _connected(spec: Forward) -> str:
    told = [
        f"each of {part.out_channels} outputs sums {_taps(part)} of "
        f"{part.channels // part.groups} of {part.channels} channels"
        for part in spec.parts
    ]
    return ", then ".join(told)
