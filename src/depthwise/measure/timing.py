"""The clock: samples of one call's time, and what they say together."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, inf
from statistics import median
from time import perf_counter

MIN_SECONDS = 0.002
"""A sample lasts at least this long, thousands of times the clock's resolution."""
UNSTABLE = 0.05
"""Samples whose median absolute deviation is more than this part of their median are unstable."""
DROWNED = 0.25
"""Differences of two times, some of them below zero, whose median absolute deviation is more than
this part of their median are lost in noise."""


def sample(
    run: Callable[[], object],
    repeats: int,
    min_seconds: float = MIN_SECONDS,
    most_seconds: float = inf,
) -> list[float]:
    """Return `repeats` samples of the time of one call, in microseconds.

    A sample is the mean over as many calls as fill `min_seconds`.  The calls that find this number
    are the warm-up.  The garbage collector rests meanwhile.  After `most_seconds` no sample begins
    any more, the first excepted: a call that takes long has fewer.
    """
    with _no_garbage_collection():
        calls = _calls_filling(run, min_seconds)
        begun, samples = perf_counter(), list[float]()
        while len(samples) < repeats and (not samples or perf_counter() - begun < most_seconds):
            samples.append(_seconds(run, calls) / calls * 1e6)
        return samples


def interleave(
    runs: Mapping[str, Callable[[], object]], repeats: int, min_seconds: float = MIN_SECONDS
) -> dict[str, list[float]]:
    """Return `sample` of each of several calls, taken in turns, so that drift meets them alike."""
    with _no_garbage_collection():
        calls = {name: _calls_filling(run, min_seconds) for name, run in runs.items()}
        samples: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(repeats):
            for name, run in runs.items():
                samples[name].append(_seconds(run, calls[name]) / calls[name] * 1e6)
    return samples


@dataclass(frozen=True)
class Summary:
    """The median, the least and the scatter of samples, in their unit."""

    median: float
    min: float
    mad: float
    """The median absolute deviation from the median."""

    @classmethod
    def of(cls, samples: Sequence[float]) -> Summary:
        """Summarise one or more samples."""
        middle = median(samples)
        return cls(middle, min(samples), median(abs(s - middle) for s in samples))

    @property
    def unstable(self) -> bool:
        """Whether the samples scatter more than `UNSTABLE` of their median."""
        return self.mad > UNSTABLE * self.median

    @property
    def drowned(self) -> bool:
        """Whether the samples are differences that are lost in noise (`DROWNED`)."""
        return self.min <= 0 and self.mad > DROWNED * self.median


def _calls_filling(run: Callable[[], object], min_seconds: float) -> int:
    run()
    calls = 1
    while (elapsed := _seconds(run, calls)) < min_seconds:
        enough = ceil(calls * min_seconds / elapsed) if elapsed > 0 else 10 * calls
        calls = min(max(enough, 2 * calls), 10 * calls)
    return calls


def _seconds(run: Callable[[], object], calls: int) -> float:
    start = perf_counter()
    for _ in range(calls):
        run()
    return perf_counter() - start


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
