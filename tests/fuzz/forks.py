"""Forks at random moments while another thread compiles: the child computes, and ends in time."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

import numpy as np

import depthwise as dw
from depthwise import compiler
from depthwise.kernel.kernel import Kernel
from depthwise.store import disk
from exact import exact_problem
from fuzz import children
from fuzz.parts import Outcome

CHILD_SECONDS = 60.0
LONGEST_WAIT = 0.1
"""Seconds that the other thread compiles before a fork; a kernel takes about as long."""
KNOWN = "depthwise c8 hw8 k3 p1 nhwc"
NEW = "depthwise c8 hw{} k3 p1 nhwc"
BEFORE_FORGETTING = 200
"""How many kernels are compiled before they are let go."""


@contextmanager
def attempts() -> Iterator[Callable[[Random], Outcome]]:
    known = dw.compile(KNOWN)
    leaves = threading.Event()

    def compile_many() -> None:
        for count in itertools.count(9):
            if leaves.is_set():
                return
            if count % BEFORE_FORGETTING == 0:
                compiler._compiled.cache_clear()
                dw.compile(KNOWN)
            dw.compile(f"depthwise c{count % 3000 + 9} hw9 k3 p1 nhwc")

    thread = threading.Thread(target=compile_many, daemon=True)
    thread.start()
    try:
        yield lambda rng: attempt(rng, known)
    finally:
        leaves.set()
        thread.join()


def attempt(rng: Random, known: Kernel) -> Outcome:
    size, kept = rng.randint(4, 40), rng.random() < 0.5
    time.sleep(rng.uniform(0, LONGEST_WAIT))

    def body() -> int:
        if not kept:
            os.environ[disk.VARIABLE] = ""
        return int(not (computes(known, KNOWN) and computes(None, NEW.format(size))))

    child = children.forked(body)
    status = children.ended(child, CHILD_SECONDS)
    if status is None:
        children.kill(child)
        return Outcome("hung", f"size {size}")
    if status < 0:
        return Outcome("crashed", f"signal {-status}")
    return Outcome("wrong", f"exit status {status}") if status else Outcome("right")


def computes(kernel, text: str) -> bool:
    """Whether a kernel, compiled or loaded here if there is none, has the exact result."""
    spec = dw.parse(text)
    x, operands, expected = exact_problem(spec)
    got = (kernel or dw.compile(spec))(x, *operands)
    return np.array_equal(got, expected)
