"""The limits of this machine, measured: its peak of arithmetic, and how fast it copies what size.

Arithmetic is FMAs, or of whole numbers products of bytes that are added up.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import accumulate
from math import log2
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthwise.errors import InternalError
from depthwise.kernel import code
from depthwise.machine import target
from depthwise.measure.timing import sample
from depthwise.problem.dtypes import DEFAULT, element
from depthwise.problem.values import whole
from depthwise.programs import build, probes

Array = NDArray[Any]

SAMPLES = 20
CHAIN_STEPS = 2**18
"""FMAs of one chain: a call lasts about a third of a millisecond or longer."""
CALL_BYTES = 8 * 2**20
"""What one call of the copy moves at least, so that the launch costs nothing."""
SMALLEST, LARGEST = 16 * 2**10, 64 * 2**20
"""Footprints per core and in all where the system does not tell the sizes of its caches."""
MOST_BYTES = 512 * 2**20
PAGE = 4096


@dataclass(frozen=True)
class Copy:
    """How fast a copy of one size is."""

    footprint_bytes: int
    """Source and destination together, over all threads."""
    gbytes_per_s: float
    """Bytes read plus bytes written."""
    level: str
    """The smallest level of memory that holds the footprint: "L1", "L2", ..., "memory"."""


@dataclass(frozen=True)
class Roofline:
    """What bounds every kernel on this machine at this number of threads."""

    threads: int
    dtype: str
    cpu: str
    """The target that the probes are compiled for."""
    peak_gflops: float
    """10^9 operations a second on registers, 2 to each FMA or product that is added up."""
    copies: tuple[Copy, ...]
    """From the smallest footprint to the largest; none is faster than one before it."""

    def bandwidth(self, footprint_bytes: float) -> float:
        """Return the copy bandwidth in GB/s, interpolated over the logarithm of the footprint."""
        sizes = [copy.footprint_bytes for copy in self.copies]
        after = bisect(sizes, footprint_bytes)
        if after in (0, len(sizes)):
            return self.copies[min(after, len(sizes) - 1)].gbytes_per_s
        low, high = self.copies[after - 1 : after + 1]
        share = log2(footprint_bytes / low.footprint_bytes) / log2(
            high.footprint_bytes / low.footprint_bytes
        )
        return float(low.gbytes_per_s ** (1 - share) * high.gbytes_per_s**share)

    def limit_us(self, flops: float, nbytes: float) -> float:
        """Return the least time of a problem in microseconds.

        Its arithmetic at the peak rate or its bytes at the bandwidth of a copy of that footprint,
        whichever takes longer.  Source: Williams, Waterman and Patterson, "Roofline: an insightful
        visual performance model for multicore architectures", 2009.
        """
        return max(flops / self.peak_gflops, nbytes / self.bandwidth(nbytes)) / 1e3

    def levels(self) -> dict[str, float]:
        """Return the best bandwidth at each level of memory in GB/s, nearest first."""
        best: dict[str, float] = {}
        for copy in self.copies:
            best[copy.level] = max(copy.gbytes_per_s, best.get(copy.level, 0.0))
        return best

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


def measure(
    threads: int,
    dtype: str = DEFAULT,
    cpu: str | None = None,
    step: Callable[[str], None] = lambda _: None,
) -> Roofline:
    """Measure this machine; takes a few seconds.

    Args:
        threads: how many work at once, each on a part of its own.
        dtype: the name of the element type of the problems; the peak is that of what they are
            computed in.
        cpu: the CPU to compile for, as `depthwise.machine.target.named` takes it.
        step: told before each measurement what it is.

    Raises:
        SpecError: there are more threads than a count of 32 bits holds.
        TargetError: there is no such CPU.
        InternalError: a probe did not compute what it should.
    """
    whole("threads", threads)
    machine = target.named(cpu)
    computed = element(dtype).computed
    whole_numbers = computed.is_integer
    step("peak rate of products of bytes" if whole_numbers else "peak FMA rate")
    if whole_numbers:
        peak = _peak_gops(machine, threads)
    else:
        peak = _peak_gflops(machine, computed.name, threads)
    measured = []
    for footprint in footprints(threads):
        step(f"copy of {footprint // 2**10} KiB")
        measured.append((footprint, _copy_gbytes_per_s(machine, footprint, threads)))
    return Roofline(threads, dtype, machine.cpu, peak, curve(measured, levels(threads)))


def footprints(threads: int) -> list[int]:
    """Return the footprints to measure: doubling, from half of the L1s to four times the last."""
    sizes = list(levels(threads).values()) or [threads * SMALLEST * 2, LARGEST // 4]
    doubling = [sizes[0] // 2]
    while doubling[-1] < min(4 * max(sizes), MOST_BYTES):
        doubling.append(2 * doubling[-1])
    return doubling


def levels(threads: int) -> dict[str, int]:
    """Return how many bytes the caches of so many cores hold: the last is shared, others are not.

    (Each core has caches of its own but for the last level, as on most processors.)
    """
    sizes = target.caches()
    last = max(sizes, default="")
    return {name: size * (1 if name == last else threads) for name, size in sizes.items()}


def curve(measured: list[tuple[int, float]], caches: dict[str, int]) -> tuple[Copy, ...]:
    """Return copies with their levels, each as fast as the fastest of its size and larger ones."""
    best = reversed(list(accumulate((speed for _, speed in reversed(measured)), max)))
    return tuple(
        Copy(size, speed, next((name for name, held in caches.items() if size <= held), "memory"))
        for (size, _), speed in zip(measured, best, strict=True)
    )


def _peak_gflops(machine: target.Target, dtype: str, threads: int) -> float:
    program = probes.fma_chain(machine, dtype, threads, CHAIN_STEPS)
    registers, lanes = machine.vector_registers - probes.SPARE_REGISTERS, machine.lanes(dtype)
    x = np.zeros((threads, registers, lanes), element(dtype).computed.numpy)
    y = np.full_like(x, np.nan)
    seconds = _fastest(program, machine, threads, x, y)
    _check(bool(np.all(y == 2)), f"the FMA chain tends to 2; got {y.flat[0]}")
    return 2 * x.size * CHAIN_STEPS / seconds / 1e9


def _peak_gops(machine: target.Target, threads: int) -> float:
    program = probes.product_chain(machine, threads, CHAIN_STEPS)
    registers = machine.vector_registers - probes.SPARE_REGISTERS
    x = np.full((threads, registers, machine.lanes("int32")), probes.FIXED, np.int32)
    y = np.zeros_like(x)
    seconds = _fastest(program, machine, threads, x, y)
    _check(np.array_equal(x, y), f"the chain of products ends as it begins; got {y.flat[0]}")
    return 2 * x.size * probes.products(machine) * CHAIN_STEPS / seconds / 1e9


def _copy_gbytes_per_s(machine: target.Target, footprint: int, threads: int) -> float:
    lanes = probes.COPY_REGISTERS * machine.lanes("float32")
    vectors = max(1, footprint // (2 * threads * lanes * 4))
    x = _at_page((threads, vectors, lanes), 0)
    y = _at_page(x.shape, PAGE // 2)  # a load waits for a store whose low 12 address bits are equal
    x[...] = np.arange(x.size, dtype="float32").reshape(x.shape)
    repeats = max(1, CALL_BYTES // (2 * x.nbytes))
    program = probes.copy(machine, threads, vectors, repeats)
    seconds = _fastest(program, machine, threads, x, y)
    _check(np.array_equal(-x, y), "the copy is the source with its sign changed; it is not")
    return 2 * x.nbytes * repeats / seconds / 1e9


def _fastest(program: Any, machine: target.Target, threads: int, x: Array, y: Array) -> float:
    kernel = code.loaded(build.build({build.SYMBOL: program}, machine))
    return min(sample(lambda: kernel.run(threads, x, y), SAMPLES)) / 1e6


def _at_page(shape: tuple[int, ...], offset: int) -> Array:
    """Return a float32 array of zeros that begins so many bytes into a page."""
    nbytes = 4 * int(np.prod(shape))
    raw = np.zeros(nbytes + 2 * PAGE, np.uint8)
    start = -raw.ctypes.data % PAGE + offset
    return raw[start : start + nbytes].view(np.float32).reshape(shape)


def _check(right: bool, rule: str) -> None:
    if not right:
        raise InternalError(rule)
