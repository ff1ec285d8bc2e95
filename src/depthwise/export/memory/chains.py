"""Which runs of nodes can be chains, and how much memory each takes."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from depthwise.export.memory.graph import Graph
from depthwise.export.memory.nodes import Node, Reads
from depthwise.export.memory.rows import Rows


@dataclass
class Run:
    """A run of nodes that can be a chain, and the least memory that it may take."""

    first: int
    end: int
    nbytes: int
    exact: bool = False
    """Whether it takes just that; otherwise it takes at least that."""


class Chains:
    """The chains of a network that may take less memory than their nodes one by one."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._windows: dict[int, int] = {}
        for node in graph.nodes:
            for reads in node.reads:
                window = (node.choices[0] - 1) * reads.stride + reads.window
                self._windows[reads.tensor] = max(window, self._windows.get(reads.tensor, 0))
        self.runs = [list(self._from(first)) for first in range(len(graph.nodes))]

    def weigh(self, run: Run) -> None:
        """Find out what memory a chain takes that computes as few rows at a time as possible."""
        numbers = range(run.first, run.end)
        fewest = {number: self.graph.nodes[number].choices[0] for number in numbers}
        run.nbytes = memory(self.graph, run, Rows(self.graph, run.first, run.end, fewest))
        run.exact = True

    def _from(self, first: int) -> Iterator[Run]:
        """Yield the chains that begin with a node, with the least that each may take."""
        graph = self.graph
        alive = graph.alive_before(first)
        total = graph.total(alive)
        one_by_one = 0
        pads: dict[int, Hashable] = {}
        for number in range(first, len(graph.nodes)):
            node = graph.nodes[number]
            if node.kind == "whole" or not _agree(pads, node.reads):
                return
            total += graph.bytes_of(node.makes) + self._less(first, number)
            one_by_one = max(one_by_one, graph.bytes_alive(number))
            scratch = _scratch(graph, graph.nodes[first : number + 1])
            nbytes = total + scratch - self._most_saved(alive, first, number + 1)
            if number > first and nbytes < one_by_one:
                yield Run(first, number + 1, nbytes)

    def _most_saved(self, alive: list[int], first: int, end: int) -> int:
        """Return what a chain might save at most by writing over a tensor that it reads."""
        graph = self.graph
        if not graph.overlapping:
            return 0
        read = (graph.bytes_of(tensor) for tensor in alive if graph.last_use(tensor) < end)
        made = (graph.nodes[node].makes for node in range(first, end))
        written = (graph.bytes_of(tensor) for tensor in made if graph.outlives(tensor, end))
        return min(max(read, default=0), max(written, default=0))

    def _less(self, first: int, number: int) -> int:
        """Return what tensors take less that are rings as soon as a chain ends with a node."""
        graph, less = self.graph, 0
        for tensor in {reads.tensor for reads in graph.nodes[number].reads}:
            is_inside = graph.maker.get(tensor, -1) >= first
            if is_inside and graph.in_arena(tensor) and not graph.outlives(tensor, number + 1):
                ring = self._windows[tensor] * graph.tensors[tensor].row_bytes
                less += graph.aligned(ring) - graph.bytes_of(tensor)
        return less


def memory(graph: Graph, run: Run, rows: Rows) -> int:
    """Return the bytes in use while a chain runs."""
    sizes = (ring.capacity * graph.tensors[ring.tensor].row_bytes for ring in rows.rings)
    rings = sum(graph.aligned(size) for size in sizes)
    whole = graph.total(graph.alive_in(run.first, run.end))
    scratch = _scratch(graph, graph.nodes[run.first : run.end])
    return whole + rings + scratch - graph.saved(rows.overlaps)


def _scratch(graph: Graph, nodes: Sequence[Node]) -> int:
    """Return the scratch memory of a chain: sums keep theirs, all others share one piece."""
    sums = sum(graph.aligned(node.scratch_bytes) for node in nodes if node.kind == "sum")
    return sums + max(
        (graph.aligned(n.scratch_bytes) for n in nodes if n.kind == "rows"), default=0
    )


def _agree(pads: dict[int, Hashable], reads: Sequence[Reads]) -> bool:
    """Note what each tensor is padded with; return whether all who pad it do it with the same."""
    return all(pads.setdefault(r.tensor, r.pad) == r.pad for r in reads if r.is_padded)
