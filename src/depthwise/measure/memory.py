"""What memory a call takes, from Linux's account of this process."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_PROCESS = Path("/proc/self")
_FORGET_REFERENCES, _FORGET_PEAK = "1", "5"  # what clear_refs takes


@dataclass(frozen=True)
class Memory:
    """The memory of one call, in bytes."""

    peak: int
    """The most that the whole process had in memory at once during the call."""
    grown: int
    """By how much that is more than what it had before the call; what an engine keeps between calls
    was there already."""
    touched: int
    """What the call read or wrote, files left out: weights, activations and scratch memory, whether
    kept between calls or not."""


def measure(run: Callable[[], object]) -> Memory:
    """Return the memory of one call, which has run before: what is kept between calls is there.

    The allocator must keep what is freed, or what a call gives back during itself is not among
    `Memory.touched`.
    """
    before, peak = resident(run)
    _clear(_FORGET_REFERENCES)
    run()
    return Memory(peak, peak - before, _referenced())


def resident(run: Callable[[], object]) -> tuple[int, int]:
    """Return what is resident before a call, and at most during it, in bytes."""
    ctypes.CDLL(None).malloc_trim(0)  # so that the call finds no memory that was freed before
    _clear(_FORGET_PEAK)
    before = _status("VmRSS")
    run()
    return before, _status("VmHWM")


def _status(field: str) -> int:
    lines = (_PROCESS / "status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def _clear(what: str) -> None:
    (_PROCESS / "clear_refs").write_text(what)


def _referenced() -> int:
    """Return the bytes of the pages without a file that were used since they were forgotten."""
    total, counted = 0, False
    for line in (_PROCESS / "smaps").read_text().splitlines():
        first, *rest = line.split()
        if not first.endswith(":"):  # a mapping: addresses, rights, offset, device, inode, file
            counted = len(rest) < 5 or rest[4].startswith("[heap")
        elif counted and first == "Referenced:":
            total += 1024 * int(rest[0])
    return total
