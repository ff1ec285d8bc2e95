"""`depthwise bench --op network`: from its options to the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depthwise import console
from depthwise.bench import report
from depthwise.bench.comparison import OURS, is_ours
from depthwise.bench.findings import Findings
from depthwise.bench.html import networks as page
from depthwise.bench.inference import files, plot, quantized, run
from depthwise.bench.inference.problem import NetworkProblem, Posable
from depthwise.bench.inference.report import print_results
from depthwise.bench.inference.run import NetworkResult
from depthwise.bench.options import Options
from depthwise.errors import PeerError, SpecError
from depthwise.machine import team, trust
from depthwise.measure import environments, state
from depthwise.measure.catalogue import SOURCES
from depthwise.measure.process import Worker
from depthwise.problem.dtypes import DEFAULT

if TYPE_CHECKING:
    from depthwise.measure.roofline import Roofline

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
    with ExitStack() as stack:
        return _bench(options, _problems(options, stack), measure_limits)


def _bench(
    options: Options, problems: list[Posable], measure_limits: Callable[[], Roofline]
) -> int:
    engines = _engines(options, problems[0])
    entries = {problem: run.ways(problem, engines) for problem in problems}
    about = state.describe()
    for warning in state.warnings(about):
        report.tell(f"warning: {warning}", "yellow")
    findings: Findings[NetworkResult] = Findings(
        command=options.command, summary=_summary(options, problems[0], about),
        conditions=_conditions(options, problems[0]),
        machine=about, limits=measure_limits(), asked=len(problems),
    )  # fmt: skip
    start = partial(_start, options=options)
    peak = findings.limits.peak_gflops
    try:
        with console.progress(sum(map(run.steps, entries.values()))) as step:
            for problem, ways in entries.items():
                findings.add(*run.measure(problem, ways, start, options.repeats, peak, step))
                findings.write(options.json, last=False)
    finally:  # what is complete is reported, after Ctrl-C too
        if findings.results:
            _report(options, findings)
    if options.pictures:
        _draw(options.pictures, findings.results)
    return int(any(note.grave and is_ours(note) for note in findings.notes))


def _problems(options: Options, stack: ExitStack) -> list[Posable]:
    for name, value in (("layers", options.layers), ("target", options.cpu)):
        if value is not None:
            raise SpecError(f"--op network takes no {name}; got {value}")
    if options.dtype not in (DEFAULT, quantized.DTYPE):
        raise SpecError(
            f"networks are measured in {DEFAULT}, or beside that in {quantized.DTYPE}; got "
            f"{options.dtype}"
        )
    if options.model:
        if options.workloads or options.batch != 1 or options.dtype != DEFAULT:
            raise SpecError(
                "--model is measured alone and as it is, its sizes given with --input; got a "
                "--workload, a --batch or a --dtype as well"
            )
        return [files.read(options.model, options.inputs)]
    if options.inputs:
        raise SpecError(f"--input gives sizes of a --model; got {options.inputs} alone")
    problems = [NetworkProblem(name, options.batch) for name in options.workloads or WORKLOADS]
    environments.interpreter("torch")  # raises where it is not installed: networks are its modules
    if options.dtype == DEFAULT:
        return list(problems)
    folder = stack.enter_context(trust.temporary_folder())
    with console.progress(len(problems)) as step:
        return quantized.problems(problems, folder, step)


def _engines(options: Options, problem: Posable) -> list[str]:
    """Return our engine and the peers that run such networks, as far as they are installed."""
    able = [name for name in SOURCES if problem.variants(name)]
    if options.peers is None:
        return environments.installed(able, report.tell)
    for name in options.peers:
        if name not in able:
            raise PeerError(f"{problem.network} is run by {', '.join(able)}; got {name!r}")
    return [OURS, *options.peers]


def _start(engine: str, cache: Path, options: Options) -> Worker:
    """Start a worker that finds nothing compiled."""
    variables = {"DEPTHWISE_CACHE": str(cache), "TORCHINDUCTOR_CACHE_DIR": str(cache)}
    return Worker(engine, options.threads, options.pin, variables=variables)


def _summary(options: Options, problem: Posable, about: dict[str, Any]) -> str:
    return (
        f"{about['cpu']} ({about['isa']}), {team.in_words(options.threads)}, "
        f"{problem.dtype}, batch {problem.batch}, {options.repeats} samples each"
    )


def _conditions(options: Options, problem: Posable) -> dict[str, object]:
    return {
        "operation": "whole networks, each engine's way in a process of its own",
        "clock": "from images to results",
        "element type": problem.dtype,
        "batch": problem.batch,
        "threads": options.threads,
        "samples of each time": options.repeats,
        "cores to stay on": report.cores(options.pin),
    }


def _report(options: Options, findings: Findings[NetworkResult]) -> None:
    print_results(findings.results, findings.summary)
    report.print_notes(findings.notes, findings.timed)
    findings.write(options.json, last=True)
    report.tell(f"results: {options.json}")
    if options.csv:
        findings.write_csv(options.csv)
        report.tell(f"table: {options.csv}")
    if options.html:
        page.write(options.html, findings)
        report.tell(f"page: {options.html}")


def _draw(folder: Path, found: Sequence[NetworkResult]) -> None:
    for spec in {result.spec: None for result in found}:
        file = folder / f"{spec.replace(' ', '-')}.png"
        if plot.draw([result for result in found if result.spec == spec], file):
            report.tell(f"plot: {file}")
