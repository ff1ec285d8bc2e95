"""A network for inputs of certain shapes: kernels ready, weights packed, memory planned.

What our kernels read and write lies in one piece of memory for each thread that calls, in which
values whose lives do not overlap share places.  Torch's operators read from it; what they return is
copied there where a kernel reads it.  A call that interrupts another has memory of its own.
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

from depthwise.kernel.addresses import addresses_of
from depthwise.kernel.kernel import Kernel, Launch
from depthwise.machine import team
from depthwise.problem.arrays import CACHE_LINE
from depthwise.problem.values import nbytes
from depthwise.torch.network.network import Network, Step, Values, filled
from depthwise.torch.network.operators import function
from depthwise.torch.network.places import Life, Lives, planned
from depthwise.torch.network.stage import in_order
from depthwise.torch.network.tracing import is_view

Run: TypeAlias = Callable[[Values], None]
Key: TypeAlias = "tuple[int, int]"
"""A value's number, and which of the buffers of its kernel, or itself."""
_ITSELF = -1


class Workspace:
    """What a call computes a network in, grown to the largest execution's need."""

    def __init__(self) -> None:
        self.bytes = torch.empty(0, dtype=torch.uint8)
        self.bound: dict[tuple[Execution, int], Bound] = {}

    def reserve(self, nbytes: int) -> None:
        """Grow, and forget what was bound to the memory before."""
        if self.bytes.numel() < nbytes:
            self.bound.clear()
            raw = torch.empty(nbytes + CACHE_LINE, dtype=torch.uint8)
            self.bytes = raw[-raw.data_ptr() % CACHE_LINE :]


class Memory(threading.local):
    """What a thread keeps for its next call; `kernel.buffers` says why calls take it.

    Attributes:
        free: the workspaces that no call uses, which are one unless calls were interrupted.
    """

    def __init__(self) -> None:
        self.free: list[Workspace] = []


class Execution:
    """A network for inputs of the shapes that it was made with.

    Attributes:
        needs: how much memory each value takes, and from which step to which.
        places: where that is in the memory of the thread that calls.
        nbytes: how large this memory is.
    """

    def __init__(self, network: Network, inputs: Sequence[Any], memory: Memory) -> None:
        self._network, self._memory = network, memory
        self._lives = lives = Lives(network)
        with torch.no_grad():
            values = network.values(inputs)
            self._images = {n: value.to("meta") for n, value in values if n in lives.images}
        self._ready = {
            step.output: _ready(network, step, self._images)
            for step in network.steps
            if _is_stage(step)
        }
        self.needs = self._buffers()
        for number, image in self._images.items():
            self.needs[number, _ITSELF] = lives.of(number, image.nbytes)
        self.places = planned(self.needs)
        self.nbytes = max((place.end for place in self.places.values()), default=0)

    def __call__(self, inputs: Sequence[Any]) -> Any:
        """Compute; see `Network.forward`."""
        free = self._memory.free
        workspace = free.pop() if free else Workspace()
        bound = self._bound(workspace)
        values = [*inputs, *bound.views]
        for run in bound.runs:
            run(values)
        results = filled(self._network.results, lambda number: self._lives.owned(values, number))
        free.append(workspace)
        return results

    def times(self, inputs: Sequence[Any], repeats: int) -> dict[int, float]:
        """Return the microseconds of what makes each value: the shortest of some runs."""
        workspace = Workspace()
        bound = self._bound(workspace)
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

    def _bound(self, workspace: Workspace) -> Bound:
        """Return what runs in a workspace, on the team as large as it is."""
        threads = team.size()
        bound = workspace.bound.get((self, threads))
        if bound is None:
            with torch.inference_mode(False):  # what is made in this mode serves no other
                workspace.reserve(self.nbytes)
                bound = workspace.bound[self, threads] = self._bind(workspace.bytes, threads)
        return bound

    def kernels(self) -> dict[int, Kernel]:
        """Return the kernel of each value that one computes."""
        return {number: kernel for number, (kernel, _) in self._ready.items()}

    def _buffers(self) -> dict[Key, Life]:
        """Return the memory that each kernel needs between its own steps."""
        needs = {}
        for now, step in enumerate(self._network.steps):
            if _is_stage(step):
                kernel, _ = self._ready[step.output]
                for position, shape in enumerate(kernel.buffers.values()):
                    size = nbytes(shape, kernel.spec.dtype)
                    needs[step.output, position] = Life(size, now, now)
        return needs

    def _bind(self, memory: Tensor, threads: int) -> Bound:
        """Return what runs in this memory on so many threads."""
        network = self._network
        count = network.inputs
        images = {
            number: self.places[number, _ITSELF].image(memory, like)
            for number, like in self._images.items()
        }
        views: Values = [*network.constants(), *(None for _ in network.steps)]
        runs = [
            (number, _taken(number, images[number])) for number in range(count) if number in images
        ]
        for step in network.steps:
            made = step.output
            if _is_stage(step):
                views[made - count] = images[made]
                launches = self._launches(step, images, memory.data_ptr())
                runs += [(made, _launched(launch, threads)) for launch in launches]
                continue
            view = _view_of(memory, step, views, count)
            if view is not None:
                views[made - count] = view
                if made in images and in_order(view) is view:
                    images[made] = view
                    continue
            else:
                runs.append((made, _torch_run(step)))
            if made in images:
                runs.append((made, _copy(made, images[made])))
        return Bound(views, [run for _, run in runs], [number for number, _ in runs])

    def _launches(self, step: Step, images: dict[int, Tensor], start: int) -> list[Launch]:
        """Return the launches of a step in the memory that starts at this address."""
        kernel, packed = self._ready[step.output]
        x, *residual = (images[ref.number].data_ptr() for ref in step.args)
        if residual:
            packed = kernel.with_residual(packed, residual[0])
        buffers = [
            start + self.places[step.output, position].offset
            for position in range(len(kernel.buffers))
        ]
        return kernel.launches(x, packed, buffers, images[step.output].data_ptr())


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


