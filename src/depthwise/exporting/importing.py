"""From a problem, or the program of a network, to what is exported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from depthwise.errors import ModelError
from depthwise.exporting.model import Model, Move, Operation, Slot, Tensor
from depthwise.network.runs import Runs, lying
from depthwise.network.shapes import known
from depthwise.network.steps import (
    Call,
    Joined,
    Program,
    Shape,
    Stage,
    Step,
    View,
    channels_last,
    in_order,
)
from depthwise.problem.arrays import Array
from depthwise.problem.block import BlockSpec
from depthwise.problem.problem import Layer
from depthwise.schedule.steps import INPUT, OUTPUT

_MOST_NAMED = 8
"""Of what cannot be exported, so many are named."""


def model_of_problem(problem: Layer, operands: Mapping[str, Array]) -> Model:
    """Return the model of one problem: its input and what is computed are what a call is given."""
    given = {INPUT: problem.array_names[0], **{n: n for n in problem.operands if n not in operands}}
    shapes = {INPUT: problem.input_shape, **problem.operands, OUTPUT: problem.output_shape}
    names = {**given, OUTPUT: "y"}
    axes = problem.layout if len(problem.layout) == len(problem.input_shape) else ""
    tensors = [
        Tensor(
            called, shapes[each], problem.dtype_of(called),
            "output" if each == OUTPUT else "input", axes if len(shapes[each]) == len(axes) else "",
        )
        for each, called in names.items()
    ]  # fmt: skip
    slots = {each: Slot(number) for number, each in enumerate(names)}
    operation = Operation(problem, dict(operands), slots)
    return Model(
        str(problem), tuple(tensors), {}, tuple(range(len(given))), (len(given),), (operation,)
    )


def model_of_network(program: Program, title: str, *, asked: bool, apart: bool) -> Model:
    """Return the model of a network at the size of its example.

    Args:
        program: the network.
        title: what it is, in a line.
        asked: whether somebody asked for sizes that are open.
        apart: whether the convolutions of a block are operations of their own, where there is one
            image, which can be computed row by row.

    Raises:
        ModelError: a size is open, or something is computed that no kernel computes.
    """
    inputs = [_example(program, number, asked) for number in range(len(program.inputs))]
    apart &= all(each.shape[:1] == (1,) for each in inputs)
    return _Reading(program, inputs, apart=apart).model(title)


def _example(program: Program, number: int, asked: bool) -> Array:
    """Return an input; of images the batch may be open, and is that of the example."""
    port, shape = program.inputs[number], program.shapes.get(number)
    is_open = not asked and any(isinstance(size, str) for size in (port.sizes or ())[1:])
    if shape is None or port.dtype is None or is_open:
        raise ModelError(
            f"a network is exported for inputs of one size; that of {port.name} is not known: give "
            "its shape"
        )
    return np.zeros(shape, port.dtype)


class _Reading:
    """Follows values as arrays, whose addresses say what lies where."""

    def __init__(self, program: Program, inputs: Sequence[Array], *, apart: bool) -> None:
        self._program, self._apart = program, apart
        self._known = known(program, inputs)
        self._runs = Runs.of(program, self._known.shapes)
        self._tensors: list[Tensor] = []
        self._memory: list[Array] = []
        """What stands for the memory of each tensor; its elements do not matter."""
        self._values: dict[int, Array] = {}
        self._constants: dict[int, Array] = {}
        self._operations: list[Operation | Move] = []
        self._left: list[str] = []

    def model(self, title: str) -> Model:
        """Return what is exported."""
        program = self._program
        for number, port in enumerate(program.inputs):
            self._new(number, port.name, "input")
        for number, array in self._known.fixed.items():
            if number in program.images or number in program.results:
                self._constants[self._new(number, f"constant {number}", "constant")] = array
        for number in self._roots():
            self._new(number, f"value {number}", "between")
        for number, (root, first) in self._runs.lies.items():
            self._values[number] = lying(self._values[root], first, self._known.shapes[number])
        for step in program.steps:
            self._read(step)
        if self._left:
            raise _not_exported(self._left)
        outputs = self._results()
        return Model(
            title, tuple(self._tensors), self._constants, tuple(range(len(program.inputs))),
            outputs, tuple(self._operations),
        )  # fmt: skip

    def _roots(self) -> Iterator[int]:
        """Yield the numbers of the images that have memory of their own."""
        program = self._program
        for number in sorted(program.images):
            if number >= len(program.inputs) and not (
                number in self._runs.lies or number in self._known.fixed
            ):
                yield number

    def _new(self, number: int, name: str, role: Any) -> int:
        """Add the tensor of a value, and return its number."""
        shape, dtype = self._known.shapes[number], self._dtype(number)
        lies, axes = _as_it_lies(shape, number in self._program.images)
        memory = np.empty(max(prod(shape), 1), dtype)
        self._values[number] = (
            channels_last(memory[: prod(shape)], shape) if axes else memory.reshape(shape)
        )
        self._memory.append(memory)
        self._tensors.append(Tensor(name, lies, dtype, role, axes))
        return len(self._tensors) - 1

    def _dtype(self, number: int) -> str:
        fixed = self._known.fixed.get(number)
        return fixed.dtype.name if fixed is not None else self._program.dtypes[number]

    def _read(self, step: Step) -> None:
        made = step.outputs[0]
        if made in self._runs.cuts:
            self._values[made] = self._values[step.inputs[0]][:, self._runs.cuts[made]]
        elif isinstance(step.work, Stage):
            for work in self._runs.works(step, self._known.shapes):
                y = self._values[work.makes]
                slots = [self._slot(self._values[number]) for number in work.inputs]
                names = (INPUT, *work.problem.computed)
                taken = dict(zip(names, slots, strict=True))
                taken[OUTPUT] = self._slot(y[:, work.first :])
                fixed = [name for name in work.problem.operands if name not in names]
                weights = dict(zip(fixed, work.stage.arrays(), strict=True))
                self._operations += self._parts(step, work.problem, weights, taken)
        elif isinstance(step.work, View):
            self._view(step, step.work)
        elif isinstance(step.work, Joined):
            self._left.append(f"{step.name} (its length is open)")
            self._new(made, f"value {made}", "between")
        elif isinstance(step.work, Call) and not step.work.of_shapes:
            self._left.append(f"{step.name} ({step.reason or step.work.title})")
            for number in step.outputs:
                self._values.setdefault(number, self._nothing(number))

    def _nothing(self, number: int) -> Array:
        return np.empty(self._known.shapes.get(number, ()), "float32")

    def _view(self, step: Step, view: View) -> None:
        """Let a value lie where what it is a view of lies, or move the elements to its place."""
        source = self._values.get(step.inputs[0])
        if source is None:
            return  # of a constant, which is known
        made, image = step.outputs[0], step.outputs[0] in self._program.images
        seen = self._seen(step, view, source)
        if np.shares_memory(seen, source) and (not image or in_order(seen)):
            self._values[made] = seen
        elif image:
            place = self._values[made]
            lies = seen.transpose(0, 2, 3, 1) if seen.ndim == 4 else seen
            self._operations.append(self._moved(lies, self._slot(place).tensor))
        else:
            self._left.append(f"{step.name} ({view.title} moves elements)")

    def _seen(self, step: Step, view: View, source: Array) -> Array:
        """Return a view; where there is none of elements as they lie, of those in order."""
        seen = view.of(source)
        if np.shares_memory(seen, source):
            return seen
        number = len(self._tensors)
        memory = np.empty(source.size, source.dtype)
        self._memory.append(memory)
        self._tensors.append(Tensor(step.name, source.shape, source.dtype.name, "between"))
        self._operations.append(self._moved(source, number))
        return view.of(memory.reshape(source.shape))

    def _moved(self, source: Array, target: int) -> Move:
        strides = tuple(stride // source.itemsize for stride in source.strides)
        return Move(self._slot(source), strides, source.shape, target)

    def _slot(self, array: Array) -> Slot:
        """Return where an array lies."""
        for number, memory in enumerate(self._memory):
            first = array.ctypes.data - memory.ctypes.data
            if 0 <= first < memory.nbytes:
                return Slot(number, first // memory.itemsize)
        raise ModelError("a network is exported whose values lie in memory that is planned")

    def _parts(
        self, step: Step, problem: Layer, weights: dict[str, Array], slots: dict[str, Slot]
    ) -> Iterator[Operation]:
        """Yield a problem as one operation, or a block as those of its convolutions."""
        name = step.name
        if not (self._apart and isinstance(problem, BlockSpec)) or problem.squeeze_excite:
            yield Operation(problem, weights, slots)
            return
        source = slots[INPUT]
        for part, spec in problem.named_parts.items():
            last = spec is problem.parts[-1]
            own = {
                operand: weights[f"{part}_{operand}"]
                for operand in ("weight", "bias")
                if f"{part}_{operand}" in weights
            }
            made = slots[OUTPUT] if last else self._between(name, part, spec)
            taken = {INPUT: source, OUTPUT: made}
            if spec.residual:
                taken["residual"] = slots["residual"]
            yield Operation(spec, own, taken)
            source = made

    def _between(self, name: str, part: str, spec: Layer) -> Slot:
        shape, dtype = spec.output_shape, spec.dtype_of("y")
        self._tensors.append(Tensor(f"{name} {part}", shape, dtype, "between", "NHWC"))
        self._memory.append(np.empty(0, dtype))
        return Slot(len(self._tensors) - 1)

    def _results(self) -> tuple[int, ...]:
        """Let each result be made in its place, or be copied there."""
        outputs = []
        made = {operation.makes for operation in self._operations}
        for port, number in zip(self._program.outputs, self._program.results, strict=True):
            value = self._values[number]
            slot = self._slot(value)
            tensor, shape = self._tensors[slot.tensor], self._known.shapes[number]
            lies, axes = _as_it_lies(shape, tensor.axes != "" and len(shape) == 4)
            result = Tensor(port.name, lies, tensor.dtype, "output", axes)
            seen = value.transpose(0, 2, 3, 1) if axes == "NHWC" else value
            whole = slot.first == 0 and prod(shape) == prod(tensor.shape)
            if (
                whole and tensor.role == "between" and slot.tensor in made
                and seen.flags.c_contiguous
            ):  # fmt: skip
                self._tensors[slot.tensor] = result
                outputs.append(slot.tensor)
                continue
            self._tensors.append(result)
            self._memory.append(np.empty(0, tensor.dtype))
            outputs.append(len(self._tensors) - 1)
            self._operations.append(self._moved(seen, outputs[-1]))
        return tuple(outputs)


def _as_it_lies(shape: Shape, is_image: bool) -> tuple[Shape, str]:
    """Return the shape of an array in memory, and what its axes are; "" where nobody says."""
    if is_image and len(shape) == 4:
        batch, channels, height, width = shape
        return (batch, height, width, channels), "NHWC"
    return shape, "NC" if is_image and len(shape) == 2 else ""


def _not_exported(left: Sequence[str]) -> ModelError:
    named = "; ".join(left[:_MOST_NAMED])
    more = f"; and {len(left) - _MOST_NAMED} more" if len(left) > _MOST_NAMED else ""
    return ModelError(
        "what is exported is computed by kernels alone; an engine would compute "
        f"{named}{more}.  Cut the network before it, or write it with other operators"
    )
