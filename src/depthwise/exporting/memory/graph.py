"""Who makes each tensor, who reads it, and from when to when it is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from depthwise.exporting.memory.nodes import Node, Tensor
from depthwise.exporting.memory.overlaps import Overlap


class Graph:
    """A network as numbers of nodes, in the order in which they are computed.

    Attributes:
        align: places are multiples of so many bytes.
        overlapping: whether results may lie over tensors that are read for the last time.
    """

    def __init__(
        self,
        tensors: Sequence[Tensor],
        nodes: Sequence[Node],
        align: int = 1,
        overlapping: bool = False,
    ) -> None:
        self.tensors, self.nodes = tensors, nodes
        self.align, self.overlapping = align, overlapping
        self.maker = {node.makes: number for number, node in enumerate(nodes)}
        self._last = dict(self.maker)
        for number, node in enumerate(nodes):
            for reads in node.reads:
                self._last[reads.tensor] = number

    def aligned(self, nbytes: int) -> int:
        """Return the bytes that a piece of the arena takes."""
        return -(-nbytes // self.align) * self.align

    def in_arena(self, tensor: int) -> bool:
        """Whether a tensor that is whole lies in the arena."""
        return self.tensors[tensor].role == "arena"

    def bytes_of(self, tensor: int) -> int:
        """Return the bytes that a tensor takes in the arena when it is whole."""
        return self.aligned(self.tensors[tensor].nbytes) if self.in_arena(tensor) else 0

    def last_use(self, tensor: int) -> int:
        """Return the last node that reads a tensor, or the one that makes it if none does."""
        return self._last[tensor]

    def outlives(self, tensor: int, end: int) -> bool:
        """Whether a tensor that was made before node `end` is somebody's who comes later."""
        last = self._last[tensor]
        return last >= end or last == self.maker[tensor] or self.tensors[tensor].role == "output"

    def alive_before(self, node: int) -> list[int]:
        """Return the tensors in the arena made before a node that it or a later one reads."""
        read = (tensor for tensor, last in self._last.items() if last >= node)
        return [t for t in read if self.maker.get(t, -1) < node and self.in_arena(t)]

    def alive_in(self, first: int, end: int) -> list[int]:
        """Return the tensors that lie whole in the arena while nodes `first` to `end - 1` run."""
        made = (self.nodes[node].makes for node in range(first, end))
        inside = [t for t in made if self.in_arena(t) and self.outlives(t, end)]
        return self.alive_before(first) + inside

    def bytes_alive(self, node: int) -> int:
        """Return the bytes in use while a node runs by itself."""
        scratch = self.aligned(self.nodes[node].scratch_bytes)
        saved = self.saved(self.overlaps(node))
        return self.total(self.alive_in(node, node + 1)) + scratch - saved

    def overlaps(self, number: int) -> dict[tuple[int, int], Overlap]:
        """Return the tensors in whose place a node that runs by itself may put its result."""
        node = self.nodes[number]
        found = {}
        for tensor in {reads.tensor for reads in node.reads}:
            is_last = self._last[tensor] == number and self.in_arena(tensor)
            if is_last and self.in_arena(node.makes) and self.may_overwrite(number, tensor):
                before = -self.tensors[node.makes].nbytes
                found[tensor, node.makes] = Overlap(before, in_place=True)
        return found

    def may_overwrite(self, number: int, tensor: int) -> bool:
        """Whether a node may put each row of its result in the place of the same row it reads."""
        node = self.nodes[number]
        read, made = self.tensors[tensor], self.tensors[node.makes]
        return (read.rows, read.row_bytes) == (made.rows, made.row_bytes) and all(
            reads.may_overwrite and reads.is_row_by_row
            for reads in node.reads
            if reads.tensor == tensor
        )

    def saved(self, overlaps: Mapping[tuple[int, int], Overlap]) -> int:
        """Return the bytes that one overlap saves, the best of some."""
        if not self.overlapping:
            return 0
        return max(
            (
                overlap.aligned(self.align).saves(self.bytes_of(tensor), self.bytes_of(result))
                for (tensor, result), overlap in overlaps.items()
            ),
            default=0,
        )

    def total(self, tensors: Iterable[int]) -> int:
        """Return the bytes that tensors take in the arena when they are whole."""
        return sum(self.bytes_of(tensor) for tensor in tensors)
