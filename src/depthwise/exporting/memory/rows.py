"""A chain row by row: each row is computed when the first row that needs it is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from depthwise.errors import InternalError
from depthwise.exporting.memory.graph import Graph
from depthwise.exporting.memory.nodes import Node, Reads
from depthwise.exporting.memory.overlaps import Overlap
from depthwise.exporting.memory.plan import Event


class Reader:
    """How a node of the chain reads a buffer, firing by firing."""

    def __init__(self, work: Work, reads: Reads) -> None:
        self.work, self.above = work, reads.above
        self.step = work.at_once * reads.stride
        """How many rows further each firing reads."""
        self.reach = (work.at_once - 1) * reads.stride + reads.window - reads.above
        """The end of the rows that the first firing reads."""

    def end(self) -> int:
        """Return the end of the rows that the next firing reads."""
        return self.reach + self.work.fired * self.step

    def last_end(self) -> int:
        """Return the end of the rows that the last firing reads, 0 if there is none."""
        return self.reach + (self.work.firings - 1) * self.step if self.work.firings else 0


@dataclass
class Work:
    """A node of the chain, and how far it is."""

    node: int
    at_once: int
    appends: int
    """How many rows a firing adds to the result; those of a sum come with its last."""
    is_sum: bool
    made: Buffer
    inputs: list[tuple[Buffer, Reader]] = field(default_factory=list)
    firings: int = 0
    fired: int = 0


@dataclass
class Buffer:
    """A tensor of the chain: a ring of its last rows, or rows of the whole tensor."""

    tensor: int
    rows: int
    is_ring: bool
    maker: Work | None = None
    """Who appends to it; nobody if it holds copies of rows of a whole tensor."""
    source: Buffer | None = None
    """That whole tensor, if it is made in the chain."""
    readers: list[Reader] = field(default_factory=list)
    above: int = 0
    below: int = 0
    high: int = 0
    """The end of the rows that are there."""
    capacity: int = 0
    copies: int = 0
    """How many rows are copied to a ring that nobody of the chain appends to."""
    appended: list[tuple[int, int]] = field(default_factory=list)
    """For each time that rows were appended: the first row still needed then, and how many."""

    def lowest_needed(self) -> int:
        """Return the first row that the next firing of a reader would need, `high` if none does."""
        return min(self.high, *(r.work.fired * r.step - r.above for r in self.readers))

    def append(self, rows: int) -> None:
        """Add rows behind those that are there; a ring drops those that nobody needs."""
        if self.is_ring:
            low = self.lowest_needed()
            self.appended.append((low, rows))
            self.capacity = max(self.capacity, self.high - low + rows)
        self.high += rows

    def moved(self, capacity: int) -> int:
        """Return how many rows are moved to the beginning in all with a capacity."""
        start, high, moved = -self.above, 0, 0
        for low, rows in self.appended:
            if high + rows - start > capacity:
                start = low
                moved += high - start
            high += rows
        return moved


class Rows:
    """The events of a chain, and what its rings must hold for them."""

    def __init__(self, graph: Graph, first: int, end: int, at_once: Mapping[int, int]) -> None:
        self.at_once = dict(at_once)
        self._graph, self._end = graph, end
        self.events: list[Event] = []
        self._wholes: dict[int, Buffer] = {}
        self._rings: dict[int, Buffer] = {}
        alive = graph.alive_before(first)
        self._dying = [tensor for tensor in alive if graph.last_use(tensor) < end]
        self.overlaps: dict[tuple[int, int], Overlap] = {}
        """How tensors that the chain makes may lie over those that it reads last."""
        self._works = [self._work(node, at_once[node]) for node in range(first, end)]
        self._count_firings()
        self._run()

    @property
    def rings(self) -> list[Buffer]:
        """The rings of the chain."""
        return list(self._rings.values())

    def _work(self, number: int, at_once: int) -> Work:
        """Return a node that makes a ring, or a whole tensor that is needed after the chain."""
        node = self._graph.nodes[number]
        rows = self._graph.tensors[node.makes].rows
        made = Buffer(node.makes, rows, is_ring=not self._graph.outlives(node.makes, self._end))
        is_sum = node.kind == "sum"
        work = made.maker = Work(number, at_once, rows if is_sum else at_once, is_sum, made)
        for reads in node.reads:
            buffer = self._buffer(reads)
            buffer.readers.append(Reader(work, reads))
            work.inputs.append((buffer, buffer.readers[-1]))
        (self._rings if made.is_ring else self._wholes)[node.makes] = made
        return work

    def _buffer(self, reads: Reads) -> Buffer:
        """Return the buffer that rows are read from."""
        tensor = reads.tensor
        if tensor in self._rings and self._rings[tensor].maker is not None:
            return self._rings[tensor]
        rows = self._graph.tensors[tensor].rows
        if not reads.is_padded:
            return self._wholes.setdefault(tensor, Buffer(tensor, rows, is_ring=False, high=rows))
        if tensor not in self._rings:
            source = self._wholes.get(tensor)
            source = source if source is not None and source.maker is not None else None
            self._rings[tensor] = Buffer(tensor, rows, is_ring=True, source=source)
        return self._rings[tensor]

    def _count_firings(self) -> None:
        """Find how often each node must fire: rows that nobody reads are not computed."""
        for work in reversed(self._works):
            if work.is_sum:
                work.firings = windows(self._graph, self._graph.nodes[work.node])
            else:
                made = work.made
                ends = [reader.last_end() for reader in made.readers]
                needed = max(0, min(max(ends), made.rows)) if made.is_ring else made.rows
                work.firings = -(-needed // work.at_once)
        for ring in self._rings.values():
            ring.above = ring.capacity = max(reader.above for reader in ring.readers)
            end = max(reader.last_end() for reader in ring.readers)
            ring.below = max(0, end - ring.rows)
            ring.copies = min(end, ring.rows) if ring.maker is None else 0

    def _run(self) -> None:
        """Let the nodes fire whose results no other reads, evenly, and then what is left."""
        read = {buffer.tensor for work in self._works for buffer, _ in work.inputs}
        final = [work for work in self._works if work.made.tensor not in read]
        while final:
            self._fire(min(final, key=lambda work: work.fired / work.firings))
            final = [work for work in final if work.fired < work.firings]
        for work in self._works:
            while work.fired < work.firings:
                self._fire(work)

    def _fire(self, work: Work) -> None:
        """Let a node fire once, and before it whatever makes rows that it lacks."""
        waiting = [work]
        while waiting:
            now = waiting[-1]
            lacking = next((b for b, r in now.inputs if b.high < r.end()), None)
            if lacking is None:
                self._fire_now(waiting.pop())
            else:
                maker = self._supply(lacking)
                waiting += [maker] if maker is not None else []

    def _supply(self, buffer: Buffer) -> Work | None:
        """Append to a buffer that lacks rows, or return the node that has to fire for it."""
        if buffer.high >= buffer.rows + buffer.below:
            raise InternalError(
                f"nodes read rows that are there or padding; tensor {buffer.tensor} has "
                f"{buffer.rows} rows and {buffer.below} below"
            )
        if buffer.high >= buffer.rows:
            self.events.append(Event("pad", buffer.tensor))
            buffer.append(buffer.below)
        elif buffer.maker is not None:
            return buffer.maker
        elif buffer.source is not None and buffer.source.high <= buffer.high:
            return buffer.source.maker
        else:
            self.events.append(Event("copy", buffer.tensor))
            buffer.append(1)
        return None

    def _fire_now(self, work: Work) -> None:
        self.events.append(Event("fire", work.node))
        if not work.is_sum or work.fired == work.firings - 1:
            self._note_overlaps(work)
            work.made.append(work.appends)
        work.fired += 1

    def _note_overlaps(self, work: Work) -> None:
        """Note how near to rows that are still to be read a node writes a whole tensor."""
        graph, made = self._graph, work.made
        if made.is_ring or not graph.in_arena(made.tensor):
            return
        end = (made.high + work.appends) * graph.tensors[made.tensor].row_bytes
        for tensor in self._dying:
            row_bytes = graph.tensors[tensor].row_bytes
            passed = work if graph.may_overwrite(work.node, tensor) else None
            overlap = Overlap(
                self._unread(tensor) * row_bytes - end,
                self._unread(tensor, passed) * row_bytes >= end,
            )
            key = (tensor, made.tensor)
            self.overlaps[key] = overlap.both(self.overlaps.get(key, overlap))

    def _unread(self, tensor: int, passed: Work | None = None) -> int:
        """Return the first row of a whole tensor that is still read, all its rows if none is.

        Args:
            tensor: its number.
            passed: a node whose present firing does not count any more.
        """
        low = self._graph.tensors[tensor].rows
        if tensor in self._rings and self._rings[tensor].high < self._rings[tensor].copies:
            low = self._rings[tensor].high
        for reader in self._wholes[tensor].readers if tensor in self._wholes else ():
            fired = reader.work.fired + (reader.work is passed)
            if fired < reader.work.firings:
                low = min(low, fired * reader.step)
        return low


def windows(graph: Graph, node: Node) -> int:
    """Return how many rows a sum takes."""
    reads = node.reads[0]
    rows = graph.tensors[reads.tensor].rows + reads.above + reads.below
    return (rows - reads.window) // reads.stride + 1
