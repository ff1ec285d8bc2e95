"""A network for inputs of certain shapes: kernels ready, weights packed, memory planned.

What our kernels read and write lies in one piece of memory for each thread that calls, in which
values whose lives do not overlap share places.  Engines read from it, and write there what a kernel
reads.  A call that interrupts another has memory of its own.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from depthwise.compiler import compile as compile_kernel
from depthwise.kernel.kernel import Kernel
from depthwise.machine import team
from depthwise.network.binding import (
    Binding,
    Bound,
    Ready,
    Taken,
    Values,
    gathered,
    interleaving,
    laid_out,
)
from depthwise.network.places import Life, Lives, nbytes, planned
from depthwise.network.prepare import Told, prepare
from depthwise.network.runs import Runs, lying
from depthwise.network.shapes import known
from depthwise.network.steps import Program, Shape, Stage
from depthwise.network.weights import PackedWeights
from depthwise.problem.arrays import Array, aligned

Key: TypeAlias = "tuple[int, int]"
"""A value's number, and which of the buffers of its kernel, or itself."""
_ITSELF = -1


@dataclass(eq=False)
class Workspace:
    """What a call computes a network in, grown to the largest execution's need."""

    bytes: Array = field(default_factory=lambda: aligned((0,), np.uint8))
    bound: dict[tuple[Execution, int], Bound] = field(default_factory=dict)

    def reserve(self, size: int) -> None:
        """Grow, and forget what was bound to the memory before."""
        if self.bytes.size < size:
            self.bound.clear()
            self.bytes = aligned((size,), np.uint8)


class Workspaces(threading.local):
    """What a thread keeps for its next call; `kernel.buffers` says why calls take it.

    Attributes:
        free: the workspaces that no call uses, which are one unless calls were interrupted.
    """

    def __init__(self) -> None:
        self.free: list[Workspace] = []


