"""Memory for what lies between the steps of a call, which a thread keeps for its next call.

The handler of a signal may call a kernel on the thread that it interrupts, between any two steps of
a call there.  (Within a step none runs: machine code does not return to Python.)  So memory is
taken for a call and given back after it; meanwhile another call on the thread takes its own.  What
a call that fails does not give back is freed.
"""

from __future__ import annotations

import threading
from typing import TypeAlias

import numpy as np

from depthwise.problem.arrays import Array, aligned

Taken: TypeAlias = tuple[int, Array]
"""The address of memory, and what owns it."""


class _Kept(threading.local):
    def __init__(self) -> None:
        self.free: list[Taken] = []


_kept = _Kept()


def take(nbytes: int) -> Taken:
    """Return memory, at least so large, that no other call uses until it is given back."""
    if (free := _kept.free) and (taken := free.pop())[1].nbytes >= nbytes:
        return taken
    memory = aligned((nbytes,), np.uint8)
    return memory.ctypes.data, memory


def give_back(taken: Taken) -> None:
    """Keep what was taken for the thread's next call."""
    _kept.free.append(taken)
