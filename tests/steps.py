"""The machine code of a kernel, step by step, run as a test says."""

from __future__ import annotations

import ctypes
from itertools import pairwise

import numpy as np

import depthwise as dw
from exact import assert_same, poisoned


def most_tasks(kernel):
    """Return the tasks of the step that has most."""
    return max(code.tasks for code in kernel.codes)


def run_on_team(kernel, threads, x, packed, out):
    """Run a kernel, however small, on so many threads."""
    for code, *arrays in _calls(kernel, x, packed, out, np.array):
        code.run(threads, *arrays)


def run_by_hand(kernel, x, packed, out, *, runs=1, backwards=False, place=np.array):
    """Run a kernel in this thread, in scratch memory in which nothing was ever written.

    Args:
        kernel: any kernel.
        x: the input.
        packed: what the kernel's `pack` returned.
        out: where to write the result.
        runs: into how many the tasks are cut, as the team cuts them.
        backwards: whether the last of them is the first to run.
        place: copies an array to where a test wants it, for what the kernel allocates itself.
    """
    for code, *arrays in _calls(kernel, x, packed, out, place):
        cuts = [code.tasks * i // runs for i in range(runs + 1)]
        order = -1 if backwards else 1
        for first, last in list(pairwise(cuts))[::order]:
            unwritten = np.full(code.scratch_bytes, 0xFF, np.uint8)
            scratch = [place(unwritten)] if code.scratch_bytes else []
            _function(code, len(arrays) + len(scratch))(
                *[array.ctypes.data for array in (*arrays, *scratch)], first, last
            )


def check_order(spec):
    """Fail where the number of threads, or the order of the tasks, changes a bit of a result.

    What a call leaves in its state is part of the result.
    """
    x, *operands, _ = dw.random_problem(spec)
    kernel = dw.compile(spec)

    def check(run):
        packed, out = [array.copy() for array in kernel.pack(operands)], poisoned(spec)
        run(packed, out)
        results = [out, *(packed[place] for place in written(spec))]
        for found, wanted in zip(results, expected or results, strict=True):
            assert_same(found, wanted)
        return results

    expected = None
    expected = check(lambda packed, out: run_on_team(kernel, 1, x, packed, out))
    for threads in (2, 3):
        check(lambda packed, out, n=threads: run_on_team(kernel, n, x, packed, out))
    tasks = most_tasks(kernel)
    check(lambda *arrays: run_by_hand(kernel, x, *arrays, runs=tasks, backwards=True))


def written(spec):
    """Return the places of the operands that a call also writes."""
    if spec.kind != "causal":
        return []
    return [place for place, name in enumerate(spec.operands) if name == "state"]


def _calls(kernel, x, packed, out, place):
    """Return each piece of machine code with its arrays, in the order in which they run."""
    buffers = [place(np.full(each.shape, np.nan, each.dtype)) for each in kernel.buffers.values()]
    constants = {id(each): place(each) for each in kernel._constants.values()}
    return [
        (launch.code, *(constants.get(id(array), array) for array in launch.arrays))
        for launch in kernel.launches(x, packed, buffers, out)
    ]


def _function(code, arrays):
    types = [ctypes.c_void_p] * arrays + [ctypes.c_int32] * 2
    return ctypes.CFUNCTYPE(None, *types)(code.address)
