"""What is exported: operations one after the other, and the arrays that they take and make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Literal, TypeAlias

import numpy as np

from depthwise.problem.arrays import Array
from depthwise.problem.problem import Layer
from depthwise.schedule.steps import OUTPUT

Role: TypeAlias = Literal["input", "output", "between", "constant"]


@dataclass(frozen=True)
class Tensor:
    """An array of a call.

    Attributes:
        name: what the network calls it.
        shape: as it lies in memory, the last axis without gaps.
        dtype: NumPy's name of its element type.
        role: who has it: the caller, or what lies between input and output in the arena.
        axes: what its axes are, a letter each, e.g. "NHWC"; "" where nobody says.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    role: Role
    axes: str = ""

    @property
    def nbytes(self) -> int:
        """Its bytes."""
        return prod(self.shape) * self.itemsize

    @property
    def itemsize(self) -> int:
        """The bytes of an element."""
        return np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Slot:
    """Where an array of an operation lies: in a tensor, from an element on."""

    tensor: int
    first: int = 0


@dataclass(frozen=True, eq=False)
class Operation:
    """A problem, its weights, and where its other arrays lie.

    Attributes:
        problem: at the size at which it is computed.
        weights: the operands that are the same in each call, by name.
        slots: the input, the operands that are computed, and the result, by the names of `steps`.
    """

    problem: Layer
    weights: Mapping[str, Array]
    slots: Mapping[str, Slot]

    @property
    def reads(self) -> dict[str, Slot]:
        """Where it reads, by name."""
        return {name: slot for name, slot in self.slots.items() if name != OUTPUT}

    @property
    def makes(self) -> int:
        """The number of the tensor that it writes."""
        return self.slots[OUTPUT].tensor


@dataclass(frozen=True, eq=False)
class Move:
    """Elements in another order, or in another place.

    Attributes:
        source: where the first of them lies.
        strides: how many elements lie from one place along an axis of the result to the next.
        shape: of the result, which lies without gaps.
        makes: the number of its tensor.
    """

    source: Slot
    strides: tuple[int, ...]
    shape: tuple[int, ...]
    makes: int

    @property
    def title(self) -> str:
        """What it does."""
        return f"copy of {'x'.join(map(str, self.shape)) or '1'}"

    @property
    def is_in_order(self) -> bool:
        """Whether the elements lie without gaps, in the order of the result."""
        steps = [prod(self.shape[axis + 1 :]) for axis in range(len(self.shape))]
        axes = zip(self.shape, self.strides, steps, strict=True)
        return all(size == 1 or stride == step for size, stride, step in axes)


@dataclass(frozen=True, eq=False)
class Model:
    """What a call computes.

    Attributes:
        title: what it is, in a line.
        tensors: numbered by their place.
        constants: the arrays of those that are the same in each call, by number.
        inputs: the numbers of those that a call is given, in order.
        outputs: the numbers of those that it fills, in order.
        operations: each behind those whose results it reads.
    """

    title: str
    tensors: tuple[Tensor, ...]
    constants: Mapping[int, Array]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operations: tuple[Operation | Move, ...]

    def fixed(self) -> dict[int, Array]:
        """Return the constants as they lie in memory."""
        found = {}
        for number, array in self.constants.items():
            is_image = self.tensors[number].axes == "NHWC"
            lies = array.transpose(0, 2, 3, 1) if is_image else array
            found[number] = np.ascontiguousarray(lies)
        return found

    @cached_property
    def macs(self) -> int:
        """Products that are added up in a call."""
        from depthwise.problem.costs import cost

        problems = (each.problem for each in self.operations if isinstance(each, Operation))
        return sum(cost(problem).macs for problem in problems)
