"""The one thread team that every kernel runs on: OpenMP's, which is also PyTorch's.

Two pools in one process take the cores from each other, so kernels bring none of their own: the
extension module `_team` runs the tasks of a kernel on the OpenMP team of the process.  Where it
could not be compiled, tasks run one after the other in the calling thread.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
import warnings
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np

from depthwise.errors import SpecError
from depthwise.problem.problem import Problem
from depthwise.problem.values import whole

MOST_THREADS = 1024
"""What a call may be told to use; no call uses more."""


@cache
def native() -> Any:
    """Return the extension module, or what stands in for it, after one warning."""
    try:
        module = importlib.import_module("depthwise.machine._team")
    except ImportError as error:
        warnings.warn(
            f"kernels run on one thread: {error}; reinstall depthwise where there is a C compiler "
            "and libgomp (depthwise doctor says more)",
            RuntimeWarning,
            stacklevel=2,
        )
        return SimpleNamespace(
            run=_run_serially, transpose=_transpose, same=_same, lies=_lies,
            addresses=_addresses, size=lambda: 1, forked=lambda: False, runtime=lambda: None,
        )  # fmt: skip
    return module


def size() -> int:
    """Return how many threads a call uses unless told otherwise.

    `torch.get_num_threads()` where torch is in the process, otherwise what OpenMP takes:
    OMP_NUM_THREADS or the cores that the process may run on.  In a forked child it is one, because
    OpenMP's threads do not survive a fork, and one without OpenMP.
    """
    ask = getattr(sys.modules.get("torch"), "get_num_threads", None)
    if ask is None or not _has_openmp() or native().forked():
        ask = native().size
    return ask()  # type: ignore[no-any-return]


def thread_count(threads: int | None, spec: Problem | str) -> int:
    """Return how many threads a call was told to use, 0 where it was not.

    Raises:
        SpecError: it is no whole number, below one or above `MOST_THREADS`.
    """
    if threads is None:
        return 0
    count = whole("threads", threads)
    if count < 1:
        raise SpecError(f"threads are at least 1; got {count}: {spec}")
    if count > MOST_THREADS:
        raise SpecError(f"threads are at most {MOST_THREADS}; got {count}: {spec}")
    return count


def in_words(threads: int) -> str:
    """Return a count of threads in words."""
    return "1 thread" if threads == 1 else f"{threads} threads"


def shares(tasks: int, threads: int) -> list[list[range]]:
    """Return which tasks each thread computes, as runs of neighbouring ones.

    That is how `_team.c` deals tasks out where all threads are equally fast: each has an equal
    share, of which it computes six eighths as one run, then the seventh eighth, then the last.
    Those two are taken by whichever thread comes first, here the one whose share it is.
    """
    threads = min(tasks, threads)
    ends = [tasks * member // threads for member in range(threads + 1)]
    whole = [range(*pair) for pair in pairwise(ends)]
    return [[run] for run in whole] if threads == 1 else [list(_cut(run)) for run in whole]


def _cut(run: range) -> Iterator[range]:
    for begin, end in ((0, 6), (6, 7), (7, 8)):
        part = run[len(run) * begin // 8 : len(run) * end // 8]
        if part:
            yield part


@cache
def _has_openmp() -> bool:
    return native().runtime() is not None


def _run_serially(code: int, tasks: int, threads: int, scratch_bytes: int, *arrays: Any) -> None:
    del threads
    addresses = [a if isinstance(a, int) else a.ctypes.data for a in arrays]
    if scratch_bytes:
        scratch = np.empty(scratch_bytes, np.uint8)
        addresses.append(scratch.ctypes.data)
    pointers, run = [ctypes.c_void_p] * len(addresses), [ctypes.c_int32] * 2
    ctypes.CFUNCTYPE(None, *pointers, *run)(code)(*addresses, 0, tasks)


def _transpose(source: Any, destination: Any, rows: int, columns: int) -> None:
    if isinstance(source, int):
        memory = (ctypes.c_char * destination.nbytes).from_address(source)
        source = np.frombuffer(memory, destination.dtype)
    np.copyto(destination.reshape(columns, rows), source.reshape(rows, columns).T)


def _same(array: Any, kept: Any) -> bool:
    given = array if isinstance(array, int) else array.ctypes.data
    there = (ctypes.c_char * kept.nbytes).from_address(given)
    return bool(bytes(there) == kept.tobytes())


def _lies(tensor: Any) -> Any:
    try:
        if tensor.is_cpu and tensor.data_ptr() and not tensor.is_neg():
            return tensor.dtype, tensor.shape, tensor.stride()
    except RuntimeError:  # as of sparse ones
        pass
    raise TypeError("the tensor has no memory of the CPU that holds its values")


def _addresses(refuse: Any, reaches: tuple[int, ...], size: int, tensors: Any) -> list[int]:
    for tensor, reach in zip(tensors, reaches, strict=True):
        held = len(tensor.untyped_storage())
        if reach and held < reach + size * tensor.storage_offset():
            refuse(tensors)
    return [tensor.data_ptr() for tensor in tensors]
