"""A plan of memory carried out on numbered bytes: whatever is read must be what was made."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from depthwise.exporting.memory.nodes import Node, Reads, Tensor
from depthwise.exporting.memory.plan import Chain, MemoryPlan, Ring

NOTHING = -1
"""A byte that nobody has written."""


class Window:
    """A ring while its chain runs: rows `low` to `high - 1`, from its beginning on."""

    def __init__(self, ring: Ring, keeps: int) -> None:
        self.ring, self.low, self.high, self.keeps = ring, -ring.above, 0, keeps


class Machine:
    """Carries out a plan; every byte knows of which tensor, row and place it is."""

    def __init__(self, tensors: Sequence[Tensor], nodes: Sequence[Node], plan: MemoryPlan) -> None:
        self.tensors, self.nodes, self.plan = tensors, nodes, plan
        self.arena = np.full(plan.peak, NOTHING, np.int64)
        self.callers = {
            number: np.full(tensor.nbytes, NOTHING, np.int64)
            for number, tensor in enumerate(tensors)
            if tensor.role != "arena"
        }
        self.made: Counter[tuple[int, int]] = Counter()
        self.fired: Counter[int] = Counter()
        self.windows: dict[int, Window] = {}
        self.sums: set[int] = set()
        for number, tensor in enumerate(tensors):
            if tensor.role == "input":
                for row in range(tensor.rows):
                    self.row_of(number, row)[:] = self.bytes_of(number, row)

    def run(self) -> None:
        for segment in self.plan.segments:
            if isinstance(segment, Chain):
                self.chain(segment)
            else:
                self.whole(self.nodes[segment.node], segment.node)

    def bytes_of(self, number: int, row: int) -> np.ndarray:
        """Return what the bytes of a row hold; those of padding are rows, too."""
        width = self.tensors[number].row_bytes
        return ((number + 1) << 40) + ((row + 1000) << 20) + np.arange(width)

    def row_of(self, number: int, row: int) -> np.ndarray:
        """Return the memory of a row of a whole tensor."""
        assert 0 <= row < self.tensors[number].rows
        width = self.tensors[number].row_bytes
        if number in self.callers:
            return self.callers[number][row * width :][:width]
        return self.piece(self.plan.places[number] + row * width, width)

    def piece(self, offset: int, nbytes: int) -> np.ndarray:
        assert 0 <= offset <= offset + nbytes <= self.plan.peak
        return self.arena[offset : offset + nbytes]

    def in_ring(self, window: Window, row: int) -> np.ndarray:
        assert window.low <= row < window.high
        width = self.tensors[window.ring.tensor].row_bytes
        return self.piece(window.ring.offset + (row - window.low) * width, width)

    def whole(self, node: Node, number: int) -> None:
        read = [
            (self.row_of(reads.tensor, row), self.bytes_of(reads.tensor, row), reads)
            for reads in node.reads
            for row in range(self.tensors[reads.tensor].rows)
        ]
        rows = range(self.tensors[node.makes].rows)
        self.compute(number, read, [(self.row_of(node.makes, row), row) for row in rows])

    def compute(self, number: int, read: list, written: list) -> None:
        """Read, use scratch memory, and write: nothing that is read may be written over."""
        node = self.nodes[number]
        for memory, expected, _ in read:
            np.testing.assert_array_equal(memory, expected)
        if node.scratch_bytes:
            scratch = self.piece(self.plan.scratch[number], node.scratch_bytes)
            scratch[:] = scratch_bytes(number, scratch)
        for memory, expected, _ in read:
            np.testing.assert_array_equal(memory, expected)
        for memory, row in written:
            memory[:] = self.bytes_of(node.makes, row)
            self.made[node.makes, row] += 1
        for memory, expected, reads in read:
            if not (reads.may_overwrite and self.lies_alike(node, reads)):
                np.testing.assert_array_equal(memory, expected)
        if node.scratch_bytes:
            np.testing.assert_array_equal(scratch, scratch_bytes(number, scratch))

    def lies_alike(self, node: Node, reads: Reads) -> bool:
        """Whether each row of a result lies where the same row lies that is read."""
        places, widths = (
            self.plan.places,
            [self.tensors[t].row_bytes for t in (node.makes, reads.tensor)],
        )
        return (
            places.get(node.makes, -1) == places.get(reads.tensor, -2)
            and widths[0] == widths[1]
            and (reads.window, reads.stride, reads.above) == (1, 1, 0)
        )

    def chain(self, chain: Chain) -> None:
        self.fired.clear()
        self.sums.clear()
        self.windows = {ring.tensor: Window(ring, 0) for ring in chain.rings}
        for window in self.windows.values():
            self.append(chain, window, range(-window.ring.above, 0), begins=True)
        for event in chain.events:
            if event.kind == "fire":
                self.fire(chain, event.which)
                continue
            window = self.windows[event.which]
            rows = self.tensors[event.which].rows
            if event.kind == "pad":
                assert window.high == rows
                self.append(chain, window, range(rows, rows + window.ring.below))
            else:
                row = self.row_of(event.which, window.high)
                np.testing.assert_array_equal(row, self.bytes_of(event.which, window.high))
                self.append(chain, window, range(window.high, window.high + 1))
        self.windows = {}

    def append(self, chain: Chain, window: Window, rows: range, begins: bool = False) -> list:
        """Make room in a ring, write rows into it, and return where they lie."""
        ring = window.ring
        if begins:
            window.high = -ring.above
        assert window.high == rows.start
        if rows.stop - window.low > ring.capacity:
            needed = self.needed(chain, ring.tensor, window.high)
            kept = [self.in_ring(window, row).copy() for row in range(needed, window.high)]
            window.low = needed
            for row, memory in zip(range(needed, window.high), kept, strict=True):
                self.in_ring(window, row)[:] = memory
        assert rows.stop - window.low <= ring.capacity
        window.high = rows.stop
        for row in rows:
            self.in_ring(window, row)[:] = self.bytes_of(ring.tensor, row)
        return [self.in_ring(window, row) for row in rows]

    def needed(self, chain: Chain, tensor: int, high: int) -> int:
        """Return the first row that the next firing of a node would read from a ring."""
        low = high
        for number in chain.nodes:
            for reads in self.nodes[number].reads:
                if reads.tensor == tensor and self.reads_ring(reads):
                    first = self.fired[number] * chain.at_once[number]
                    low = min(low, first * reads.stride - reads.above)
        return low

    def reads_ring(self, reads: Reads) -> bool:
        is_whole = reads.tensor in self.plan.places or reads.tensor in self.callers
        return reads.tensor in self.windows and (reads.is_padded or not is_whole)

    def fire(self, chain: Chain, number: int) -> None:
        node, at_once = self.nodes[number], chain.at_once[number]
        first = self.fired[number] * at_once
        made = self.tensors[node.makes]
        read = []
        for reads in node.reads:
            for row in range(first, first + at_once):
                start = row * reads.stride - reads.above
                for source in range(start, start + reads.window):
                    read.append((*self.found(reads, source), reads))
        if node.kind == "sum":
            self.add_up(chain, number, read)
            return
        rows = range(first, first + at_once)
        assert at_once in node.choices
        assert rows.stop <= made.rows
        self.compute(number, read, self.room(chain, node.makes, rows))
        self.fired[number] += 1

    def found(self, reads: Reads, row: int) -> tuple[np.ndarray, np.ndarray]:
        tensor = self.tensors[reads.tensor]
        assert -reads.above <= row < tensor.rows + reads.below
        if self.reads_ring(reads):
            memory = self.in_ring(self.windows[reads.tensor], row)
        else:
            memory = self.row_of(reads.tensor, row)
        return memory, self.bytes_of(reads.tensor, row)

    def room(self, chain: Chain, tensor: int, rows: range) -> list:
        """Return where rows of a result are to be written, with their numbers."""
        if tensor in self.plan.places or tensor in self.callers:
            return [(self.row_of(tensor, row), row) for row in rows]
        places = self.append(chain, self.windows[tensor], rows)
        for memory in places:
            memory[:] = NOTHING
        return list(zip(places, rows, strict=True))

    def add_up(self, chain: Chain, number: int, read: list) -> None:
        node = self.nodes[number]
        firings = sum(e.kind == "fire" and e.which == number for e in chain.events)
        for memory, expected, _ in read:
            np.testing.assert_array_equal(memory, expected)
        if node.scratch_bytes:
            scratch = self.piece(self.plan.scratch[number], node.scratch_bytes)
            if self.fired[number]:
                np.testing.assert_array_equal(scratch, scratch_bytes(number, scratch))
            scratch[:] = scratch_bytes(number, scratch)
        for memory, expected, _ in read:
            np.testing.assert_array_equal(memory, expected)
        self.fired[number] += 1
        if self.fired[number] == firings:
            for memory, row in self.room(chain, node.makes, range(self.tensors[node.makes].rows)):
                memory[:] = self.bytes_of(node.makes, row)
                self.made[node.makes, row] += 1
            if node.scratch_bytes:
                np.testing.assert_array_equal(scratch, scratch_bytes(number, scratch))


def scratch_bytes(number: int, scratch: np.ndarray) -> np.ndarray:
    return -(number + 2) * (1 << 30) - np.arange(len(scratch))


def verify(tensors: Sequence[Tensor], nodes: Sequence[Node], plan: MemoryPlan) -> None:
    """Carry out a plan; raise an AssertionError where it would compute with wrong bytes."""
    machine = Machine(tensors, nodes, plan)
    machine.run()
    assert max(machine.made.values()) == 1
    computed = [n for s in plan.segments for n in (s.nodes if isinstance(s, Chain) else (s.node,))]
    assert sorted(computed) == list(range(len(nodes)))
    for number, tensor in enumerate(tensors):
        if tensor.role == "output":
            for row in range(tensor.rows):
                np.testing.assert_array_equal(
                    machine.row_of(number, row), machine.bytes_of(number, row)
                )
    for node in nodes:
        if node.kind == "sum" and node.makes in plan.places:
            assert machine.made[node.makes, 0] == 1
