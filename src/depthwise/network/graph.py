"""The graph of a network: values, and the nodes that make them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from depthwise.network.operators import Operator
from depthwise.problem.arrays import Array

FIXED = "the same in each call: computed once"
NO_CHANGE = "it changes nothing"
UNUSED = "nobody takes what it makes"
AS_IT_LIES = "what it turns is taken as it lies"
"""Why a computation of the file or model is no part of a network."""


@dataclass(frozen=True, eq=False)
class Codes:
    """The whole numbers q of a constant that is scale * (q - zero).

    Attributes:
        array: the numbers.
        scale: float32, one number or one for each place along `axis`.
        zero: likewise.
        axis: which that is.
    """

    array: Array
    scale: Array
    zero: Array
    axis: int = 0

    def values(self) -> Array:
        """Return what they stand for, in float32."""
        along = [1] * self.array.ndim
        if self.scale.size > 1:
            along[self.axis] = -1
        centred = self.array.astype(np.int32) - self.zero.reshape(along)
        values: Array = centred.astype(np.float32) * self.scale.reshape(along)
        return values

    def transposed(self) -> Codes:
        """Return those of a matrix with rows and columns the other way round."""
        return replace(self, array=self.array.T, axis=1 - self.axis)


@dataclass(eq=False)
class Value:
    """An array that flows through a network.

    Attributes:
        name: what the file or the model calls it, or what a pass made of that.
        shape: for the example; None where it is not known.
        sizes: the same with a word for each size that may be another; equal words are equal sizes.
        dtype: NumPy's name of its element type; None where it is not known.
        constant: the array itself where it is the same in each call.
        codes: the whole numbers that the constant was computed from, if it was.
        maker: the node whose output it is; None of inputs and constants.
        users: the nodes that take it, once for each time that they do.
    """

    name: str
    shape: tuple[int, ...] | None = None
    sizes: tuple[int | str, ...] | None = None
    dtype: str | None = None
    constant: Array | None = None
    codes: Codes | None = None
    maker: Node | None = None
    users: list[Node] = field(default_factory=list)

    def resize(self, axis: int, size: int) -> None:
        """Give it another size along an axis."""
        if self.shape is not None and self.sizes is not None:
            self.shape = (*self.shape[:axis], size, *self.shape[axis + 1 :])
            self.sizes = (*self.sizes[:axis], size, *self.sizes[axis + 1 :])

    def __repr__(self) -> str:
        return f"{self.name}: {self.dtype} {self.sizes}"


@dataclass(eq=False)
class Node:
    """One computation.

    Attributes:
        operator: what it computes.
        inputs: of what; None for one that is left out.
        outputs: the values it makes.
        covers: the names of the computations of the file or model that it stands for, in order.
        reason: why no kernel computes it, where there is something to say.
        remark: what else is to be said of it.
        before_us: the microseconds that these took in the model, where that was measured.
    """

    operator: Operator
    inputs: list[Value | None]
    outputs: list[Value]
    covers: list[str] = field(default_factory=list)
    reason: str | None = None
    remark: str | None = None
    before_us: float = 0.0

    @property
    def output(self) -> Value:
        """The only value it makes."""
        (output,) = self.outputs
        return output

    @property
    def name(self) -> str:
        """The name of its operator."""
        return self.operator.name

    def constant(self, position: int) -> Array | None:
        """Return an input as an array; None where it is none, or is computed."""
        value = self.inputs[position] if position < len(self.inputs) else None
        return None if value is None else value.constant

    def __repr__(self) -> str:
        return f"{self.outputs} = {self.operator}({', '.join(map(repr, self.inputs))})"


@dataclass(eq=False)
class Graph:
    """A network.

    Attributes:
        inputs: what it is called with.
        outputs: what it returns; a value may be there twice, and may be used inside as well.
        names: what each output is called.
        nodes: each behind those whose values it takes.
        dropped: the names of computations of the file or model that no node stands for, by why.
    """

    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    dropped: dict[str, list[str]] = field(default_factory=dict)
    _made: int = 0

    def is_output(self, value: Value) -> bool:
        """Whether the network returns a value."""
        return any(value is output for output in self.outputs)

    def used_once(self, value: Value) -> bool:
        """Whether one node takes a value, once, and nobody else sees it."""
        return len(value.users) == 1 and not self.is_output(value)

    def add(self, node: Node, before: Node | None = None) -> Node:
        """Put a new node in its place: before another, or at the end."""
        self._wire(node)
        self.nodes.insert(len(self.nodes) if before is None else self.nodes.index(before), node)
        return node

    def insert(
        self, before: Node, operator: Operator, inputs: Sequence[Value | None], like: Value
    ) -> Node:
        """Add a node with one output of the shape and type of another value."""
        self._made += 1
        output = Value(f"{like.name}#{self._made}", like.shape, like.sizes, like.dtype)
        return self.add(Node(operator, list(inputs), [output]), before)

    def constant(self, array: Array, name: str) -> Value:
        """Return an array as a value."""
        return Value(name, array.shape, array.shape, array.dtype.name, np.asarray(array))

    def replace(self, value: Value, by: Value) -> None:
        """Let all who take a value take another."""
        for user in list(dict.fromkeys(value.users)):
            user.inputs = [by if each is value else each for each in user.inputs]
            by.users += [user] * value.users.count(user)
        value.users.clear()
        self.outputs = [by if each is value else each for each in self.outputs]

    def stand_in(self, node: Node, by: Node) -> None:
        """Put one node in the place of another, which is removed; it answers for both."""
        self.replace(node.output, by.output)
        by.covers += node.covers
        by.before_us += node.before_us
        self.remove(node)

    def remove(self, node: Node) -> None:
        """Take out a node whose values nobody takes."""
        self.nodes.remove(node)
        for value in node.inputs:
            if value is not None:
                value.users.remove(node)
        for value in node.outputs:
            value.maker = None

    def bypass(self, node: Node) -> None:
        """Remove a node that changes nothing, its only input in the place of its output.

        A neighbour has its time.
        """
        x = node.inputs[0]
        assert x is not None
        neighbour = x.maker or next(iter(node.output.users), None)
        if neighbour is not None:
            neighbour.before_us += node.before_us
        self.replace(node.output, x)
        self.remove(node)
        self.drop(node.covers, NO_CHANGE)

    def retake(self, node: Node, position: int, value: Value) -> None:
        """Let a node take another value as one of its inputs."""
        before = node.inputs[position]
        if before is not None:
            before.users.remove(node)
        node.inputs[position] = value
        value.users.append(node)

    def drop(self, names: Iterable[str], why: str) -> None:
        """Remember computations that no node stands for."""
        self.dropped.setdefault(why, []).extend(names)

    def drop_unused(self, into: Node | None = None, why: str = UNUSED) -> None:
        """Take out every node whose values nobody takes; another, if given, answers for them."""
        for node in reversed(list(self.nodes)):
            if not any(value.users or self.is_output(value) for value in node.outputs):
                self.remove(node)
                if into is not None:
                    into.covers[:0] = node.covers
                    into.before_us += node.before_us
                else:
                    self.drop(node.covers, why)

    def _wire(self, node: Node) -> None:
        for value in node.inputs:
            if value is not None:
                value.users.append(node)
        for value in node.outputs:
            value.maker = node


def values_of(nodes: Iterable[Node]) -> list[Value]:
    """Return what nodes take and make, each once."""
    return list(
        dict.fromkeys(
            value for node in nodes for value in (*node.inputs, *node.outputs) if value is not None
        )
    )
