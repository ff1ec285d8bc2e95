"""The kernels of a model for a target: machine functions, each once, and the calls of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from depthwise import compiler
from depthwise.exporting.model import Operation
from depthwise.machine.emitted import Emitted, Form, placed
from depthwise.machine.target import Target
from depthwise.network.prepare import Told
from depthwise.problem.arrays import Array
from depthwise.problem.problem import Layer
from depthwise.schedule.plan import AnyPlan
from depthwise.schedule.steps import OUTPUT, Step


@dataclass(frozen=True)
class Weight:
    """A constant array, by its number."""

    number: int


@dataclass(frozen=True)
class Buffer:
    """Memory between the launches of an operation, from a byte of its own memory on."""

    first: int


Argument: TypeAlias = "str | Weight | Buffer"
"""What a launch is given; arrays of the operation by their names."""


@dataclass(frozen=True)
class Function:
    """A machine function.

    Attributes:
        name: what it is called in C.
        emitted: its code.
        writes: for each of its arrays whether it writes there.
        title: the problem that it computes, or a part of it.
    """

    name: str
    emitted: Emitted
    writes: tuple[bool, ...]
    title: str


@dataclass(frozen=True)
class Launch:
    """A call of a function for all its tasks."""

    function: Function
    arguments: tuple[Argument, ...]
    """Its arrays in order, but for scratch memory."""


@dataclass(frozen=True)
class Call:
    """An operation as launches.

    Attributes:
        title: the problem.
        launches: one after the other.
        buffer_bytes: the memory that lies between them.
        scratch_bytes: the memory that one worker needs at a time.
    """

    title: str
    launches: tuple[Launch, ...]
    buffer_bytes: int
    scratch_bytes: int


@dataclass
class Kernels:
    """All functions and constant arrays of an export, each once.

    Attributes:
        name: what all names in C begin with.
        target: what they are for.
        form: what code is made.
        plans: returns the plan of a problem.
        step: called before each piece of work with words that name it.
    """

    name: str
    target: Target
    form: Form
    plans: Callable[[Layer], AnyPlan]
    step: Told
    functions: list[Function] = field(default_factory=list)
    weights: list[Array] = field(default_factory=list)
    _emitted: dict[object, Emitted] = field(default_factory=dict)
    _functions: dict[object, Function] = field(default_factory=dict)
    _weights: dict[object, int] = field(default_factory=dict)

    def call(self, operation: Operation, problem: Layer | None = None) -> Call:
        """Return an operation as launches.

        Args:
            operation: what is computed.
            problem: as what, where that is not all of it: some rows.
        """
        posed = operation.problem if problem is None else problem
        steps = compiler.steps_of(posed, self.plans(posed), self.target)
        known: dict[str, Argument] = {name: name for name in operation.slots}
        size = 0
        for step in steps:
            for name, buffer in step.buffers.items():
                known[name] = Buffer(size)
                size += placed(buffer.nbytes)
        launches = tuple(self._launch(step, known, operation.weights) for step in steps)
        scratch = max(placed(each.function.emitted.scratch_bytes) for each in launches)
        return Call(str(posed), launches, size, scratch)

    def forget(self) -> None:
        """Forget functions and constants, whose calls are not wanted any more; code is kept."""
        for kept in (self.functions, self.weights, self._functions, self._weights):
            kept.clear()

    def constant(self, array: Array) -> Weight:
        """Return a constant array, which is kept once."""
        key = array.dtype.str, array.size, array.tobytes()
        if key not in self._weights:
            self._weights[key] = len(self.weights)
            self.weights.append(np.ascontiguousarray(array).reshape(-1))
        return Weight(self._weights[key])

    def _launch(
        self, step: Step, known: Mapping[str, Argument], weights: Mapping[str, Array]
    ) -> Launch:
        arguments = tuple(
            known[name] if name in known else self._packed(step, name, weights[name])
            for name in step.arguments
        )
        return Launch(self._function(step), arguments)

    def _packed(self, step: Step, name: str, array: Array) -> Weight:
        packing = step.packings.get(name)
        if packing is None:
            return self.constant(array)
        shaped = np.ascontiguousarray(array.reshape(packing.conv.weight_shape))
        pack = packing.form.pack(packing.conv)
        return self.constant(shaped if pack is None else np.asarray(pack(shaped)))

    def _function(self, step: Step) -> Function:
        writes = tuple(self._writes(step))
        key = step.problem, step.plan, step.number, writes
        if key not in self._functions:
            emitted = self._code(step)
            own = emitted.symbol or f"{self.name}_k{len(self.functions)}"
            made = Function(own, emitted, writes, step.title or str(step.problem))
            self._functions[key] = made
            self.functions.append(made)
        return self._functions[key]

    def _code(self, step: Step) -> Emitted:
        key = step.problem, step.plan, step.number
        if key not in self._emitted:
            self.step(f"compile {step.problem}")
            self._emitted[key] = compiler.emitted(step, self.target, self.form)
        return self._emitted[key]

    def _writes(self, step: Step) -> Iterator[bool]:
        for name in step.arguments:
            yield name == OUTPUT or name in step.buffers
