"""The shapes of a network's values for inputs of certain shapes, and what depends on them alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from depthwise.compiler import compile as compile_kernel
from depthwise.errors import ArrayError
from depthwise.network.steps import (
    Call,
    Joined,
    Program,
    Shape,
    Stage,
    Step,
    View,
    computed,
    numbered,
)
from depthwise.problem.arrays import Array
from depthwise.problem.dtypes import numpy_type
from depthwise.problem.problem import Layer


@dataclass
class Known:
    """What is known before a call.

    Attributes:
        shapes: of the values, at least of all that kernels take and make.
        fixed: the values that are the same for all inputs of these shapes, the constants too.
    """

    shapes: dict[int, Shape]
    fixed: dict[int, Array] = field(default_factory=dict)


def known(program: Program, inputs: Sequence[Array]) -> Known:
    """Return what is known of a network for inputs of these shapes."""
    constants = numbered(len(program.inputs), program.constants)
    given = {number: _shape(value) for number, value in enumerate(inputs)}
    example = all(program.shapes.get(number) == shape for number, shape in given.items())
    if example or not any(isinstance(step.work, Call) for step in program.steps):
        found = Known({**(program.shapes if example else {}), **given}, dict(constants))
        found.shapes |= {number: array.shape for number, array in constants.items()}
        if all(_stated(program, step, found) for step in program.steps):
            return found
    return _watched(program, inputs, constants)


def _stated(program: Program, step: Step, found: Known) -> bool:
    """Add what is known of a step's results without computing; whether that is enough."""
    work, shapes = step.work, found.shapes
    if not isinstance(work, Call) and any(number not in shapes for number in step.inputs):
        return False
    if isinstance(work, Stage):
        shapes[step.outputs[0]] = _made(work, *(shapes[number] for number in step.inputs))
    elif isinstance(work, View):
        shapes[step.outputs[0]] = work.of(_nothing(shapes[step.inputs[0]], "float32")).shape
    elif isinstance(work, Joined):
        shapes[step.outputs[0]] = work.shape([shapes[number] for number in step.inputs])
    elif work.of_shapes:
        if any(number not in shapes or number not in program.dtypes for number in step.inputs):
            return False
        given = [
            found.fixed.get(number, _nothing(shapes[number], program.dtypes[number]))
            for number in step.inputs
        ]
        _fix(step, work.engine.compute(work.payload, given, len(step.outputs)), found)
    return True


def _nothing(shape: Shape, dtype: str) -> Array:
    """Return zeros of which none lies in memory until it is read."""
    return np.zeros(shape, numpy_type(dtype))


def _made(stage: Stage, shape: Shape, *computed: Shape) -> Shape:
    """Return the shape of what a kernel makes of an image, or of (N, C).

    Raises:
        ArrayError: it takes images of other channels, or other operands of other sizes.
    """
    wanted = stage.spec.input_shape[-1]
    if len(shape) not in (2, 4) or shape[1] != wanted:
        raise ArrayError(f"images have {wanted} channels; got {shape}: {stage.spec}")
    batch = shape[0]
    problem = stage.problem((max(batch, 1), *shape[1:]))

    def lies(posed: Shape) -> Shape:
        return (batch, posed[3], posed[1], posed[2])[: len(shape)]

    for name, given in zip(problem.computed, computed, strict=True):
        if given != (right := lies(problem.operands[name])):
            raise ArrayError(f"{name} has the shape {right}; got {given}: {stage.spec}")
    return lies(problem.output_shape)


def _fix(step: Step, results: Sequence[Array], found: Known) -> None:
    for number, array in zip(step.outputs, results, strict=True):
        found.fixed[number], found.shapes[number] = array, _shape(array)


def _watched(program: Program, inputs: Sequence[Array], constants: dict[int, Array]) -> Known:
    """Compute a network and return what was seen."""
    values: dict[int, Any] = {**dict(enumerate(inputs)), **constants}
    found = Known({number: _shape(value) for number, value in values.items()}, dict(constants))
    last = {number: step for step in program.steps for number in step.inputs}
    for step in program.steps:
        results = _results(step, [values[number] for number in step.inputs])
        if isinstance(step.work, Call) and step.work.of_shapes:
            _fix(step, results, found)
        for number, result in zip(step.outputs, results, strict=True):
            values[number], found.shapes[number] = result, _shape(result)
        for number in {*step.inputs, *step.outputs}:
            if last.get(number, step) is step:
                del values[number]
    return found


def _results(step: Step, given: list[Array]) -> list[Array]:
    if isinstance(step.work, Stage) and not len(given[0]):  # of no images nothing is computed
        shape = _made(step.work, *(each.shape for each in given))
        return [_nothing(shape, step.work.spec.dtype_of("y"))]
    return computed(step, given, _by_kernel)


def _by_kernel(problem: Layer, arrays: Sequence[Array]) -> Array:
    result: Array = compile_kernel(problem)(*arrays)
    return result


def _shape(value: Any) -> Shape:
    """Return the shape of an array, () of anything else."""
    return tuple(getattr(value, "shape", ()))
