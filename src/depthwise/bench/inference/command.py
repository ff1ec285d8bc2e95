"""`depthwise bench --op network`: from its options to the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from depthwise import console
from depthwise.bench import environments, machine, report, results
from depthwise.bench.inference import plot, run
from depthwise.bench.inference.problem import NetworkProblem
from depthwise.bench.inference.report import print_results
from depthwise.bench.peers.catalogue import SOURCES
from depthwise.bench.process import Worker
from depthwise.bench.results import Note
from depthwise.errors import PeerError, SpecError

if TYPE_CHECKING:
    from depthwise.bench.command import Options
    from depthwise.roofline import Roofline

WORKLOADS = ("mobilenet_v2",)


def bench(options: Options, measure_limits: Callable[[], Roofline]) -> int:
    """Measure networks, report, and write the results after each.

    Args:
        options: what is asked.
        measure_limits: finds what this machine's arithmetic reaches.

    Returns:
        0, or 1 where our own engine gave a wrong result or failed.

    Raises:
        DepthwiseError: an option asks for what is not there.
    """
    problems = _problems(options)
    environments.interpreter("torch")  # raises where it is not installed: networks are its modules
    entries = run.ways(_engines(options))
    about = machine.describe()
    for warning in machine.warnings(about):
        report.tell(f"warning: {warning}", "yellow")
    limits = measure_limits()
    found: list[run.NetworkResult] = []
    notes: list[Note] = []
    try:
        with console.progress(len(problems) * run.steps(entries)) as step:
            for problem in problems:
                start = partial(_start, options=options)
                more, remarks = run.measure(
                    problem, entries, start, options.repeats, limits.peak_gflops, step
                )
                found += more
                notes += remarks
                results.write(options.json, about, [limits.as_dict()], found)
    finally:  # what is complete is reported, after Ctrl-C too
        if found:
            _report(options, f"{about['cpu']} ({about['isa']})", found, notes)
    _draw(options.plot, found)
    return int(any(note.grave and report.is_ours(note) for note in notes))


def _problems(options: Options) -> list[NetworkProblem]:
    for name, value in (("layers", options.layers), ("target", options.cpu)):
        if value is not None:
            raise SpecError(f"--op network takes no {name}; got {value}")
    if options.dtype != "float32":
        raise SpecError(f"networks are measured in float32; got {options.dtype}")
    return [NetworkProblem(name, options.batch) for name in options.workloads or WORKLOADS]


def _engines(options: Options) -> list[str]:
    """Return our engine and the peers that run networks, as far as they are installed."""
    able = [name for name, source in SOURCES.items() if source.networks]
    if options.peers is None:
        return environments.installed(able, report.tell)
    for name in options.peers:
        if name not in able:
            raise PeerError(f"networks are run by {', '.join(able)}; got {name!r}")
    return [report.OURS, *options.peers]


def _start(engine: str, cache: Path, options: Options) -> Worker:
    """Start a worker that finds nothing compiled."""
    variables = {"DEPTHWISE_CACHE": str(cache), "TORCHINDUCTOR_CACHE_DIR": str(cache)}
    return Worker(engine, options.threads, options.pin, variables=variables)


def _report(
    options: Options, cpu: str, found: Sequence[run.NetworkResult], notes: Sequence[Note]
) -> None:
    threads = "1 thread" if options.threads == 1 else f"{options.threads} threads"
    print_results(
        found, f"{cpu}, {threads}, float32, batch {options.batch}, {options.repeats} samples each"
    )
    report.print_notes(notes, sum(result.median_us is not None for result in found))
    report.tell(f"results: {options.json}")


def _draw(folder: Path, found: Sequence[run.NetworkResult]) -> None:
    for spec in {result.spec: None for result in found}:
        file = folder / f"{spec.replace(' ', '-')}.png"
        if plot.draw([result for result in found if result.spec == spec], file):
            report.tell(f"plot: {file}")
