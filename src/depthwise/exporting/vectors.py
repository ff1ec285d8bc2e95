"""Inputs for the test of what is exported, and what the oracle makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from depthwise.exporting.model import Model, Move, Operation, Slot
from depthwise.network.agreement import FARTHEST, tolerance
from depthwise.problem import reference
from depthwise.problem.arrays import Array
from depthwise.problem.dtypes import QUANTIZED, element
from depthwise.problem.problem import Layer
from depthwise.schedule.steps import INPUT, OUTPUT


@dataclass(frozen=True)
class Vectors:
    """A test of a model.

    Attributes:
        inputs: the arrays of a call, in order.
        outputs: what comes of them.
        tolerances: how far each output may be off; 0 where it is exact.
    """

    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    tolerances: tuple[float, ...]


def vectors(model: Model, seed: int = 0) -> Vectors:
    """Return random inputs of a model, and what the oracle computes of them."""
    rng = np.random.default_rng(seed)
    values = {number: array.astype(_exact(array.dtype)) for number, array in model.fixed().items()}
    inputs = []
    for number in model.inputs:
        tensor = model.tensors[number]
        inputs.append(_drawn(rng, tensor.shape, tensor.dtype))
        values[number] = inputs[-1].astype(_exact(inputs[-1].dtype))
    for operation in model.operations:
        if isinstance(operation, Move):
            values[operation.makes] = _moved(operation, values)
        else:
            _compute(model, operation, values)
    outputs = tuple(
        values[number].reshape(model.tensors[number].shape).astype(model.tensors[number].dtype)
        for number in model.outputs
    )
    return Vectors(tuple(inputs), outputs, tuple(_tolerance(model, each) for each in outputs))


def _exact(dtype: np.dtype[np.generic]) -> np.dtype[np.generic]:
    """Return the type in which the oracle keeps numbers between operations."""
    return np.dtype("float64") if dtype.kind == "f" else dtype


def _drawn(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    if np.dtype(dtype).kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    return rng.integers(least, most, shape, dtype, endpoint=True)


def _compute(model: Model, operation: Operation, values: dict[int, Array]) -> None:
    problem = operation.problem
    given = {**operation.weights}
    for name, slot in operation.reads.items():
        shape = problem.input_shape if name == INPUT else problem.operands[name]
        given[name] = _seen(values, slot, shape, _pitch(problem, "x" if name == INPUT else name))
    arrays = (given[name] for name in problem.operands)
    result = reference.forward(problem, given[INPUT], *arrays)
    tensor, slot = model.tensors[operation.makes], operation.slots[OUTPUT]
    if slot.tensor not in values:
        values[slot.tensor] = np.zeros(tensor.shape, _exact(np.dtype(tensor.dtype)))
    target = _seen(values, slot, problem.output_shape, _pitch(problem, "y"))
    target[...] = result


def _moved(move: Move, values: Mapping[int, Array]) -> Array:
    """Return elements in another order."""
    flat = np.ascontiguousarray(values[move.source.tensor]).reshape(-1)[move.source.first :]
    strides = [stride * flat.itemsize for stride in move.strides]
    return np.array(np.lib.stride_tricks.as_strided(flat, move.shape, strides, writeable=False))


def _pitch(problem: Layer, name: str) -> int:
    return dict(problem.pitches).get(name, 0)


def _seen(values: Mapping[int, Array], slot: Slot, shape: tuple[int, ...], pitch: int) -> Array:
    """Return the array that lies in a slot, in the memory of the tensor."""
    flat = values[slot.tensor].reshape(-1)
    if not pitch:
        return flat[slot.first : slot.first + prod(shape)].reshape(shape)
    pixels = flat.reshape(*shape[:-1], pitch)
    return pixels[..., slot.first : slot.first + shape[-1]]


def _tolerance(model: Model, output: Array) -> float:
    """Return how far an output may be off: nothing where all are whole numbers on the way."""
    problems = [each.problem for each in model.operations if isinstance(each, Operation)]
    if all(problem.dtype in QUANTIZED for problem in problems) or output.dtype.kind != "f":
        return 0.0
    largest = float(np.abs(output).max(initial=0.0))
    if len(problems) == 1:
        relative, absolute = reference.tolerance(problems[0])
        return absolute + relative * largest
    if any(problem.dtype in QUANTIZED for problem in problems):
        return FARTHEST * largest  # a rounding that falls the other way is a whole unit
    epsilon = max(element(problem.dtype).epsilon for problem in problems)
    return tolerance(len(problems), epsilon) * largest