class Execution:
    """A network for inputs of the shapes that it was made with.

    Args:
        program: the network.
        inputs: of these shapes.
        weights: those of the program that are laid out.
        workspaces: what each thread keeps for its next call.
        threads: how many run it at most; None is `team.size()`.
        taken: what gives the function that brings an input to its place.
        order: of the elements of results: of their axes, or as they lie here.
        step: called before each piece of work with words that name it.

    Attributes:
        needs: how much memory each value takes, and from which step to which.
        places: where that is in the memory of the thread that calls.
        nbytes: how large this memory is.
    """

    def __init__(
        self,
        program: Program,
        inputs: Sequence[Array],
        weights: PackedWeights,
        workspaces: Workspaces,
        threads: int | None = None,
        taken: Taken = gathered,
        order: Literal["C", "K"] = "C",
        step: Told = lambda _: None,
    ) -> None:
        self._program, self._workspaces, self._threads = program, workspaces, threads
        self._taken, self._order = taken, order
        self._known = known(program, inputs)
        self._runs = Runs.of(program, self._known.shapes)
        works = [
            work
            for each in program.steps
            if isinstance(each.work, Stage) and self._known.shapes[each.outputs[0]][0]
            for work in self._runs.works(each, self._known.shapes)
        ]
        inputs_too = [n for n in program.images if n < len(program.inputs) and taken is gathered]
        brought = [interleaving(*self._kind(number)) for number in inputs_too]
        prepare([*(work.problem for work in works), *filter(None, brought)], step)
        kernels = [(work.stage, compile_kernel(work.problem)) for work in works]
        self._ready = {
            work.makes: Ready(kernel, packed, work.inputs, work.first)
            for work, (_, kernel), packed in zip(works, kernels, weights.pack(kernels), strict=True)
        }
        self._lives = lives = Lives(program, self._runs.lies, self._runs.cuts)
        self.needs = self._buffers()
        self._fixed = {
            number: laid_out(array)
            for number, array in self._known.fixed.items()
            if number in program.images
        }
        for number in self._places_of_images():
            self.needs[number, _ITSELF] = lives.of(number, nbytes(*self._kind(number)))
        self.places = planned(self.needs)
        self.nbytes = max((place.end for place in self.places.values()), default=0)

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        """Return the results for inputs of these shapes, which lie in no memory of the network."""
        workspace, bound, values = self._begun(inputs)
        for run in bound.runs:
            run(values)
        results = [self._result(bound, values, number) for number in self._program.results]
        self._workspaces.free.append(workspace)
        return results

    def clocked(self, inputs: Sequence[Any]) -> list[float]:
        """Compute, and return moments of that by the clock, in seconds.

        These are its begin, the begin and the end of the run of each of `makes`, and its end.  (To
        look at the clock takes less than 0.1 us each time.)
        """
        clock = time.perf_counter
        moments = [clock()]
        workspace, bound, values = self._begun(inputs)
        for run in bound.runs:
            moments.append(clock())
            run(values)
            moments.append(clock())
        for number in self._program.results:
            self._result(bound, values, number)
        self._workspaces.free.append(workspace)
        moments.append(clock())
        return moments

    def _begun(self, inputs: Sequence[Any]) -> tuple[Workspace, Bound, Values]:
        """Take a workspace; return it, what runs there, and the values as far as they are known."""
        free = self._workspaces.free
        workspace = free.pop() if free else Workspace()
        bound = self._bound(workspace)
        values = bound.values.copy()
        values[: len(inputs)] = inputs
        return workspace, bound, values

    @property
    def makes(self) -> list[int]:
        """The number of the value that each run of a call makes or moves."""
        free = self._workspaces.free
        return self._bound(free[-1] if free else Workspace()).makes

    def times(self, inputs: Sequence[Any], repeats: int) -> dict[int, float]:
        """Return the microseconds of what makes each value: the shortest of some runs."""
        moments = np.array([self.clocked(inputs) for _ in range(repeats)])
        shortest = (moments[:, 2:-1:2] - moments[:, 1:-1:2]).min(axis=0)
        found: dict[int, float] = defaultdict(float)
        for number, seconds in zip(self.makes, shortest, strict=True):
            found[number] += float(seconds) * 1e6
        return found

    def kernels(self) -> dict[int, Kernel]:
        """Return the kernel of each value that one computes."""
        return {number: ready.kernel for number, ready in self._ready.items()}

    def _result(self, bound: Bound, values: Values, number: int) -> Any:
        """Return a value for the caller to keep: a copy where it lies in the network's memory."""
        engine = bound.engines.get(number)
        if engine is not None:
            return engine.result(values[number], inside=self._lives.inside(number))
        value = values[number]
        return np.array(value, order=self._order) if isinstance(value, np.ndarray) else value

    def _kind(self, number: int) -> tuple[Shape, str]:
        return self._known.shapes[number], self._program.dtypes[number]

    def _bound(self, workspace: Workspace) -> Bound:
        """Return what runs in a workspace, on the team as large as it is."""
        threads = self._threads or team.size()
        bound = workspace.bound.get((self, threads))
        if bound is None:
            workspace.reserve(self.nbytes)
            bound = workspace.bound[self, threads] = self._bind(workspace.bytes, threads)
        return bound

    def _bind(self, memory: Array, threads: int) -> Bound:
        """Return what runs in this memory on so many threads."""
        images = dict(self._fixed)
        for number in self._places_of_images():
            images[number] = self.places[number, _ITSELF].image(memory, *self._kind(number))
        for number, (root, first) in self._runs.lies.items():
            images[number] = lying(images[root], first, self._known.shapes[number])
        start = memory.ctypes.data
        buffers = {
            made: [start + self.places[made, n].offset for n in range(len(ready.kernel.buffers))]
            for made, ready in self._ready.items()
        }
        fixed = self._known.fixed
        return Binding(
            self._program, images, fixed, self._ready, buffers, threads, self._taken,
            self._runs.cuts, self._known.shapes,
        ).bound  # fmt: skip

    def _places_of_images(self) -> set[int]:
        """Return the numbers of the images that have a place of their own."""
        return set(self._program.images - self._runs.lies.keys() - self._fixed.keys())

    def _buffers(self) -> dict[Key, Life]:
        """Return the memory that each kernel needs between its own steps."""
        needs = {}
        for now, step in enumerate(self._program.steps):
            if step.outputs[0] in self._ready:
                kernel = self._ready[step.outputs[0]].kernel
                for position, buffer in enumerate(kernel.buffers.values()):
                    needs[step.outputs[0], position] = Life(buffer.nbytes, now, now)
        return needs
