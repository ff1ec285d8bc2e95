"""A network for inputs of certain shapes: kernels ready, weights packed, memory planned.

What our kernels read and write lies in one piece of memory for each thread that calls, in which
values whose lives do not overlap share places.  Torch's operators read from it; what they return is
copied there where a kernel reads it.
"""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor

from depthwise.arrays import CACHE_LINE
from depthwise.kernel import Kernel
from depthwise.torch.network.network import Network, Step, Values, filled
from depthwise.torch.network.operators import function
from depthwise.torch.network.places import Lives, planned

Run: TypeAlias = Callable[[Values], None]


class Memory(threading.local):
    """What a thread computes a network in, grown to the largest execution's need."""

    def __init__(self) -> None:
        self.bytes = torch.empty(0, dtype=torch.uint8)
        self.bound: dict[Execution, Bound] = {}

    def reserve(self, nbytes: int) -> None:
        """Grow, and forget what was bound to the memory before."""
        if self.bytes.numel() < nbytes:
            self.bound.clear()
            with torch.inference_mode(False):  # memory of a call in this mode serves no other
                raw = torch.empty(nbytes + CACHE_LINE, dtype=torch.uint8)
                self.bytes = raw[-raw.data_ptr() % CACHE_LINE :]


class Execution:
    """A network for inputs of the shapes that it was made with."""

    def __init__(self, network: Network, inputs: Sequence[Any], memory: Memory) -> None:
        self._network, self._memory = network, memory
        with torch.no_grad():
            values = network.run(inputs)
        self._ready = {
            step.output: _ready(network, step, values) for step in network.steps if _is_stage(step)
        }
        self._lives = Lives(network)
        self._places = planned(self._lives, values)
        self._nbytes = max((place.end for place in self._places.values()), default=0)

    def __call__(self, inputs: Sequence[Any]) -> Any:
        """Compute; see `Network.forward`."""
        bound = self._bound()
        values = [*inputs, *bound.views]
        for run in bound.runs:
            run(values)
        results = self._network.results
        return filled(results, lambda number: self._lives.owned(values, number))

    def times(self, inputs: Sequence[Any], repeats: int) -> dict[int, float]:
        """Return the microseconds of what makes each value: the shortest of some runs."""
        bound = self._bound()
        shortest = [math.inf] * len(bound.runs)
        for _ in range(repeats):
            values = [*inputs, *bound.views]
            for number, run in enumerate(bound.runs):
                start = time.perf_counter()
                run(values)
                shortest[number] = min(shortest[number], time.perf_counter() - start)
        found: dict[int, float] = defaultdict(float)
        for number, seconds in zip(bound.makes, shortest, strict=True):
            found[number] += seconds * 1e6
        return found

    def _bound(self) -> Bound:
        """Return what runs in the calling thread's memory."""
        memory = self._memory
        bound = memory.bound.get(self)
        if bound is None:
            memory.reserve(self._nbytes)
            with torch.inference_mode(False):
                bound = memory.bound[self] = self._bind(memory.bytes)
        return bound

    def kernels(self) -> dict[int, Kernel]:
        """Return the kernel of each value that one computes."""
        return {number: kernel for number, (kernel, _) in self._ready.items()}

    def _bind(self, memory: Tensor) -> Bound:
        """Return what runs in this memory."""
        network = self._network
        count = network.inputs
        tensors = {number: place.tensor(memory) for number, place in self._places.items()}
        views: Values = [*network.constants(), *(None for _ in network.steps)]
        for step in network.steps:
            if _is_stage(step):
                views[step.output - count] = tensors[step.output]
        runs = [
            (number, _copy(number, tensors[number])) for number in range(count) if number in tensors
        ]
        for step in network.steps:
            made = step.output
            if _is_stage(step):
                runs.append((made, self._kernel_run(step, tensors)))
                continue
            runs.append((made, _torch_run(step)))
            if made in tensors:
                runs.append((made, _copy(made, tensors[made])))
        return Bound(views, [run for _, run in runs], [number for number, _ in runs])

    def _kernel_run(self, step: Step, tensors: dict[int, Tensor]) -> Run:
        kernel, packed = self._ready[step.output]
        x, *residual = (tensors[ref.number].data_ptr() for ref in step.args)
        if residual:
            packed = kernel.with_residual(packed, residual[0])
        run = partial(kernel.run, x, packed, tensors[step.output].data_ptr(), 0)
        return lambda _: run()


@dataclass(frozen=True)
class Bound:
    """An execution in the memory of one thread."""

    views: Values
    """The values after the inputs, as far as they are known before a call."""
    runs: list[Run]
    """What a call runs, one after the other."""
    makes: list[int]
    """The number of the value that each makes or moves."""


def _is_stage(step: Step) -> bool:
    return isinstance(step.function, int)


def _ready(network: Network, step: Step, values: Values) -> tuple[Kernel, Any]:
    """Return the kernel of a step and its packed weights, the residual still to come."""
    stage = network.stage(step)
    assert stage is not None
    batch, _, height, width = values[step.args[0].number].shape
    kernel = stage.kernel(batch, height, width)
    operands = [weight.numpy() for weight in stage.operands()]
    return kernel, kernel.pack([*operands, *[0] * stage.takes_residual])


def _copy(number: int, place: Tensor) -> Run:
    def run(values: Values) -> None:
        place.copy_(values[number])

    return run


def _torch_run(step: Step) -> Run:
    compute = function(str(step.function))
    args, kwargs, output = step.args, step.kwargs, step.output

    def run(values: Values) -> None:
        value = values.__getitem__
        values[output] = compute(*filled(args, value), **filled(kwargs, value))

    return run
