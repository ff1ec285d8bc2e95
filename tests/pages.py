"""Arrays against pages that end the process when they are touched."""

from __future__ import annotations

import ctypes
import mmap
import os
from dataclasses import dataclass

import numpy as np

_NO_ACCESS, _READ_ONLY = 0, 1
_POISON = 0xFF
"""Every byte beside an array: as a number NaN, so that a stray read of it shows in the result."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


@dataclass(frozen=True)
class Placed:
    """A copy of an array that ends, or begins, where accessible memory does."""

    array: np.ndarray
    beside: np.ndarray
    """The bytes between the array and the other end of its pages."""

    @property
    def alone_written(self) -> bool:
        """Whether nothing beside the array was written."""
        return bool((self.beside == _POISON).all())


def place(array: np.ndarray, *, at_end: bool, read_only: bool = False) -> Placed:
    """Copy an array to pages of its own with an inaccessible page on either side.

    Args:
        array: what is copied.
        at_end: whether the last element ends the accessible memory, or the first begins it.
        read_only: whether the pages cannot be written to either.
    """
    page, nbytes = mmap.PAGESIZE, array.nbytes
    inside = -(-nbytes // page) * page
    memory = np.frombuffer(mmap.mmap(-1, inside + 2 * page), np.uint8)
    memory[:] = _POISON
    accessible = memory[page : page + inside]
    start = inside - nbytes if at_end else 0
    copy = accessible[start : start + nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    for guard in (memory[:page], memory[page + inside :]):
        _protect(guard, _NO_ACCESS)
    if read_only:
        _protect(accessible, _READ_ONLY)
    beside = accessible[:start] if at_end else accessible[nbytes:]
    return Placed(copy, beside)


def _protect(pages: np.ndarray, access: int) -> None:
    if _libc.mprotect(pages.ctypes.data, pages.nbytes, access):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
