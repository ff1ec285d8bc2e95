"""Verify every engine on every problem; time those that are right, in turns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from depthwise.bench.results import Kind, Note, Result
from depthwise.errors import PeerError
from depthwise.machine import trust
from depthwise.measure import posed
from depthwise.measure.engine import Clock
from depthwise.measure.process import PreparedInfo, Rejected, Worker
from depthwise.measure.timing import Summary
from depthwise.problem.costs import cost
from depthwise.problem.problem import Problem

if TYPE_CHECKING:
    from depthwise.measure.roofline import Roofline

Step = Callable[[str], None]
"""Told what is about to be done."""


@dataclass(frozen=True)
class Contestant:
    """One way of using one engine."""

    worker: Worker
    variant: str

    def __str__(self) -> str:
        return f"{self.worker.hello.name} {self.variant}"


@dataclass(frozen=True)
class Conditions:
    """What holds for every problem of a run."""

    op: str
    """What kind of problems these are."""
    clock: Clock
    """What is timed."""
    repeats: int
    """Samples of each contestant."""
    roofline: Roofline
    """The limits to compare with."""


@dataclass(frozen=True)
class Outcome:
    """What was found for one problem."""

    results: list[Result] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


def contestants(workers: Sequence[Worker], kind: str = "") -> list[Contestant]:
    """Return every engine in every variant that it has for problems of a kind."""
    return [
        Contestant(worker, variant)
        for worker in workers
        for variant in worker.hello.variants_of(kind)
    ]


def steps(problems: Mapping[Problem, str], entries: Sequence[Contestant]) -> int:
    """Return how often `measure` calls `step`."""
    return len(problems) * (len(entries) + 2)


def measure(
    problems: Mapping[Problem, str],
    entries: Sequence[Contestant],
    conditions: Conditions,
    step: Step,
) -> Iterator[Outcome]:
    """Yield what is found for each problem in its turn.

    Each contestant makes the problem ready and is held against the oracle; those that are right
    are then timed in rounds, one sample each a round, so that whatever else the machine does meets
    them all alike.  A contestant that is wrong is not timed.

    Args:
        problems: each with the titles of the layers that pose it.
        entries: who takes part; an engine whose process has ended is left out from then on.
        conditions: how.
        step: called before each piece of work with words that name it.
    """
    for spec, layer in problems.items():
        outcome = Outcome()
        ready = {}
        step(f"pose {spec}")
        with trust.swept_folder() as folder:
            posed.write(folder, spec)
            for entry in entries:
                step(f"verify {entry}: {spec}")
                if info := _prepare(entry, spec, conditions.clock, folder, outcome.notes):
                    ready[entry] = info
        right = {entry: info for entry, info in ready.items() if info.verified}
        step(f"time {len(right)} contestants: {spec}")
        summaries = in_turns(right, spec, conditions.repeats, outcome.notes)
        outcome.results.extend(
            _result(entry, info, summaries.get(entry), spec, layer, conditions)
            for entry, info in ready.items()
        )
        _release(ready)
        yield outcome


def _prepare(
    entry: Contestant, spec: Problem, clock: Clock, folder: Path, notes: list[Note]
) -> PreparedInfo | None:
    if not entry.worker.alive:
        return None
    try:
        answer = entry.worker.prepare(spec, entry.variant, clock, folder=folder)
    except PeerError as error:
        notes.append(note("failed", entry, spec, str(error)))
        return None
    if isinstance(answer, Rejected):
        notes.append(note("rejected", entry, spec, answer.reason))
        return None
    if not answer.verified:
        text = f"largest error {answer.max_abs_err:g} against the oracle; not timed"
        notes.append(note("wrong", entry, spec, text))
    return answer


def in_turns(
    ready: Mapping[Contestant, PreparedInfo], problem: object, repeats: int, notes: list[Note]
) -> dict[Contestant, Summary]:
    """Time contestants in rounds, one sample each a round, and note what is unstable.

    Returns:
        the times of each; nothing of one that failed on the way, or whose times are lost in noise.
    """
    samples: dict[Contestant, list[float]] = {entry: [] for entry in ready}
    for _ in range(repeats):
        for entry in list(samples):
            try:
                samples[entry] += entry.worker.sample(ready[entry].key)
            except PeerError as error:
                notes.append(note("failed", entry, problem, str(error)))
                del samples[entry]
    summaries = {entry: Summary.of(times) for entry, times in samples.items()}
    for entry, summary in summaries.items():
        if summary.unstable:
            text = f"median {summary.median:.1f} us, deviation {summary.mad:.1f} us"
            if summary.drowned:
                text += "; not taken"
            notes.append(note("unstable", entry, problem, text))
    return {entry: summary for entry, summary in summaries.items() if not summary.drowned}


def _result(
    entry: Contestant,
    info: PreparedInfo,
    summary: Summary | None,
    spec: Problem,
    layer: str,
    conditions: Conditions,
) -> Result:
    flops, nbytes = cost(spec).flops, posed.least_bytes(spec)
    limit_us = conditions.roofline.limit_us(flops, nbytes)
    hello = entry.worker.hello
    median = summary.median if summary else None
    return Result(
        engine=hello.name,
        variant=entry.variant,
        op=conditions.op,
        layer=layer,
        spec=str(spec),
        layout=info.layout,
        dtype=spec.dtype,
        threads=hello.threads,
        batch=spec.batch,
        clock=conditions.clock,
        median_us=median,
        min_us=summary.min if summary else None,
        mad_us=summary.mad if summary else None,
        gflops=flops / median / 1e3 if median else None,
        gbytes_per_s=nbytes / median / 1e3 if median else None,
        of_limit=limit_us / median if median else None,
        verified=info.verified,
        max_abs_err=info.max_abs_err if math.isfinite(info.max_abs_err) else None,
        version=hello.version,
    )


def note(kind: Kind, entry: Contestant, problem: object, text: str) -> Note:
    """Return a note about one contestant's way with one problem."""
    return Note(kind, entry.worker.hello.name, entry.variant, str(problem), text)


def _release(ready: Mapping[Contestant, PreparedInfo]) -> None:
    for entry, info in ready.items():
        if entry.worker.alive:
            with suppress(PeerError):  # nothing more is asked of this problem
                entry.worker.release(info.key)
