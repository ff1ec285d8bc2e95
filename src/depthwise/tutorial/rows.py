"""The rows of a block that is computed strip by strip: where each lies, as pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from depthwise.schedule.chain import Chain
from depthwise.tutorial.picture import COLOURS, INK, canvas, picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NEW, _KEPT, _MADE = COLOURS[0], COLOURS[1], COLOURS[2]
_FILLED = 0.35
"""How much of its colour a cell has, so that letters are read on it in light and dark."""
_AROUND = 2
"""Rows of an image that are drawn before and after those that take part."""


@dataclass(frozen=True)
class Strip:
    """What one strip of a chain does, in rows."""

    outputs: range
    """The output rows that it makes."""
    reads: range
    """The rows that its depthwise convolution reads."""
    new: range
    """Those among them that the strip before did not read."""


def strips(chain: Chain) -> list[Strip]:
    """Return the strips of an image, in the order in which one thread computes them."""
    found: list[Strip] = []
    for begin in range(0, chain.depthwise.out_height, chain.rows):
        end = min(begin + chain.rows, chain.depthwise.out_height)
        low, high = chain.inputs(begin, end)
        have = found[-1].reads.stop if found else low
        found.append(Strip(range(begin, end), range(low, high), range(max(low, have), high)))
    return found


def ring(chain: Chain, number: int) -> list[int | None]:
    """Return the row that each slot of the ring holds while a strip is computed."""
    high = strips(chain)[number].reads.stop
    slots: list[int | None] = [None] * chain.ring_rows
    for row in range(high):
        slots[row % chain.ring_rows] = row
    return slots


@picture
def strip_at_work(chain: Chain, number: int) -> tuple[Figure, str]:
    """Draw the memory that one strip reads and writes, a bar a row.

    Args:
        chain: a kernel of several parts.
        number: which of its strips.
    """
    strip = strips(chain)[number]
    columns = list(_columns(chain, number, strip))
    tallest = max(len(rows) for _, rows in columns)
    figure, axes = canvas(7.5, 1.0 + 0.27 * tallest)
    for place, (title, rows) in enumerate(columns):
        top = (tallest - len(rows)) / 2
        axes.text(place, -0.3, title, ha="center", va="bottom")
        for slot, (label, colour) in enumerate(rows):
            _cell(axes, place - 0.31, top + slot, 0.62, label, colour)
    names = [name for name in chain.names if name != "expand"]
    for place, name in enumerate((["expand"] if chain.has_ring else []) + names):
        middle = tallest / 2
        arrow = {"arrowstyle": "->", "color": INK}
        axes.annotate("", (place + 0.66, middle), (place + 0.34, middle), arrowprops=arrow)
        axes.text(place + 0.5, middle - 0.2, name, ha="center", va="bottom", fontsize=9)
    axes.set(xlim=(-0.4, len(columns) - 0.6), ylim=(tallest + 0.1, -2.4))
    axes.axis("off")
    return figure, _strip_in_words(chain, number, strip)


@picture
def ring_over_time(chain: Chain, count: int) -> tuple[Figure, str]:
    """Draw what the slots of the ring hold during the first strips of an image.

    Args:
        chain: a kernel of several parts, the first of which fills a ring.
        count: of strips.
    """
    found = strips(chain)[:count]
    figure, axes = canvas(7, 0.8 + 0.35 * chain.ring_rows)
    for number, strip in enumerate(found):
        for slot, row in enumerate(ring(chain, number)):
            label = "" if row is None else f"row {row}"
            _cell(axes, number - 0.45, slot, 0.9, label, _colour(row, strip))
    axes.set(
        xlim=(-0.6, len(found) - 0.4), ylim=(chain.ring_rows, 0), xlabel="strip", ylabel="slot"
    )
    axes.set_xticks(range(len(found)))
    axes.set_yticks([slot + 0.5 for slot in range(chain.ring_rows)], range(chain.ring_rows))
    axes.spines[:].set_visible(False)
    made = "; ".join(
        f"strip {number} expands {_names(strip.new)} and finds {_names(_old(strip))} there"
        for number, strip in enumerate(found)
    )
    return figure, f"The {chain.ring_rows} slots of the ring, strip after strip: {made}."


def _columns(
    chain: Chain, number: int, strip: Strip
) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """Yield the title and the rows of each piece of memory, in the order data pass through it."""
    conv = chain.depthwise
    first, last = chain.parts[0], chain.parts[-1]
    near = _around(strip.reads, conv.height)
    source = strip.new if chain.has_ring else strip.reads
    colours = {row: _colour(row, strip) for row in source}
    yield _title("input", first.channels), [(f"row {r}", colours.get(r)) for r in near]
    if chain.has_ring:
        held = ring(chain, number)
        labels = ["" if row is None else f"row {row}" for row in held]
        yield (
            _title("ring", conv.channels),
            [(label, _colour(row, strip)) for label, row in zip(labels, held, strict=True)],
        )
    slots: list[tuple[str, str | None]] = [("", None)] * chain.strip_rows
    for row in strip.outputs:
        slots[row % chain.strip_rows] = f"row {row}", _MADE
    yield _title("strip", conv.out_channels), slots
    rows = _around(strip.outputs, conv.out_height)
    made = [(f"row {r}", _MADE if r in strip.outputs else None) for r in rows]
    yield _title("output", last.out_channels), made


def _title(memory: str, channels: int) -> str:
    return f"{memory}\n{channels} channels"


def _colour(row: int | None, strip: Strip) -> str | None:
    if row is None or row not in strip.reads:
        return None
    return _NEW if row in strip.new else _KEPT


def _cell(axes: Any, left: float, top: float, width: float, label: str, colour: str | None) -> None:
    """Draw a row of memory; one without a colour takes no part."""
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Rectangle

    fill = to_rgba(colour, _FILLED) if colour else "none"
    edge = colour or COLOURS[-1]
    axes.add_patch(Rectangle((left, top + 0.06), width, 0.88, facecolor=fill, edgecolor=edge))
    axes.text(left + width / 2, top + 0.52, label, ha="center", va="center", fontsize=8.5)


def _around(rows: range, height: int) -> range:
    return range(max(0, rows.start - _AROUND), min(height, rows.stop + _AROUND))


def _old(strip: Strip) -> range:
    return range(strip.reads.start, strip.new.start)


def _strip_in_words(chain: Chain, number: int, strip: Strip) -> str:
    old, new = _names(_old(strip)), _names(strip.new)
    if not chain.has_ring:
        begin = f"The depthwise convolution reads {_names(strip.reads)} of the input"
    elif chain.expand:
        begin = f"Of the input, {new} are expanded into the ring, where {old} lie already"
    else:
        begin = f"Of the input, {new} are transposed into the ring, where {old} lie already"
    middle = f"{_names(strip.outputs)} of the depthwise convolution go to the strip"
    return f"Strip {number}. {begin}; {middle}, and from there to the output."


def _names(rows: Iterable[int]) -> str:
    numbers = list(rows)
    if len(numbers) < 2:
        return f"row {numbers[0]}" if numbers else "no row"
    return f"rows {numbers[0]} to {numbers[-1]}"
