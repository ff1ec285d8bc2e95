"""From the arrays of a causal convolution to its machine code, and to the table that it takes.

Calls whose arrays lie as the machine code takes them, and that differ in nothing but the numbers in
these arrays, are prepared once (`functions.causal_ready`).  The others are looked at in each call.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from depthwise.compiler import compile as compile_kernel
from depthwise.functions.call import remembered
from depthwise.functions.causal_posed import Arrays, Asked, Numbers, posed, seen
from depthwise.functions.causal_ready import Launch, Ready
from depthwise.functions.sequences import States, are_whole, chosen, copied, in_order, lies, pieces
from depthwise.kernel.addresses import signature
from depthwise.machine import team
from depthwise.machine.target import named
from depthwise.problem.arrays import Array, like, new_arrays, written
from depthwise.schedule import causal as rule
from depthwise.schedule.steps import worth_waking


def call(asked: Asked, arrays: Arrays, numbers: Numbers, threads: int | None) -> Any:
    """Compute a causal convolution; see `functions.causal`."""
    try:
        key = call, asked, *map(signature, arrays), *map(signature, numbers)
        hash(key)
    except TypeError:
        return _every_time(asked, arrays, numbers, threads)
    return remembered(key, lambda: prepared(asked, arrays, numbers))(arrays, numbers, threads)


def prepared(asked: Asked, arrays: Arrays, numbers: Numbers) -> Any:
    """Return what computes calls whose arrays have the signatures of these.

    That is a `Ready` where nothing has to be copied.
    """
    return _Call(asked, arrays, numbers).ready(arrays) or partial(_every_time, asked)


def _every_time(asked: Asked, arrays: Arrays, numbers: Numbers, threads: int | None) -> Any:
    return _Call(asked, arrays, numbers).run(arrays, threads)


class _Call:
    """One call: its arrays, in the order in memory that machine code takes."""

    def __init__(self, asked: Asked, arrays: Arrays, numbers: Numbers) -> None:
        self._asked, self._posed = asked, posed(asked, arrays, numbers)
        self._spec, self._rank = self._posed.spec, len(arrays.x.shape)
        self._plain = numbers.seq_idx is None and numbers.cu_seqlens is None
        initial = self._posed.initial
        states = 0 if initial is None else len(initial)
        count = self._posed.count
        self._each = chosen(numbers, count, states, self._spec, updates=asked.updates)
        self._of = pieces(self._posed, numbers)
        self._last = self._takes_channels_last()
        step = self._plain and self._posed.x.shape[2] == 1 and not self._last
        layout, length = "NLC" if self._last else "NCL", 1 if step else 2
        code = replace(self._spec, layout=layout, length=length)  # type: ignore[arg-type]
        self._code = rule.code_of(code)
        self._x = self._lying(self._posed.x, step)
        self._machine = compile_kernel(self._code).codes[0]

    def _takes_channels_last(self) -> bool:
        """Whether machine code goes over channels: x lies so, or of one step the state."""
        found, wanted = self._posed, self._spec.channels_last
        if found.x.shape[2] == 1:
            states = found.initial if found.initial is not None else found.final
            return states is not None and not are_whole(states, channels_last=False)
        for last in (wanted, not wanted):
            if lies(found.x, channels_last=last):
                return last
        return wanted

    def _lying(self, x: Array, step: bool) -> Array:
        """Return x where it lies as the code takes it, or else a copy that does."""
        together = not step or x.strides[1] == x.itemsize
        if together and lies(x, channels_last=self._last):
            return x
        return copied(x, channels_last=self._last)

    def _empty(self, count: int, length: int) -> Array:
        """Return a new array (N, C, L), in memory as the code takes it."""
        sizes = (length, self._spec.channels) if self._last else (self._spec.channels, length)
        made = new_arrays((count, *sizes), self._x.dtype)()
        return in_order(made, channels_last=self._last)

    def run(self, arrays: Arrays, threads: int | None) -> Any:
        """Compute, and return what was asked for."""
        count = team.thread_count(threads, self._spec)
        states, y = self._states(), self._result()
        self._launch(states, y).run(count, self._x, y, self._posed, states.array)
        self._put_back(states, y, arrays)
        wrap = like(arrays.x)
        result = wrap(self._as_given(y)) if arrays.out is None else arrays.out
        if not self._asked.returns_state:
            return result
        if self._asked.updates or arrays.final is not None:
            return result, arrays.initial if self._asked.updates else arrays.final
        assert states.array is not None
        return result, wrap(seen(states.array, self._asked.layout))

    def ready(self, arrays: Arrays) -> Ready | None:
        """Return what computes calls that lie as this one; None where something is copied."""
        found, asked = self._posed, self._asked
        states = found.initial
        copied = self._x is not found.x
        copied |= any(
            array is not None and not array.flags.c_contiguous
            for array in (found.weight, found.bias)
        )
        copied |= states is not None and not are_whole(states, channels_last=self._last)
        copied |= states is not None and not self._spec.state
        new_state = found.final is not None or (asked.returns_state and not asked.updates)
        if copied or new_state or not self._plain or found.out is not None or not found.x.size:
            return None
        given = States(states, self._each, written=asked.updates)
        y = self._result()
        return Ready(arrays, found, self._launch(given, y), self._as_given(y), asked)

    def _states(self) -> States:
        """Return the states as the code takes them, and from where on each sequence has its own."""
        found, each = self._posed, self._each
        wanted = self._asked.returns_state or found.final is not None
        initial, own = found.initial, np.arange(found.count)
        whole = initial is not None and are_whole(initial, channels_last=self._last)
        if self._asked.updates or not wanted:
            if initial is None or whole:
                return States(initial, each, written=self._asked.updates)
            own_order = copied(initial[each], channels_last=self._last)
            return States(own_order, own, written=self._asked.updates)
        array = found.final
        if array is None or not are_whole(array, channels_last=self._last):
            array = self._empty(found.count, self._spec.state)
        array[...] = 0 if initial is None else initial[each]
        return States(array, own, written=True)

    def _result(self) -> Array:
        """Return the array to write to: `out` where it lies as the code writes, or a new one."""
        out, step = self._posed.out, self._code.length == 1
        together = out is not None and (not step or out.strides[1] == out.itemsize)
        if out is not None and together and lies(out, channels_last=self._last):
            return out
        batch, _, length = self._x.shape
        return self._empty(batch, length)

    def _launch(self, states: States, y: Array) -> Launch:
        """Return the machine code with its table."""
        x, to = (lies(each, channels_last=self._last) for each in (self._x, y))
        assert x is not None
        assert to is not None
        target = named(None)
        table = rule.table_of(
            self._code, self._of, x, to, states.places(len(self._of)), written=states.written,
            target=target,
        )  # fmt: skip
        tasks = table.groups * rule.runs(self._code, target) if self._x.size else 0
        return Launch(self._machine, table.numbers, tasks, worth_waking(self._spec))

    def _put_back(self, states: States, y: Array, arrays: Arrays) -> None:
        """Copy what was computed elsewhere to where it was wanted."""
        found = self._posed
        if found.out is not None:
            if y is not found.out:
                found.out[...] = y
            written(arrays.out)
        if self._asked.updates and found.initial is not None:
            if states.array is not found.initial:
                found.initial[self._each] = states.array
            written(arrays.initial)
        elif found.final is not None:
            if states.array is not found.final:
                found.final[...] = states.array
            written(arrays.final)

    def _as_given(self, y: Array) -> Array:
        """Return (N, C, L) with the axes of the call's x."""
        rank = self._rank
        if self._asked.steps and rank == 2:
            return y[:, :, 0]
        result = seen(y, self._asked.layout)
        return result if rank == 3 else result[0]
