"""From segments to a plan: where every tensor, ring and piece of scratch memory lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from depthwise.exporting.memory.graph import Graph
from depthwise.exporting.memory.overlaps import Overlap
from depthwise.exporting.memory.placing import Piece, placed
from depthwise.exporting.memory.plan import Chain, MemoryPlan, Ring, Whole
from depthwise.exporting.memory.rows import Rows

Key = tuple[str, int, int]
"""What a piece of memory holds: a word, the segment or -1, and a tensor or node or -1."""


@dataclass(frozen=True)
class Segment:
    """Nodes that are one segment of a plan: a chain if there are rows of them."""

    first: int
    end: int
    rows: Rows | None = None


def arranged(graph: Graph, segments: Sequence[Segment], enough: int = 0) -> MemoryPlan:
    """Return the plan that computes segments one after the other.

    Args:
        graph: the network.
        segments: what is computed, in order.
        enough: a peak that is low enough.
    """
    pieces = _pieces(graph, segments)
    overlaps = [
        segment.rows.overlaps if segment.rows else graph.overlaps(segment.first)
        for segment in segments
    ]
    used = [_in_use(pieces, time) - graph.saved(overlaps[time]) for time in range(len(segments))]
    enough = max(enough, *used)
    found = placed(pieces, _of_pieces(graph, overlaps), enough)
    places = found.offsets
    scratch = {}
    for time, segment in enumerate(segments):
        for node in range(segment.first, segment.end):
            if graph.nodes[node].scratch_bytes:
                scratch[node] = places[_scratch(graph, time, node)]
    made: list[Whole | Chain] = []
    for time, segment in enumerate(segments):
        made.append(_made(time, segment, places))
    return MemoryPlan(
        tuple(made),
        {tensor: place for (what, _, tensor), place in places.items() if what == "tensor"},
        scratch,
        found.end,
        tuple(zip(map(_label, segments), used, strict=True)),
    )


def _pieces(graph: Graph, segments: Sequence[Segment]) -> dict[Key, Piece]:
    """Return everything that lies in the arena, with the segments in which it is needed."""
    pieces: dict[Key, Piece] = {}
    times = {n: time for time, s in enumerate(segments) for n in range(s.first, s.end)}
    for time, segment in enumerate(segments):
        for number in range(segment.first, segment.end):
            node = graph.nodes[number]
            if graph.in_arena(node.makes) and graph.outlives(node.makes, segment.end):
                dies = times[graph.last_use(node.makes)]
                pieces["tensor", -1, node.makes] = Piece(graph.bytes_of(node.makes), time, dies)
            if node.scratch_bytes:
                key = _scratch(graph, time, number)
                nbytes = graph.aligned(node.scratch_bytes)
                nbytes = max(nbytes, pieces[key].nbytes if key in pieces else 0)
                pieces[key] = Piece(nbytes, time, time)
        for ring in segment.rows.rings if segment.rows else ():
            nbytes = graph.aligned(ring.capacity * graph.tensors[ring.tensor].row_bytes)
            pieces["ring", time, ring.tensor] = Piece(nbytes, time, time)
    return pieces


def _of_pieces(
    graph: Graph, overlaps: Sequence[Mapping[tuple[int, int], Overlap]]
) -> dict[tuple[Key, Key], Overlap]:
    """Return which pieces may lie over which."""
    return {
        (("tensor", -1, tensor), ("tensor", -1, result)): overlap.aligned(graph.align)
        for found in overlaps
        for (tensor, result), overlap in found.items()
    }


def _scratch(graph: Graph, time: int, node: int) -> Key:
    """Return the piece that holds a node's scratch memory; only sums have one of their own."""
    return ("scratch", time, node if graph.nodes[node].kind == "sum" else -1)


def _made(time: int, segment: Segment, places: Mapping[Key, int]) -> Whole | Chain:
    if segment.rows is None:
        return Whole(segment.first)
    rings = (
        Ring(r.tensor, r.capacity, r.above, r.below, places["ring", time, r.tensor])
        for r in segment.rows.rings
    )
    return Chain(
        tuple(range(segment.first, segment.end)),
        tuple(rings),
        segment.rows.at_once,
        tuple(segment.rows.events),
    )


def _in_use(pieces: dict[Key, Piece], time: int) -> int:
    return sum(piece.nbytes for piece in pieces.values() if piece.born <= time <= piece.dies)


def _label(segment: Segment) -> str:
    last = segment.end - 1
    return f"{segment.first}" if segment.first == last else f"{segment.first}-{last}"
