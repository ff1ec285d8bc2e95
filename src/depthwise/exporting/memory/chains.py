"""Which runs of nodes can be chains, and how much memory each takes."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from depthwise.exporting.memory.graph import Graph
from depthwise.exporting.memory.nodes import Reads
from depthwise.exporting.memory.rows import Rows


@dataclass
class Run:
    """A run of nodes that can be a chain, and the memory that it takes."""

    first: int
    end: int
    nbytes: int
    exact: bool = False
    """Whether it takes just that; otherwise that is an estimate."""


class Chains:
    """The chains of a network that may take less memory than their nodes one by one."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.alone = [graph.bytes_alive(number) for number in range(len(graph.nodes))]
        """The bytes in use while each node runs by itself."""
        self._rings: dict[int, int] = {}
        for run in _longest(graph):
            self._rings |= {ring.tensor: ring.capacity for ring in self._rows(run).rings}
        self.runs = [list(self._from(first)) for first in range(len(graph.nodes))]

    def weigh(self, run: Run) -> None:
        """Find out what memory a chain takes that computes as few rows at a time as possible."""
        run.nbytes = memory(self.graph, run, self._rows(run))
        run.exact = True

    def _rows(self, run: Run) -> Rows:
        numbers = range(run.first, run.end)
        fewest = {number: self.graph.nodes[number].choices[0] for number in numbers}
        return Rows(self.graph, run.first, run.end, fewest)

    def _from(self, first: int) -> Iterator[Run]:
        """Yield the chains that begin with a node.

        A ring is expected to hold as much as it does in the longest chain that it is in.
        """
        graph = self.graph
        alive = graph.alive_before(first)
        total, one_by_one = graph.total(alive), 0
        scratch, sums = 0, 0
        pads: dict[int, Hashable] = {}
        for number in range(first, len(graph.nodes)):
            node = graph.nodes[number]
            if node.kind == "whole" or not _agree(pads, node.reads):
                return
            total += graph.bytes_of(node.makes) + self._less(first, number)
            one_by_one = max(one_by_one, self.alone[number])
            if node.kind == "sum":
                sums += graph.aligned(node.scratch_bytes)
            else:
                scratch = max(scratch, graph.aligned(node.scratch_bytes))
            nbytes = total + sums + scratch - self._saved(alive, first, number + 1)
            if number > first and nbytes < one_by_one:
                yield Run(first, number + 1, nbytes)

    def _saved(self, alive: list[int], first: int, end: int) -> int:
        """Return what a chain is expected to save by writing over a tensor that it reads."""
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
                rows = self._rings.get(tensor, graph.tensors[tensor].rows)
                ring = rows * graph.tensors[tensor].row_bytes
                less += graph.aligned(ring) - graph.bytes_of(tensor)
        return less


def _longest(graph: Graph) -> Iterator[Run]:
    """Yield runs that are as long as chains can be, one behind the other."""
    first, pads = 0, dict[int, Hashable]()
    for number, node in enumerate(graph.nodes):
        is_whole = node.kind == "whole"
        if is_whole or not _agree(pads, node.reads):
            yield Run(first, number, 0)
            first, pads = number + is_whole, {}
            _agree(pads, node.reads)
    yield Run(first, len(graph.nodes), 0)


def memory(graph: Graph, run: Run, rows: Rows) -> int:
    """Return the bytes in use while a chain runs.

    Sums keep their scratch memory, and all other nodes share one piece.
    """
    sizes = (ring.capacity * graph.tensors[ring.tensor].row_bytes for ring in rows.rings)
    rings = sum(graph.aligned(size) for size in sizes)
    whole = graph.total(graph.alive_in(run.first, run.end))
    nodes = graph.nodes[run.first : run.end]
    scratch = sum(graph.aligned(node.scratch_bytes) for node in nodes if node.kind == "sum")
    scratch += max(graph.aligned(n.scratch_bytes) if n.kind == "rows" else 0 for n in nodes)
    return whole + rings + scratch - graph.saved(rows.overlaps)


def _agree(pads: dict[int, Hashable], reads: Sequence[Reads]) -> bool:
    """Note what each tensor is padded with; return whether all who pad it do it with the same."""
    return all(pads.setdefault(r.tensor, r.pad) == r.pad for r in reads if r.is_padded)
