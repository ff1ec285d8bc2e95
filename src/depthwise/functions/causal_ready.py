"""A causal convolution whose arrays lie as machine code takes them: one launch, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from depthwise.functions.causal_posed import Arrays, Asked, Numbers, Posed, check_state, shared
from depthwise.functions.sequences import chosen
from depthwise.kernel.addresses import addresses_of
from depthwise.kernel.code import Code
from depthwise.machine import team
from depthwise.problem.arrays import Array, as_numpy, is_tensor, like, new_arrays, written
from depthwise.schedule.causal import with_states


@dataclass(frozen=True)
class Launch:
    """Machine code with the table of its rows."""

    code: Code
    table: Array
    tasks: int
    most_threads: int

    def run(self, threads: int, x: Array, y: Array, found: Posed, states: Array | None) -> None:
        """Compute; each array lies as the table says."""
        if self.tasks == 0:
            return
        operands = [np.ascontiguousarray(found.weight)]
        operands += [np.ascontiguousarray(found.bias)] if found.bias is not None else []
        operands += [states] if found.spec.state and states is not None else []
        addresses = [array.ctypes.data for array in (x, *operands, self.table, y)]
        self.on(threads, *addresses)

    def on(self, threads: int, *arrays: Any) -> None:
        """Run every task on no more than so many threads; 0 is `team.size()`."""
        most = self.most_threads
        count = 1 if most == 1 else min(threads or team.size(), most)
        code = self.code
        team.native().run(code.address, self.tasks, count, code.scratch_bytes, *arrays)


class Ready:
    """A call whose arrays all lie as those that it was prepared for."""

    def __init__(
        self, arrays: Arrays, found: Posed, launch: Launch, result: Array, asked: Asked
    ) -> None:
        self._spec, self._launch, self._asked = found.spec, launch, asked
        self._count = found.count
        self._states = self._distance = 0
        if found.initial is not None:
            self._states = len(found.initial)
            self._distance = found.initial.strides[0] // found.initial.itemsize
        given = [each for each in arrays if each is not None]
        names = [
            name for name, each in zip(Arrays._fields, arrays, strict=True) if each is not None
        ]
        self._tensors = all(map(is_tensor, given))
        self._addresses = addresses_of(given, names) if self._tensors else None
        self._updates = asked.updates
        self._sizes = [as_numpy(each, name).nbytes for name, each in zip(names, given, strict=True)]
        self._wrap = like(arrays.x)
        order = sorted(range(result.ndim), key=lambda axis: -result.strides[axis])
        self._back = None if order == [*range(result.ndim)] else np.argsort(order)
        self._new = new_arrays(tuple(result.shape[axis] for axis in order), result.dtype)

    def __call__(self, arrays: Arrays, numbers: Numbers, threads: int | None) -> Any:
        """Compute one call."""
        table = self._launch.table
        if numbers.state_indices is not None:
            table = self._table_of(numbers)
        count = 0 if threads is None else team.thread_count(threads, self._spec)
        given = [each for each in arrays if each is not None]
        if self._addresses is not None:
            memory: list[Any] = self._addresses(given)
            if self._updates:
                self._check_tensors(memory)
        else:
            views = [each if type(each) is np.ndarray else as_numpy(each, "x") for each in given]
            memory = [*map(_lent, views)]
            if self._updates:
                check_state(views[-1], views[:-1], self._spec)
        y = self._new()
        self._launch.on(count, *memory, table, y)
        result = self._wrap(y if self._back is None else y.transpose(self._back))
        if not self._updates:
            return result
        written(arrays.initial)
        return (result, arrays.initial) if self._asked.returns_state else result

    def _table_of(self, numbers: Numbers) -> Array:
        """Return the table of a call that chooses its states."""
        each = chosen(numbers, self._count, self._states, self._spec, updates=self._updates)
        return with_states(self._launch.table, each * self._distance)

    def stepping(self) -> Callable[[Sequence[Any], int], None]:
        """Return what computes into memory at an address, and updates the state, the last tensor.

        Each of the tensors lies as those that this was prepared for; autograd is told nothing.
        """
        assert self._addresses is not None
        launch, addresses, check = self._launch, self._addresses, self._check_tensors
        code, tasks, most = launch.code, launch.tasks, launch.most_threads
        run, table, scratch = team.native().run, launch.table, code.scratch_bytes

        def into(tensors: Sequence[Any], y: int) -> None:
            memory: list[Any] = addresses(tensors)
            check(memory)
            count = 1 if most == 1 else min(team.size(), most)
            run(code.address, tasks, count, scratch, *memory, table, y)

        return into

    def _check_tensors(self, memory: list[int]) -> None:
        """Refuse a state that shares memory with another array."""
        *others, start = memory
        end = start + self._sizes[-1]
        for first, length in zip(others, self._sizes):  # noqa: B905 (twice as fast)
            if first < end and start < first + length:
                raise shared(self._spec)


def _lent(view: Array) -> Any:
    """Return what gives machine code an array."""
    return view if view.flags.c_contiguous else view.__array_interface__["data"][0]
