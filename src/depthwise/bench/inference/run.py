"""Every way of running a network: held against the expected logits, then timed, in turns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from depthwise.bench.inference.problem import Posable
from depthwise.bench.results import Note, Result
from depthwise.bench.run import Contestant, Step, in_turns, note
from depthwise.errors import PeerError
from depthwise.machine import trust
from depthwise.measure import network_files
from depthwise.measure.catalogue import LOADED, SOURCES
from depthwise.measure.memory import Memory
from depthwise.measure.process import NetworkInfo, Worker
from depthwise.measure.timing import Summary

Start = Callable[[str, Path], Worker]
"""Starts a worker of an engine that keeps what it compiles in a folder."""


@dataclass(frozen=True, kw_only=True)
class NetworkResult(Result):
    """One engine's way of running one network.

    The limit is that of arithmetic alone: convolutions and linear layers at the rate of this
    machine's FMAs.
    """

    max_rel_err: float | None
    """The largest error over the largest result of that output."""
    images_per_s: float | None
    prepare_seconds: float
    """From the network's file to the end of the first call, nothing compiled before."""
    export_seconds: float
    """To ONNX, for the ways that read it; 0 for others.  Not part of `prepare_seconds`."""
    peak_bytes: int | None
    """This and the two that follow are those of `measure.memory.Memory`."""
    grown_bytes: int | None
    touched_bytes: int | None


def ways(problem: Posable, engines: Sequence[str]) -> list[tuple[str, str]]:
    """Return every engine that runs a network with each of its variants."""
    return [(name, variant) for name in engines for variant in problem.variants(name)]


def steps(entries: Sequence[tuple[str, str]]) -> int:
    """Return how often `measure` calls `step` for one problem."""
    return len(entries) + 2


def measure(
    problem: Posable,
    entries: Sequence[tuple[str, str]],
    start: Start,
    repeats: int,
    peak_gflops: float,
    step: Step,
) -> tuple[list[NetworkResult], list[Note]]:
    """Return what is found for one network, and what the numbers do not show.

    Each way of running it has a process of its own, which starts with nothing compiled, makes the
    network ready, and is held against the results that are expected.  Those that are right are
    timed in rounds; then one call of each has its memory measured.

    Args:
        problem: the network and the batch.
        entries: some of `ways`.
        start: starts their processes.
        repeats: rounds, each with one sample of each.
        peak_gflops: what this machine's arithmetic reaches on as many threads.
        step: called before each piece of work with words that name it.
    """
    results: list[NetworkResult] = []
    notes: list[Note] = []
    with trust.temporary_folder() as folder, ExitStack() as stack:
        step(f"pose {problem}")
        posed = problem.write(folder)
        ready: dict[Contestant, NetworkInfo] = {}
        for engine, variant in entries:
            step(f"prepare {engine} {variant}: {problem}")
            if posed.no_onnx and _reads_onnx(engine, variant):
                notes.append(Note("rejected", engine, variant, str(problem), posed.no_onnx))
                continue
            with _noting(notes, engine, variant, problem):
                worker = stack.enter_context(start(engine, folder / f"{engine}-{variant}"))
                entry = Contestant(worker, variant)
                ready[entry] = worker.network(folder, variant, posed.tolerance)
        right = _right(ready, problem, posed.tolerance, notes)
        step(f"time {len(right)} contestants: {problem}")
        summaries = in_turns(right, problem, repeats, notes)
        for entry, info in ready.items():
            memory = None
            if entry in summaries:
                with _noting(notes, entry.worker.hello.name, entry.variant, problem):
                    memory = entry.worker.memory(info.key)
            results.append(
                _result(entry, info, summaries.get(entry), memory, problem, posed, peak_gflops)
            )
    return results, notes


def _reads_onnx(engine: str, variant: str) -> bool:
    return variant == LOADED or SOURCES[engine].reads_onnx


@contextmanager
def _noting(notes: list[Note], engine: str, variant: str, problem: Posable) -> Iterator[None]:
    """Have an engine's failure be a note."""
    try:
        yield
    except PeerError as error:
        notes.append(Note("failed", engine, variant, str(problem), str(error)))


def _right(
    ready: dict[Contestant, NetworkInfo],
    problem: Posable,
    most: float,
    notes: list[Note],
) -> dict[Contestant, NetworkInfo]:
    for entry, info in ready.items():
        if not info.verified:
            text = (
                f"largest error {info.max_rel_err:.2g} of the largest result, at most "
                f"{most:.2g} is right; not timed"
            )
            notes.append(note("wrong", entry, problem, text))
    return {entry: info for entry, info in ready.items() if info.verified}


def _result(
    entry: Contestant,
    info: NetworkInfo,
    summary: Summary | None,
    memory: Memory | None,
    problem: Posable,
    posed: network_files.Posed,
    peak_gflops: float,
) -> NetworkResult:
    hello = entry.worker.hello
    median = summary.median if summary else None
    comparable = math.isfinite(info.max_rel_err)
    gflops = 2 * posed.macs / median / 1e3 if median and posed.macs else None
    return NetworkResult(
        engine=hello.name,
        variant=entry.variant,
        op="network",
        layer=problem.network,
        spec=str(problem),
        layout=info.layout,
        dtype=problem.dtype,
        threads=hello.threads,
        batch=problem.batch,
        clock="call",
        median_us=median,
        min_us=summary.min if summary else None,
        mad_us=summary.mad if summary else None,
        gflops=gflops,
        gbytes_per_s=None,
        of_limit=gflops / peak_gflops if gflops else None,
        verified=info.verified,
        max_abs_err=info.max_abs_err if comparable else None,
        version=hello.version,
        max_rel_err=info.max_rel_err if comparable else None,
        images_per_s=problem.batch * 1e6 / median if median else None,
        prepare_seconds=info.prepare_seconds,
        export_seconds=posed.export_seconds if _reads_onnx(hello.name, entry.variant) else 0.0,
        peak_bytes=memory.peak if memory else None,
        grown_bytes=memory.grown if memory else None,
        touched_bytes=memory.touched if memory else None,
    )
