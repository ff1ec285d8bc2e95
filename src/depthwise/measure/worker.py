"""The process that hosts one engine: a request a line in, an answer a line out, both JSON.

`python -m depthwise.measure.worker ENGINE --threads N [--pin 0,1]`, where ENGINE is a name of
`depthwise peers` or the path of any module with a class `Engine` (see `engine.Peer`).

======= ============================ ===========================================================
request with                         answer
======= ============================ ===========================================================
hello                                name, version, variants, special, threads
pose    spec, seed                   posed; what is prepared of this problem shares its arrays
prepare spec, variant, clock, seed,  key, layout, excluded, max_abs_err, verified, prepare_seconds;
        folder (see `posed.read`)    or rejected
network folder, variant, tolerance   what prepare answers, and max_rel_err
sample  key, repeats, min_seconds     microseconds (of one call, one per sample)
memory  key                          what `memory.measure` finds of one call, in bytes
release key                          released
quit                                 none; the process ends
======= ============================ ===========================================================

An answer that holds `error` says in one line what went wrong; the process goes on.  What the engine
itself prints goes to stderr.  This module needs the standard library and NumPy alone.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO, cast

import numpy as np

from depthwise.measure import memory, network_files, posed, streams, timing
from depthwise.measure.catalogue import adapter
from depthwise.measure.engine import Array, NetworkPeer, Peer, Prepared
from depthwise.problem import reference
from depthwise.problem.data import forget
from depthwise.problem.dtypes import is_real
from depthwise.problem.parse import parse
from depthwise.problem.problem import Problem

_COMPARED_AT_ONCE = 2**20
"""How many elements are compared in one go: a comparison of any size takes little memory."""
OFF_BY_ONE = 1e-3
"""The share of whole numbers that may be one off where another engine rounds them."""
ROUNDED_BETWEEN = 4
"""Units of rounding that an engine whose operators each round to 16 bits is granted beside."""
_PR_SET_PDEATHSIG = 1  # of Linux's prctl


def load_engine(name: str, threads: int) -> Peer:
    """Import the adapter of an engine, and with it the engine."""
    engine: Peer = importlib.import_module(adapter(name)).Engine(threads)
    return engine


class Host:
    """One engine with the problems that are ready in it; one method a request."""

    def __init__(self, engine: Peer) -> None:
        self.engine = engine
        self.ready: dict[int, Prepared] = {}
        self._posed: tuple[tuple[Problem, int], tuple[Array, ...], Array] | None = None

    def answer(self, do: str, **given: Any) -> dict[str, Any]:
        """Carry out one request."""
        requests: dict[str, Callable[..., dict[str, Any]]] = {
            "hello": self.hello,
            "pose": self.pose,
            "prepare": self.prepare,
            "network": self.network,
            "sample": self.sample,
            "memory": self.memory,
            "release": self.release,
        }
        return requests[do](**given)

    def hello(self) -> dict[str, Any]:
        """Say which engine this is."""
        return {
            "name": self.engine.name,
            "version": self.engine.version(),
            "variants": list(self.engine.variants),
            "special": dict(getattr(self.engine, "special", {})),
            "threads": self.engine.threads(),
        }

    def pose(self, spec: str, seed: int = 0) -> dict[str, Any]:
        """Make the arrays of a problem and compute what the oracle expects, once for all variants.

        Where arrays lie has a part in how fast they are read: these favour no variant.
        """
        problem = parse(spec)
        arrays = posed.arrays(problem, seed)
        self._posed = (problem, seed), arrays, streams.expected(problem, arrays[:-1])
        return {"posed": spec}

    def prepare(
        self, spec: str, variant: str, clock: Any, seed: int = 0, folder: str | None = None
    ) -> dict[str, Any]:
        """Make a problem ready, run it twice, and hold the result against the oracle.

        With a `folder`, its arrays and the expected result are taken from there, once for all
        variants.
        """
        problem = parse(spec)
        if reason := self.engine.rejects(problem, variant, clock):
            return {"rejected": reason}
        if folder is not None and (self._posed is None or self._posed[0] != (problem, seed)):
            self._posed = (problem, seed), *posed.read(Path(folder), problem)
        arrays, expected = self._arrays(problem, seed)
        start = time.perf_counter()
        prepared = self.engine.prepare(problem, variant, clock, arrays)
        seconds = time.perf_counter() - start
        prepared.run()
        (prepared.baseline or prepared.run)()
        exactly = prepared.rounds_alike
        error, verified = compare(problem, prepared.output(), expected, exactly=exactly)
        return self._keep(prepared, error, verified, seconds)

    def network(self, folder: str, variant: str, tolerance: float) -> dict[str, Any]:
        """Make a network ready, run it twice, and hold its results against those expected.

        What is done at the first call is part of the preparation.
        """
        start = time.perf_counter()
        prepared = cast(NetworkPeer, self.engine).network(Path(folder), variant)
        prepared.run()
        seconds = time.perf_counter() - start
        prepared.run()
        expected = network_files.expected(Path(folder))
        error, relative = differences(prepared.output(), expected)
        verified = relative <= tolerance and any(map(_says_something, expected))
        return {**self._keep(prepared, error, verified, seconds), "max_rel_err": relative}

    def memory(self, key: int) -> dict[str, Any]:
        """Measure the memory of one call."""
        return asdict(memory.measure(self.ready[key].run))

    def sample(
        self, key: int, repeats: int = 1, min_seconds: float = timing.MIN_SECONDS
    ) -> dict[str, Any]:
        """Take so many samples of the time of one call."""
        prepared = self.ready[key]
        times = timing.sample(prepared.run, repeats, min_seconds)
        if prepared.baseline is not None:
            base = timing.sample(prepared.baseline, repeats, min_seconds)
            times = [long - short for long, short in zip(times, base, strict=True)]
        return {"microseconds": [each / prepared.calls for each in times]}

    def release(self, key: int) -> dict[str, Any]:
        """Let go of a problem and its arrays."""
        del self.ready[key]
        return {"released": key}

    def _keep(
        self, prepared: Prepared, error: float, verified: bool, seconds: float
    ) -> dict[str, Any]:
        """Keep what is prepared under a new key; return the answer that tells it and how it did."""
        key = max(self.ready, default=0) + 1
        self.ready[key] = prepared
        return {
            "key": key,
            "layout": prepared.layout,
            "excluded": prepared.excluded,
            "max_abs_err": error,
            "verified": verified,
            "prepare_seconds": seconds,
        }

    def _arrays(self, problem: Problem, seed: int) -> tuple[tuple[Array, ...], Array]:
        """Return the arrays of a problem, nothing in its output, and what the oracle expects."""
        if self._posed is not None and self._posed[0] == (problem, seed):
            _, arrays, expected = self._posed
            forget(arrays[-1])
            return arrays, expected
        arrays = posed.arrays(problem, seed)
        return arrays, streams.expected(problem, arrays[:-1])


def compare(
    spec: Problem, got: Array, expected: Array, *, exactly: bool = True
) -> tuple[float, bool]:
    """Return the largest absolute error against the oracle, and whether the result is right.

    Right is: the shape is the problem's, every element is within `reference.tolerance`, and the
    expected result is not zero throughout, which any empty output would match.  Of whole numbers
    `OFF_BY_ONE` of all elements may be one off, unless they are to be the same exactly; numbers of
    16 bits may then be rounded several times, too.
    """
    if got.shape != expected.shape:
        return float("inf"), False
    rtol, atol = reference.tolerance(spec, spec.dtype)
    if not exactly and spec.element.computed is not spec.element:
        rtol, atol = (each + ROUNDED_BETWEEN * spec.element.epsilon for each in (rtol, atol))
    unit = 1.0 if spec.element.is_integer and not exactly else 0.0
    worst, off, something = 0.0, 0, False
    elements, oracle = got.reshape(-1), expected.reshape(-1)
    for start in range(0, got.size, _COMPARED_AT_ONCE):
        piece = slice(start, start + _COMPARED_AT_ONCE)
        each, wanted = elements[piece], oracle[piece]
        error = np.abs(each.astype(np.float64) - wanted)
        off += int(np.count_nonzero(~(error <= atol + rtol * np.abs(wanted))))
        worst = max(worst, float(error.max()) if np.all(np.isfinite(error)) else float("inf"))
        something = something or bool(np.any(wanted != 0))
    right = off <= OFF_BY_ONE * got.size and worst <= unit if unit else not off
    return worst, right and something


def differences(got: Sequence[Array], expected: Sequence[Array]) -> tuple[float, float]:
    """Return the largest absolute and the largest relative error among a network's results.

    An error is relative to the largest result expected of that output.  Of whole numbers and truth
    values, both are the share that differ.  Another shape is an infinite error, as is NaN.
    """
    if [array.shape for array in got] != [array.shape for array in expected]:
        return float("inf"), float("inf")
    errors = [_difference(*pair) for pair in zip(got, expected, strict=True)]
    absolute = max((error for error, _ in errors), default=0.0)
    relative = max((error for _, error in errors), default=0.0)
    return absolute, relative


def _difference(got: Array, expected: Array) -> tuple[float, float]:
    if not expected.size:
        return 0.0, 0.0
    if not is_real(expected.dtype):
        share = float(np.mean(got != expected))
        return share, share
    got, expected = got.astype(np.float64), expected.astype(np.float64)
    if not np.all(np.isfinite(got)):
        return float("inf"), float("inf")
    error = float(np.abs(got - expected).max())
    largest = float(np.abs(expected).max())
    return error, error / largest if largest else error and float("inf")


def _says_something(expected: Array) -> bool:
    """Whether a result is not one that any network might give: elements that are all alike."""
    return bool(np.any(expected != expected.flat[0]) if expected.size > 1 else np.any(expected))


def serve(host: Host, requests: Iterator[str], answers: TextIO) -> None:
    """Answer each request in its turn until `quit` or the end of the input."""
    for line in requests:
        request = json.loads(line)
        if request["do"] == "quit":
            return
        send(answers, attempt(host, request))


def attempt(host: Host, request: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a request, or the error as an answer."""
    try:
        return host.answer(**request)
    except Exception as error:  # an engine may raise anything; the parent decides what it means
        return {"error": in_words(error)}


def in_words(error: BaseException) -> str:
    """Return the kind of an error and the first line of its message."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"


def send(answers: TextIO, answer: dict[str, Any]) -> None:
    """Write one answer."""
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def private_stdout() -> TextIO:
    """Keep stdout for the answers; whatever else this process prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def end_with_parent() -> None:
    """Have Linux end this process with its parent, even while it is stopped and reads nothing."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """Host the engine named on the command line."""
    parser = argparse.ArgumentParser(description="Host one engine of the benchmark.")
    parser.add_argument("engine")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pin", help="the cores to stay on, e.g. 0,1")
    options = parser.parse_args()
    answers = private_stdout()
    end_with_parent()
    faulthandler.enable()
    if options.pin:
        os.sched_setaffinity(0, {int(core) for core in options.pin.split(",")})
    try:
        host = Host(load_engine(options.engine, options.threads))
    except Exception as error:
        send(answers, {"error": in_words(error)})
        raise
    serve(host, iter(sys.stdin.readline, ""), answers)


if __name__ == "__main__":
    main()
