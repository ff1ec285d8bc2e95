"""Where everything lies in the arena, and what is computed row by row so that it fits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from depthwise.exporting.kernels import Call, Kernels
from depthwise.exporting.memory.nodes import Node, Reads, Tensor
from depthwise.exporting.memory.plan import Chain, MemoryPlan
from depthwise.exporting.model import Model, Move, Operation
from depthwise.exporting.rows import Window, is_mean, of_rows, window
from depthwise.problem.costs import cost
from depthwise.schedule.steps import INPUT, OUTPUT

Planned: TypeAlias = "Callable[[tuple[Tensor, ...], tuple[Node, ...]], MemoryPlan]"
"""What plans the memory of nodes."""

_MOST_AT_ONCE = 8
"""Rows of a result that are computed at a time."""


@dataclass(frozen=True)
class Plan:
    """A model in memory.

    Attributes:
        memory: what is computed in which order, and where everything lies.
        calls: the launches of each node that has some; of a few rows where it is in a chain.
        tensors: those of the memory: of the model, and behind them what only orders nodes.
        nodes: the operations.
    """

    memory: MemoryPlan
    calls: Mapping[int, Call]
    tensors: tuple[Tensor, ...]
    nodes: tuple[Node, ...]


def planned(model: Model, kernels: Kernels, workers: int, choose: Planned) -> Plan:
    """Return the plan of a model.

    What a kernel works in is known when it is written, and which are needed when memory is planned:
    both are done in turns, until no other kernel is needed.

    Args:
        model: what is computed.
        kernels: makes its kernels.
        workers: how many threads may work at a time.
        choose: plans the memory.
    """
    work = _Planning(model, kernels, workers)
    memory = choose(*work.posed())
    while work.learnt(memory):
        memory = choose(*work.posed())
    return work.plan(memory)


class _Planning:
    """What is known of the memory that kernels work in, by node and how many rows it computes."""

    def __init__(self, model: Model, kernels: Kernels, workers: int) -> None:
        self._model, self._kernels, self._workers = model, kernels, workers
        self._windows = {
            number: found
            for number, operation in enumerate(model.operations)
            if isinstance(operation, Operation) and (found := window(operation))
        }
        self._calls: dict[tuple[int, int], Call] = {}
        self._makers: dict[int, list[int]] = defaultdict(list)
        for number, operation in enumerate(model.operations):
            self._makers[operation.makes].append(number)
        self._tensors, self._order = self._all_tensors()

    def posed(self) -> tuple[tuple[Tensor, ...], tuple[Node, ...]]:
        """Return what memory is planned for."""
        nodes = (self._node(number) for number in range(len(self._model.operations)))
        return self._tensors, tuple(nodes)

    def learnt(self, memory: MemoryPlan) -> bool:
        """Make the kernels of a plan; whether that needed some that were not there."""
        before = len(self._calls)
        for number, rows in self._needed(memory).items():
            self._call(number, rows)
        return len(self._calls) > before

    def plan(self, memory: MemoryPlan) -> Plan:
        """Return the whole plan, with the functions and constants that it needs and no others."""
        nodes = self.posed()[1]
        self._kernels.forget()
        self._calls.clear()
        calls = {number: self._call(number, rows) for number, rows in self._needed(memory).items()}
        return Plan(memory, calls, self._tensors, nodes)

    def _needed(self, memory: MemoryPlan) -> dict[int, int]:
        """Return how many rows each operation computes at a time, 0 for all, that has a kernel."""
        operations = enumerate(self._model.operations)
        needed = {number: 0 for number, each in operations if isinstance(each, Operation)}
        for segment in memory.segments:
            if isinstance(segment, Chain):
                for number in segment.nodes:
                    del needed[number]
                    if number in self._windows:
                        needed[number] = segment.at_once[number]
        return needed

    def _call(self, number: int, rows: int) -> Call:
        if (number, rows) not in self._calls:
            operation = self._operation(number)
            problem = of_rows(operation.problem, rows) if rows else None
            self._calls[number, rows] = self._kernels.call(operation, problem)
        return self._calls[number, rows]

    def _operation(self, number: int) -> Operation:
        operation = self._model.operations[number]
        assert isinstance(operation, Operation)
        return operation

    def _all_tensors(self) -> tuple[tuple[Tensor, ...], dict[int, int]]:
        """Return all tensors, and what stands for the parts of those that several operations make.

        The first of these makes the tensor, each of the others one of no bytes of its own.
        """
        found = [self._tensor(number) for number in range(len(self._model.tensors))]
        order: dict[int, int] = {}
        for makers in self._makers.values():
            for number in makers[1:]:
                order[number] = len(found)
                found.append(Tensor(1, 0))
        return tuple(found), order

    def _tensor(self, number: int) -> Tensor:
        tensor = self._model.tensors[number]
        rows = tensor.shape[1] if tensor.axes == "NHWC" and tensor.shape[0] == 1 else 1
        role = {"between": "arena", "output": "output"}.get(tensor.role, "input")
        return Tensor(rows, tensor.nbytes // rows, role, tensor.name)  # type: ignore[arg-type]

    def _node(self, number: int) -> Node:
        move = self._model.operations[number]
        if isinstance(move, Move):
            return Node(tuple(self._whole(move.source.tensor)), move.makes, "whole", cost=0.0)
        operation = self._operation(number)
        found = self._windows.get(number)
        alone = self._is_plain(operation)
        rows = self._tensors[operation.makes].rows
        takes_time = float(cost(operation.problem).flops) + 1
        if found and alone and rows > 1:
            choices = tuple(r for r in range(1, _MOST_AT_ONCE + 1) if rows % r == 0)
            reads = (self._read(name, slot.tensor, found) for name, slot in operation.reads.items())
            return Node(
                tuple(reads), operation.makes, "rows", self._scratch(number), choices, takes_time
            )
        reads_whole = [
            read for slot in operation.reads.values() for read in self._whole(slot.tensor)
        ]
        if is_mean(operation.problem) and alone and self._tensors[reads_whole[0].tensor].rows > 1:
            scratch = max(4 * operation.problem.output_shape[-1], self._scratch(number))
            return Node(tuple(reads_whole), operation.makes, "sum", scratch, cost=takes_time)
        makes = operation.makes
        if number in self._order:  # the first maker's tensor is there, and its own part is new
            reads_whole.append(Reads(makes))
            makes = self._order[number]
        return Node(tuple(reads_whole), makes, "whole", self._scratch(number), cost=takes_time)

    def _is_plain(self, operation: Operation) -> bool:
        """Whether each array of an operation is a tensor of its own, of the shape that it has."""
        problem = operation.problem
        shapes = {**problem.operands, INPUT: problem.input_shape, OUTPUT: problem.output_shape}
        return all(
            slot.first == 0
            and len(self._makers[slot.tensor]) < 2
            and self._model.tensors[slot.tensor].shape == shapes[name]
            for name, slot in operation.slots.items()
        )

    def _read(self, name: str, tensor: int, found: Window) -> Reads:
        if name != INPUT:
            return Reads(tensor)
        return Reads(tensor, found.rows, found.stride, found.above, found.below, found.pad)

    def _whole(self, tensor: int) -> list[Reads]:
        """Return that a tensor is read, with all the parts that it is made of."""
        parts = [self._order[maker] for maker in self._makers[tensor][1:]]
        return [Reads(each) for each in (tensor, *parts)]

    def _scratch(self, number: int) -> int:
        """Return the most that a kernel that was made for an operation needs."""
        made = [call for (node, _), call in self._calls.items() if node == number]
        return max((self._memory(call) for call in made), default=0)

    def _memory(self, call: Call) -> int:
        return call.buffer_bytes + self._workers * call.scratch_bytes
