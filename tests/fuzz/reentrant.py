"""Calls that a signal's handler makes within calls, while other threads make theirs.

A timer interrupts the main thread after random times.  All results are compared, bit by bit.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

import numpy as np
import torch

import depthwise as dw
import depthwise.torch as dwt
from exact import exact_problem
from fuzz.parts import Outcome
from optimizing import depthwise, pointwise, random_

APART = "expand depthwise project rows1 | pointwise | channels_last tc8 | pointwise"
BLOCKS = (
    ("inverted c8 e16 o8 hw5 k3 p1 nhwc", APART),
    ("inverted c8 e32 o8 hw9 k3 p1 nhwc", APART),
    ("inverted c8 e16 o8 hw5 k3 p1 nhwc se4", None),
    ("separable c8 o16 hw7 k3 p1 nhwc", "depthwise project rows1 | channels_last tc8 | pointwise"),
    ("input_gradient depthwise c8 hw9 k3 p1", None),
    ("weight_gradient depthwise c8 hw9 k3 p1 bias", None),
    ("depthwise c8 hw9 k3 p1", "packed tc8"),
    ("conv c4 o8 hw9 k3 p1 nhwc", None),
)  # fmt: skip
CALLS = 40
"""How many the main thread and each other one makes in a try."""
THREADS = 2
SECONDS = (2e-5, 2e-3)
"""The least and most between interrupts."""


def bound(text: str, plan: str | None) -> Callable[[], bool]:
    """Return a call of a kernel that says whether its result is what it was without others."""
    x, operands, _ = exact_problem(dw.parse(text))
    kernel = dw.compile(text, plan).bind(*operands)
    expected = kernel(x, threads=1).copy()
    return lambda: np.array_equal(kernel(x), expected)


def into(text: str, plan: str | None) -> Callable[[], bool]:
    """Return the same with an output of the caller's."""
    x, operands, _ = exact_problem(dw.parse(text))
    kernel = dw.compile(text, plan).bind(*operands)
    expected = kernel(x, threads=1).copy()
    return lambda: np.array_equal(kernel(x, out=np.full_like(expected, np.nan)), expected)


def function() -> Callable[[], bool]:
    """Return the same of a function whose weights are packed when it is called."""
    shapes = (1, 8, 9, 9), (16, 8), (16, 1, 3, 3), (8, 16)
    x, *weights = (torch.randint(-2, 3, shape).float() for shape in shapes)
    expected = dw.inverted_residual(x, *weights, padding=1, activation="relu")
    return lambda: torch.equal(
        dw.inverted_residual(x, *weights, padding=1, activation="relu"), expected
    )


def network(batch: int) -> Callable[[], bool]:
    layers = depthwise(8), torch.nn.ReLU6(), pointwise(8, 16), torch.nn.Softmax(1), depthwise(16)
    torch.manual_seed(batch)
    x = torch.randn(batch, 8, 6, 6)
    fast = dwt.optimize(random_(torch.nn.Sequential(*layers)), x)
    expected = fast(x)
    return lambda: torch.equal(fast(x), expected)


@contextmanager
def attempts() -> Iterator[Callable[[Random], Outcome]]:
    torch.manual_seed(0)
    calls = [make(*block) for block in BLOCKS for make in (bound, into)]
    calls += [function(), network(1), network(3)]
    with torch.no_grad():
        yield lambda rng: attempt(rng, calls)


def attempt(rng: Random, calls: list[Callable[[], bool]]) -> Outcome:
    """Make many calls on several threads, with interrupts on this one."""
    made: list[bool] = []
    inside, over = [False], [False]

    def handler(*_: object) -> None:
        if over[0]:
            return
        if not inside[0]:
            inside[0] = True
            made.append(rng.choice(calls)())
            inside[0] = False
        signal.setitimer(signal.ITIMER_REAL, rng.uniform(*SECONDS))

    def others(own: Random) -> None:
        made.extend([own.choice(calls)() for _ in range(CALLS)])

    threads = [
        threading.Thread(target=others, args=(Random(rng.random()),)) for _ in range(THREADS)
    ]
    before = signal.signal(signal.SIGALRM, handler)
    try:
        for thread in threads:
            thread.start()
        signal.setitimer(signal.ITIMER_REAL, rng.uniform(*SECONDS))
        for _ in range(CALLS):
            made.append(rng.choice(calls)())
    finally:
        over[0] = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        for thread in threads:
            thread.join()
    if all(made):
        return Outcome("right", calls=len(made))
    return Outcome("wrong", f"{made.count(False)} results of {len(made)}", len(made))
