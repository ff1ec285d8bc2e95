"""A network's steps bound to memory: the functions that a call runs, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from depthwise.compiler import compile as compile_kernel
from depthwise.kernel.kernel import Kernel, Launch
from depthwise.machine import team
from depthwise.network.engine import Engine
from depthwise.network.steps import Call, Joined, Program, Shape, Stage, Step, View, in_order
from depthwise.problem.arrays import Array, Memory, aligned
from depthwise.problem.dtypes import DTYPES, QUANTIZED
from depthwise.problem.gathers import GatherSpec
from depthwise.problem.gathers import Run as Channels

Values: TypeAlias = "list[Any]"
Run: TypeAlias = Callable[[Values], None]
Taken: TypeAlias = "Callable[[int, Array, int], Run]"
Look: TypeAlias = Callable[[Array], Array]
_FEW_CHANNELS = 16
"""Up to so many, the planes of an image are gathered."""


@dataclass(frozen=True, eq=False)
class Bound:
    """An execution in one workspace."""

    values: Values
    """The values, as far as they are known before a call."""
    runs: list[Run]
    """What a call runs, one after the other."""
    makes: list[int]
    """The number of the value that each makes or moves."""
    engines: dict[int, Engine]
    """Who made each value that is not an array."""


@dataclass(frozen=True)
class Ready:
    """A kernel with its packed weights, the operands that are computed still to come.

    Attributes:
        kernel: the kernel.
        packed: the weights.
        inputs: the numbers of the values that it takes.
        first: the first channel of its result that it writes.
    """

    kernel: Kernel
    packed: Sequence[Memory]
    inputs: tuple[int, ...]
    first: int


class Binding:
    """What binds the steps of a program, one after the other.

    Args:
        program: the network.
        images: where each image lies.
        fixed: the values that are the same in each call.
        ready: the kernel of each value that one computes.
        buffers: the addresses of the memory that each of these needs between its own steps.
        threads: how many run it.
        taken: see `gathered`.
        cuts: see `Runs`.
        shapes: of the values.
    """

    def __init__(
        self,
        program: Program,
        images: dict[int, Array],
        fixed: Mapping[int, Array],
        ready: Mapping[int, Ready],
        buffers: Mapping[int, Sequence[int]],
        threads: int,
        taken: Taken,
        cuts: Mapping[int, slice],
        shapes: Mapping[int, Shape],
    ) -> None:
        self._cuts, self._shapes, self._dtypes = cuts, shapes, program.dtypes
        self._images, self._fixed, self._ready = images, fixed, ready
        self._buffers, self._threads = buffers, threads
        last = max((step.outputs[-1] for step in program.steps), default=-1)
        self._values: Values = [None] * (max(last + 1, len(program.inputs) + len(fixed)))
        self._runs: list[tuple[int, Run]] = []
        self._engines: dict[int, Engine] = {}
        for number, array in {**fixed, **images}.items():
            if number >= len(program.inputs):
                self._values[number] = array
        for number in range(len(program.inputs)):
            if number in images:
                self._runs.append((number, taken(number, images[number], threads)))
        for step in program.steps:
            self._bind(step)

    @property
    def bound(self) -> Bound:
        """What was bound."""
        runs, makes = [run for _, run in self._runs], [number for number, _ in self._runs]
        return Bound(self._values, runs, makes, self._engines)

    def _bind(self, step: Step) -> None:
        work, cut = step.work, self._cuts.get(step.outputs[0])
        if cut is not None:
            self._view(step, partial(_cut, cut))
        elif isinstance(work, Stage):
            for launch in self._launches(step) if step.outputs[0] in self._ready else ():
                self._runs.append((step.outputs[0], _launched(launch, self._threads)))
        elif isinstance(work, View):
            self._view(step, work.of)
        elif isinstance(work, Joined):
            self._join(step, work)
        elif not work.of_shapes:
            self._call(step, work)

    def _launches(self, step: Step) -> list[Launch]:
        ready = self._ready[step.outputs[0]]
        x, *computed = (self._images[number].ctypes.data for number in ready.inputs)
        packed = ready.kernel.with_computed(ready.packed, computed)
        out = self._images[step.outputs[0]][:, ready.first :].ctypes.data
        return ready.kernel.launches(x, packed, self._buffers[step.outputs[0]], out)

    def _known(self, number: int) -> Array | None:
        """Return the array that a value is in every call, or None."""
        found = self._images.get(number)
        return found if found is not None else self._values[number]

    def _view(self, step: Step, view: Look) -> None:
        """Bind a view, which is computed now where it shares the memory of what it views."""
        taken, made = step.inputs[0], step.outputs[0]
        source = self._known(taken)
        if source is None:
            self._viewed(taken, made, view)
            return
        seen, place = view(source), self._images.get(made)
        if np.shares_memory(seen, source) and (place is None or in_order(seen)):
            self._values[made] = seen
            if place is not None:
                self._images[made] = seen
            return
        target = np.empty_like(seen) if place is None else place
        self._values[made] = target
        self._runs.append((made, lambda _: np.copyto(target, view(source))))

    def _viewed(self, taken: int, made: int, view: Look) -> None:
        """Bind a view of what is another array in each call: an input, or a view of one."""
        place = self._images.get(made)

        def run(values: Values) -> None:
            values[made] = view(values[taken])

        def copied(values: Values) -> None:
            assert place is not None
            np.copyto(place, view(values[taken]))

        self._runs.append((made, run if place is None else copied))

    def _join(self, step: Step, joined: Joined) -> None:
        """Bind arrays that are put one behind the other, in memory of their own."""
        shapes, made = [self._shapes[number] for number in step.inputs], step.outputs[0]
        dtype = np.dtype(self._dtypes[made])
        whole = self._values[made] = aligned(joined.shape(shapes), dtype)
        for number, part in zip(step.inputs, joined.parts(whole, shapes), strict=True):
            self._runs.append((made, _copied(part, number, self._known(number))))

    def _call(self, step: Step, call: Call) -> None:
        """Bind what an engine computes."""
        counts = len(step.inputs), len(step.outputs)
        runner = call.engine.runner(call.payload, self._threads, counts)
        asked: list[tuple[int, int]] = []
        for position, number in enumerate(step.inputs):
            array = self._known(number)
            if array is None:
                asked.append((position, number))
            else:
                runner.place(position, array)
        made: list[tuple[int, int]] = []
        for position, number in enumerate(step.outputs):
            if number in self._images:
                runner.place_output(position, self._images[number])
            else:
                made.append((position, number))
                self._engines[number] = call.engine
        if not asked and (settled := runner.settled()) is not None:
            for position, number in made:
                self._values[number] = settled[position]
            return
        nothing = [None] * len(step.inputs)

        def run(values: Values) -> None:
            given: list[Any] = nothing.copy()
            for position, number in asked:
                given[position] = values[number]
            results = runner.run(given)
            for position, number in made:
                values[number] = results[position]

        self._runs.append((step.outputs[0], run))


def _copied(place: Array, number: int, source: Array | None) -> Run:
    """Return what copies a value to a place."""
    if source is None:
        return lambda values: np.copyto(place, values[number])
    return lambda _: np.copyto(place, source)


def _cut(cut: slice, row: Array) -> Array:
    """Return a run of the channels of (1, C)."""
    seen: Array = row[:, cut]
    return seen


def laid_out(array: Array) -> Array:
    """Return an image channels-last, or (N, C) contiguous."""
    if array.ndim != 4:
        return np.ascontiguousarray(array)
    pixels = np.ascontiguousarray(array.transpose(0, 2, 3, 1))
    return np.transpose(pixels, (0, 3, 1, 2))


def _launched(launch: Launch, threads: int) -> Run:
    """Return what runs machine code, all that can be known before already looked up."""
    code = launch.code
    count = min(threads, launch.most_threads)
    addresses = [a if isinstance(a, int) else a.ctypes.data for a in launch.arrays]
    run = partial(
        team.native().run, code.address, code.tasks, count, code.scratch_bytes, *addresses
    )
    return lambda _: run()


def gathered(number: int, place: Array, threads: int) -> Run:
    """Return what copies the input of a number to its place, on so many threads."""
    spec = interleaving(place.shape, place.dtype.name)
    if spec is None:
        return lambda values: np.copyto(place, values[number])
    kernel, image_bytes, to = compile_kernel(spec), place[0].nbytes, place.ctypes.data
    plane = spec.height * spec.width * place.itemsize

    def run(values: Values) -> None:
        given = values[number]
        if not given.flags.c_contiguous:
            np.copyto(place, given)
            return
        start = given.ctypes.data
        for begin in range(0, place.nbytes, image_bytes):
            x, *others = range(start + begin, start + begin + image_bytes, plane)
            kernel.run(x, others, to + begin, threads)

    return run


def interleaving(shape: Shape, dtype: str) -> GatherSpec | None:
    """Return what brings an image of few channels into channels-last order in one pass.

    The images that it gathers are the planes.  None for what is copied otherwise.
    """
    few = len(shape) == 4 and 1 < shape[1] <= _FEW_CHANNELS and 0 not in shape
    if not few or dtype not in (*DTYPES, *QUANTIZED):
        return None
    _, channels, height, width = shape
    picks = tuple((Channels(plane, 0, 1),) for plane in range(channels))
    return GatherSpec(images=(1,) * channels, picks=picks, height=height, width=width, dtype=dtype)
