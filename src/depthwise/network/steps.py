"""A network as steps, each from earlier values to new ones: what runs, and what is saved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any, TypeAlias

import numpy as np

from depthwise.errors import ArrayError
from depthwise.network.engine import Engine
from depthwise.network.operators import Join, Permute, Reshape, Tail
from depthwise.problem.arrays import Array, Memory
from depthwise.problem.dtypes import QUANTIZED
from depthwise.problem.problem import Layer

Shape: TypeAlias = "tuple[int, ...]"


@dataclass(frozen=True, eq=False)
class Stage:
    """A problem with its weights, for channels-last images of any size.

    Its inputs are x and then, in their order, the operands `spec.computed`.

    Attributes:
        spec: the problem at the size of the example.
        operands: the arrays that are the same in each call, by name.
    """

    spec: Layer
    operands: Mapping[str, Array]

    @property
    def title(self) -> str:
        """What it computes."""
        return str(self.spec)

    def problem(self, shape: Shape) -> Layer:
        """Return the problem for images (N, C, H, W), or (N, C), of this shape."""
        batch, _, height, width = (*shape, 1, 1)[:4]
        if self.spec.input_shape[:3] == (batch, height, width):
            return self.spec
        return self.spec.resized(batch, height, width)

    def arrays(self) -> list[Array]:
        """Return the operands that are the same in each call, in their order, contiguous."""
        shapes = self.spec.operands
        return [
            np.ascontiguousarray(self.operands[name].reshape(shapes[name]))
            for name in shapes
            if name not in self.spec.computed
        ]

    def all_operands(self, computed: Iterable[Memory]) -> list[Memory]:
        """Return the operands in the order of a call, those that are computed among them."""
        fixed, others = iter(self.arrays()), iter(computed)
        names = self.spec.computed
        return [next(others if name in names else fixed) for name in self.spec.operands]


@dataclass(frozen=True, eq=False)
class View:
    """The input's elements as an array of another shape."""

    operator: Permute | Reshape | Tail

    @property
    def title(self) -> str:
        """What it does."""
        return self.operator.name

    def of(self, array: Array) -> Array:
        """Return the view; a copy where the elements do not lie so.

        Raises:
            ArrayError: there is none of an array of this shape.
        """
        try:
            if isinstance(self.operator, Permute):
                return np.transpose(array, self.operator.order)
            if isinstance(self.operator, Tail):
                return _last(array, self.operator)
            seen: Array = array.reshape(self.operator.sizes(array.shape))
        except (ValueError, LookupError) as error:
            raise ArrayError(f"{self.operator} is of arrays that have it; got {error}") from None
        return seen


def _last(array: Array, tail: Tail) -> Array:
    size = array.shape[tail.axis]
    if size < tail.count:
        raise ValueError(f"{size} elements along axis {tail.axis}")
    where: list[Any] = [slice(None)] * array.ndim
    where[tail.axis] = slice(size - tail.count, None)
    seen: Array = array[tuple(where)]
    return seen


@dataclass(frozen=True, eq=False)
class Joined:
    """Arrays one behind the other, each copied to its place."""

    operator: Join

    @property
    def title(self) -> str:
        """What it does."""
        return self.operator.name

    def shape(self, shapes: Sequence[Shape]) -> Shape:
        """Return the shape of the result for arrays of these.

        Raises:
            ArrayError: they differ along another axis, or have no such axis.
        """
        axis, first = self.operator.axis, shapes[0]
        others = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes if axis < len(shape)}
        if len(others) != 1 or axis >= len(first):
            raise ArrayError(f"arrays are joined that differ along axis {axis} alone; got {shapes}")
        return (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :])

    def parts(self, whole: Array, shapes: Sequence[Shape]) -> list[Array]:
        """Return where in the result each array of these shapes lies."""
        axis = self.operator.axis
        ends = np.cumsum([shape[axis] for shape in shapes])[:-1]
        return np.split(whole, ends, axis)


def keep_order(views: Iterable[View], shape: Shape) -> bool:
    """Whether an image of a shape is seen through views as an image in the same memory."""
    image = seen = channels_last(np.empty(prod(shape), np.uint8), shape)
    for view in views:
        seen = view.of(seen)
    return np.shares_memory(seen, image) and in_order(seen)


def channels_last(flat: Array, shape: Shape) -> Array:
    """Return elements as the (N, C, H, W) image that they are channels-last, or as (N, C)."""
    if len(shape) != 4:
        return np.reshape(flat, shape)
    batch, channels, height, width = shape
    return np.transpose(flat.reshape(batch, height, width, channels), (0, 3, 1, 2))


def in_order(image: Array) -> bool:
    """Whether an image lies channels-last, or (N, C) contiguous."""
    lies = image.transpose(0, 2, 3, 1) if image.ndim == 4 else image
    return bool(lies.flags.c_contiguous)


