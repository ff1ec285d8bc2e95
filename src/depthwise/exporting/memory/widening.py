"""More rows at a time, and longer rings, where there is memory for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from depthwise.exporting.memory.chains import Run, memory
from depthwise.exporting.memory.graph import Graph
from depthwise.exporting.memory.rows import Buffer, Rows
from depthwise.exporting.memory.segments import chained_time


def widened(graph: Graph, run: Run, budget: int) -> Rows:
    """Return a chain whose nodes compute as many rows at a time as memory allows.

    The node whose time gains most is given more rows first.  Rings get what memory is left, so
    that rows are moved less often.
    """
    nodes = {number: graph.nodes[number] for number in range(run.first, run.end)}
    at_once = {number: node.choices[0] for number, node in nodes.items()}
    best = Rows(graph, run.first, run.end, at_once)
    growing = {number for number, node in nodes.items() if len(node.choices) > 1}
    while growing:
        gains = {}
        for number in growing:
            node, now = nodes[number], at_once[number]
            more = node.choices[node.choices.index(now) + 1]
            gains[number] = chained_time(node, now) - chained_time(node, more), more
        number = max(growing, key=lambda number: gains[number][0])
        wider = at_once | {number: gains[number][1]}
        rows = Rows(graph, run.first, run.end, wider)
        fits = memory(graph, run, rows) <= budget
        if fits:
            best, at_once = rows, wider
        if not fits or at_once[number] == nodes[number].choices[-1]:
            growing.remove(number)
    _lengthen(graph, best, budget - memory(graph, run, best))
    return best


@dataclass(frozen=True)
class _Longer:
    """A ring with another capacity: the bytes that it takes more, and those it moves less."""

    ring: Buffer
    capacity: int
    nbytes: int
    saved: int


def _lengthen(graph: Graph, rows: Rows, room: int) -> None:
    """Give rings more rows for some bytes, first those of which a byte saves most moves."""
    while True:
        longer = [option for ring in rows.rings for option in _longer(graph, ring)]
        longer = [option for option in longer if option.saved > 0 and option.nbytes <= room]
        if not longer:
            return
        best = max(longer, key=lambda option: option.saved / max(1, option.nbytes))
        best.ring.capacity = best.capacity
        room -= best.nbytes


def _longer(graph: Graph, ring: Buffer) -> Iterator[_Longer]:
    row_bytes = graph.tensors[ring.tensor].row_bytes
    now, moved = graph.aligned(ring.capacity * row_bytes), ring.moved(ring.capacity)
    most = ring.above + ring.rows + ring.below
    for capacity in {min(most, ring.capacity + more) for more in (1, 2, 4, 8)}:
        nbytes = graph.aligned(capacity * row_bytes) - now
        yield _Longer(ring, capacity, nbytes, (moved - ring.moved(capacity)) * row_bytes)
