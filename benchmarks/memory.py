"""By how much a call grows the memory of its process, at its peak, beyond what was there before it.

    python benchmarks/memory.py

Each block is computed once in a process of its own, after everything is compiled and the input
exists; beside it stands what the call is to take: its output and its stated scratch memory on each
thread.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from functools import partial
from typing import Any

import depthwise as dw
from depthwise.console import print_table
from depthwise.kernel.kernel import Kernel
from depthwise.machine import team
from depthwise.measure.memory import resident

WARM_UP = "separable c16 o16 hw8 k3 p1 nhwc"
SPECS = (
    "separable c64 o128 hw112 k3 s2 p1 nhwc",
    "separable c144 o24 hw56 k3 p1 nhwc",
    "separable c144 o24 hw56 k3 p1",
    "separable n8 c512 o512 hw14 k3 p1 nhwc",
    "inverted c16 e96 o24 hw112 k3 s2 p1 nhwc",
    "inverted c24 e144 o24 hw56 k3 p1 nhwc residual",
    "inverted c24 e144 o24 hw56 k3 p1 residual",
    "inverted n8 c32 e192 o32 hw28 k3 p1 nhwc residual",
    "inverted c40 e240 o40 hw28 k5 p2 nhwc bias silu residual se10:silu/sigmoid",
)


def main() -> None:
    """Print the table."""
    rows = []
    for text in SPECS:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            grown, output, scratch = pool.apply(growth, (text,))
        rows.append([text, *(f"{nbytes / 1024:.0f}" for nbytes in (grown, output, scratch))])
    headers = ("block", "grown", "output", f"scratch of {team.size()} threads")
    print_table(headers, rows, title="KiB")


def growth(text: str) -> tuple[int, int, int]:
    """Return the growth of a call's peak, its output and its scratch memory, in bytes."""
    bound(WARM_UP)[1]()  # starts the team, loads what is loaded late
    kernel, call = bound(text)
    before, peak = resident(call)
    return peak - before, call().nbytes, kernel.scratch_bytes * team.size()


def bound(text: str) -> tuple[Kernel, Callable[[], Any]]:
    """Return the kernel of a problem, and a call of it."""
    x, *operands, _ = dw.random_problem(dw.parse(text))
    kernel = dw.compile(text)
    return kernel, partial(kernel.bind(*operands), x)


if __name__ == "__main__":
    main()