def _ready(network: Network, step: Step, images: dict[int, Tensor]) -> tuple[Kernel, Any]:
    """Return the kernel of a step and its packed weights, the residual still to come."""
    stage = network.stage(step)
    assert stage is not None
    kernel = stage.kernel(images[step.args[0].number])
    operands = [weight.numpy() for weight in stage.operands()]
    return kernel, kernel.pack([*operands, *[0] * stage.takes_residual])


def _launched(launch: Launch, threads: int) -> Run:
    """Return what runs machine code, all that can be known before already looked up."""
    code = launch.code
    count = min(threads, launch.most_threads)
    addresses = [a if isinstance(a, int) else a.ctypes.data for a in launch.arrays]
    run = partial(
        team.native().run, code.address, code.tasks, count, code.scratch_bytes, *addresses
    )
    return lambda _: run()


def _view_of(memory: Tensor, step: Step, views: Values, inputs: int) -> Tensor | None:
    """Return the result of one of torch's steps where that is a view of known memory."""
    compute = function(str(step.function))
    known = all(number >= inputs and views[number - inputs] is not None for number in step.inputs)
    if not known or not is_view(compute):
        return None
    args, kwargs = filled((step.args, step.kwargs), lambda number: views[number - inputs])
    result = compute(*args, **kwargs)
    there = memory.untyped_storage().data_ptr()
    same = isinstance(result, Tensor) and result.untyped_storage().data_ptr() == there
    return result if same else None


def _taken(number: int, place: Tensor) -> Run:
    """Return what copies an input to its place; its storage has to hold it."""
    copy = _copy(number, place)
    checks: dict[tuple[int, ...], Callable[[Sequence[Tensor]], Any]] = {}

    def run(values: Values) -> None:
        value = values[number]
        strides = value.stride()
        check = checks.get(strides)
        if check is None:
            check = checks[strides] = addresses_of((value,), (f"input {number}",))
        check((value,))
        copy(values)

    return run


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
