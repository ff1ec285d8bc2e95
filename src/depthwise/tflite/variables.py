"""The variables of a file of TFLite, and which of them are states of the network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from depthwise.errors import ModelError
from depthwise.problem.arrays import Array
from depthwise.tflite.files import File, Operator

_Key: TypeAlias = "tuple[str, str]"


@dataclass
class Variable:
    """What keeps an array between calls.

    Attributes:
        name: the resource's.
        initial: the array before the first call, where the file says it.
        is_assigned: whether calls change it.
        is_state: whether they do, and what one call leaves there is read by the next.
        now: the name of its value at the operator at hand.
        taken: that of the input that it is where it is a state.
    """

    name: str
    initial: Array | None = None
    is_assigned: bool = False
    is_state: bool = False
    now: str | None = None
    taken: str | None = None


class Variables:
    """The variables of a file by the numbers of the tensors that stand for them.

    Raises:
        ModelError: a file sets one up otherwise than by assigning a constant.
    """

    def __init__(self, network: File) -> None:
        self._found: dict[_Key, Variable] = {}
        self._handles = self._handles_of(network)
        read: list[Variable] = []
        for operator in network.operators:
            if operator.kind == "READ_VARIABLE":
                read.append(self.of(operator))
            elif operator.kind == "ASSIGN_VARIABLE":
                variable = self.of(operator)
                variable.is_assigned = True
                variable.is_state |= variable in read
            elif operator.kind == "CALL_ONCE":
                self._set_up(network.graphs[operator.option("InitSubgraphIndex")])

    def of(self, operator: Operator) -> Variable:
        """Return the variable that an operator reads or assigns."""
        return _of(self._handles, operator)

    def states(self) -> Iterator[Variable]:
        """Yield the variables that are inputs and outputs of the network."""
        return (each for each in self._found.values() if each.taken is not None)

    def _handles_of(self, graph: File) -> dict[int, Variable]:
        return {
            operator.outputs[0]: self._variable(operator)
            for operator in graph.operators
            if operator.kind == "VAR_HANDLE"
        }

    def _variable(self, operator: Operator) -> Variable:
        key = _text(operator.option("Container", b"")), _text(operator.option("SharedName", b""))
        name = key[1] or f"variable{len(self._found)}"
        return self._found.setdefault(key, Variable(name))

    def _set_up(self, graph: File) -> None:
        """Let variables have what a graph assigns to them."""
        handles = self._handles_of(graph)
        for operator in graph.operators:
            if operator.kind == "VAR_HANDLE":
                continue
            value = operator.inputs[1] if operator.kind == "ASSIGN_VARIABLE" else None
            initial = None if value is None else graph.tensors[value].constant
            if initial is None:
                raise ModelError(
                    "variables are set up by assigning constants (export the network with such); "
                    f"got {operator.kind}"
                )
            _of(handles, operator).initial = initial


def _of(handles: dict[int, Variable], operator: Operator) -> Variable:
    number = operator.inputs[0]
    if number is None or number not in handles:
        raise ModelError(f"{operator.kind} is of a variable that VAR_HANDLE makes")
    return handles[number]


def _text(name: bytes | None) -> str:
    return (name or b"").decode("utf-8", "replace")