@dataclass(frozen=True, eq=False)
class Call:
    """What the engine of a front end computes.

    Attributes:
        engine: who computes it.
        payload: what it makes of it, as bytes that can be saved.
        title: what that is, in words.
        of_shapes: whether the results depend on the shapes of the inputs alone.
        may_view: whether a result may lie in the memory of an input.
    """

    engine: Engine
    payload: bytes
    title: str
    of_shapes: bool = False
    may_view: bool = False


Work: TypeAlias = "Stage | View | Joined | Call"


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """One computation of a network.

    Attributes:
        name: what of the file or the model it stands for.
        work: what is computed.
        inputs: the numbers of the values that it takes.
        outputs: those of the values that it makes.
        before_us: the microseconds that its part took in the model, where that was measured.
        reason: why no kernel of ours computes it; None where one does, or nothing is to be said.
        remark: what else is to be said of it.
        covers: the names of all computations of the file or the model that it stands for.
    """

    name: str
    work: Work
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    before_us: float = 0.0
    reason: str | None = None
    remark: str | None = None
    covers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Port:
    """An input or an output of a network.

    Attributes:
        name: what the file or the model calls it.
        sizes: of its axes: a number, or a word for one that may be any; equal words mean one size.
        dtype: NumPy's name of its element type.
    """

    name: str
    sizes: tuple[int | str, ...] | None
    dtype: str | None

    @property
    def shape(self) -> tuple[int | None, ...] | None:
        """The sizes, with None for those that may be any."""
        if self.sizes is None:
            return None
        return tuple(size if isinstance(size, int) else None for size in self.sizes)


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """What a network keeps from one call to the next: an output that is an input of the next call.

    Attributes:
        taken: which of the inputs, counted from 0.
        made: which of the outputs.
        initial: what it is before the first call; None is zeros.
    """

    taken: int
    made: int
    initial: Array | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Program:
    """A network: values are numbers, first those of the inputs, then the constants', then the rest.

    Attributes:
        inputs: what it takes.
        outputs: what it returns.
        results: the number of the value of each output.
        constants: the arrays that are the same in each call, other than the stages' weights.
        steps: what is computed, in order.
        shapes: of each value for the example, as far as they are known.
        dtypes: of each value, as far as they are known.
        dropped: the names of computations of the file or the model that no step stands for, by why.
        states: what the file says that is kept between calls.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    results: tuple[int, ...]
    constants: tuple[Array, ...]
    steps: tuple[Step, ...]
    shapes: Mapping[int, Shape] = field(default_factory=dict)
    dtypes: Mapping[int, str] = field(default_factory=dict)
    dropped: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    states: tuple[State, ...] = ()

    @cached_property
    def images(self) -> frozenset[int]:
        """The values that kernels take and make, which lie channels-last in memory.

        So are inputs of fewer axes that they take in another shape, which lie in order.
        """
        found: set[int] = set()
        for step in self.steps:
            if isinstance(step.work, Stage):
                found |= {*step.inputs, *step.outputs}
            elif isinstance(step.work, View):
                found |= {number for number in step.inputs if self._is_row(number)}
        return frozenset(found)

    def _is_row(self, number: int) -> bool:
        """Whether a value is an input that is no image, such as rows of pixels."""
        return number < len(self.inputs) and len(self.inputs[number].sizes or ()) in (2, 3)

    @property
    def is_quantized(self) -> bool:
        """Whether images are rounded to whole numbers that stand for real ones."""
        return any(stage.spec.dtype in QUANTIZED for stage in self.stages())

    def stages(self) -> list[Stage]:
        """Return what kernels of ours compute."""
        return [step.work for step in self.steps if isinstance(step.work, Stage)]


def numbered(count: int, constants: Sequence[Array]) -> dict[int, Array]:
    """Return the constants by number, behind so many inputs."""
    return {count + position: array for position, array in enumerate(constants)}


def computed(
    step: Step, given: Sequence[Array], compute: Callable[[Layer, Sequence[Array]], Array]
) -> list[Array]:
    """Return what a step makes of some arrays, images as (N, C, H, W) or (N, C).

    Args:
        step: any.
        given: its inputs.
        compute: returns the result of a problem for all its arrays, as the problem has them.
    """
    work = step.work
    if isinstance(work, View):
        return [work.of(given[0])]
    if isinstance(work, Joined):
        return [np.concatenate(given, work.operator.axis)]
    if isinstance(work, Call):
        return work.engine.compute(work.payload, given, len(step.outputs))
    four = given[0].ndim == 4
    x, *others = [each.transpose(0, 2, 3, 1) if four else each[:, None, None] for each in given]
    operands: list[Any] = work.all_operands(others)
    result = compute(work.problem(given[0].shape), (x, *operands))
    return [result.transpose(0, 3, 1, 2) if four else result[:, 0, 0]]
