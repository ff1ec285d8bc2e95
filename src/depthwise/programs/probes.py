"""Programs whose speed is the machine's limit: chains of FMAs or products, a copy (of other sign).

All are written with their schedule: the loop over `t` runs one task a thread, the innermost loop
is one or more vector registers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import tirx
from tvm.script import tirx as T  # noqa: N812

from depthwise.machine.target import Target
from depthwise.problem.dtypes import element
from depthwise.programs.direct import spread, vector
from depthwise.programs.dots import add_bytes
from depthwise.programs.quantized_numbers import of

SPARE_REGISTERS = 4
"""Vector registers left for the factor, the addend and whatever the compiler wants."""
COPY_REGISTERS = 4
"""Vectors moved per iteration of the copy, so that its loop counter costs nothing."""

WEIGHTS = (1, -1, 1, -1)
FACTOR = 1103515245
"""Of `product_chain`: no factor that shifts and additions multiply by."""
FIXED = 0x05050505


def fma_chain(target: Target, dtype: str, tasks: int, steps: int) -> tirx.PrimFunc:
    """Return Y[t, r, l] = X[t, r, l] after `steps` times y <- y / 2 + 1, which tends to 2.

    Each of the R accumulators is a chain in which an FMA waits for the one before; R independent
    chains keep every FMA unit busy as long as R is at least latency times units (8 to 16 on
    today's cores).  X and Y are (T, R, L) with L lanes to a vector register.
    """
    registers = target.vector_registers - SPARE_REGISTERS
    lanes, dtype = target.lanes(dtype), element(dtype).tvm

    @T.prim_func(s_tir=True)  # type: ignore[untyped-decorator]
    def main(x: T.handle, y: T.handle) -> None:
        X = T.match_buffer(x, (tasks, registers, lanes), dtype)
        Y = T.match_buffer(y, (tasks, registers, lanes), dtype)
        for t in T.parallel(tasks):
            acc = T.alloc_buffer((registers, lanes), dtype, scope="local")
            for r in T.unroll(registers):
                for lane in T.vectorized(lanes):
                    acc[r, lane] = X[t, r, lane]
            for _ in range(steps):
                for r in T.unroll(registers):
                    for lane in T.vectorized(lanes):
                        acc[r, lane] = acc[r, lane] * T.Cast(dtype, 0.5) + T.Cast(dtype, 1.0)
            for r in T.unroll(registers):
                for lane in T.vectorized(lanes):
                    Y[t, r, lane] = acc[r, lane]

    return main


def product_chain(target: Target, tasks: int, steps: int) -> tirx.PrimFunc:
    """Return Y[t, r, l] = X[t, r, l] after `steps` times a step of products of whole numbers.

    A step is y <- y + the sum of the four bytes of y, each times its `WEIGHTS`, by the instructions
    that the target has for it; where it has none, y <- y * FACTOR + FIXED * (1 - FACTOR), in 32
    bits.  Either leaves `FIXED` as it is.  X and Y are int32 (T, R, L), else as for `fma_chain`.
    """
    registers, lanes = target.vector_registers - SPARE_REGISTERS, target.lanes("int32")
    addend = FIXED * (1 - FACTOR) & 0xFFFFFFFF

    def step(y: Any) -> Any:
        if target.dots == "none":
            factors = (spread(tirx.const(each, "uint32"), lanes) for each in (FACTOR, addend))
            factor, added = (T.reinterpret(of("int32", lanes), each) for each in factors)
            return y * factor + added
        word = int.from_bytes(np.array(WEIGHTS, np.int8).tobytes(), "little", signed=True)
        weights = spread(tirx.const(word, "int32"), lanes)
        return add_bytes(y, y, weights, target)

    @T.prim_func(s_tir=True)  # type: ignore[untyped-decorator]
    def main(x: T.handle, y: T.handle) -> None:
        X = T.match_buffer(x, (tasks, registers, lanes), "int32")
        Y = T.match_buffer(y, (tasks, registers, lanes), "int32")
        for t in T.parallel(tasks):
            acc = T.alloc_buffer((registers, lanes), "int32", scope="local")
            for r in T.unroll(registers):
                acc[r, vector(0, lanes)] = X[t, r, vector(0, lanes)]
            for _ in range(steps):
                for r in T.unroll(registers):
                    acc[r, vector(0, lanes)] = step(acc[r, vector(0, lanes)])
            for r in T.unroll(registers):
                Y[t, r, vector(0, lanes)] = acc[r, vector(0, lanes)]

    return main


def products(target: Target) -> int:
    """Return how many products a step of that chain has a lane."""
    return 1 if target.dots == "none" else len(WEIGHTS)


def copy(target: Target, tasks: int, vectors: int, repeats: int) -> tirx.PrimFunc:
    """Return Y[t, i, l] = -X[t, i, l], so many times over; X and Y are float32 (T, I, L).

    Each task stays in a part of its own, so that the part lies in that core's private caches where
    it fits into them.  (The sign costs nothing beside loads and stores, and keeps the compiler from
    seeing a `memcpy`, which it would do once, and which is slower in the first cache.)
    """
    lanes = COPY_REGISTERS * target.lanes("float32")

    @T.prim_func(s_tir=True)  # type: ignore[untyped-decorator]
    def main(x: T.handle, y: T.handle) -> None:
        X = T.match_buffer(x, (tasks, vectors, lanes), "float32")
        Y = T.match_buffer(y, (tasks, vectors, lanes), "float32")
        for t in T.parallel(tasks):
            for _ in range(repeats):
                for i in range(vectors):
                    for lane in T.vectorized(lanes):
                        Y[t, i, lane] = -X[t, i, lane]

    return main
