"""`depthwise bench`: from its options to the report."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from depthwise import console
from depthwise.bench import layers, plots, report, results, run, series
from depthwise.bench.comparison import OURS, is_ours
from depthwise.bench.findings import Findings
from depthwise.bench.html import layers as layers_page
from depthwise.bench.html import page
from depthwise.bench.inference import command as inference
from depthwise.bench.layers import Epilogue
from depthwise.bench.results import Result
from depthwise.errors import PeerError, SpecError, TargetError
from depthwise.machine import target, team
from depthwise.measure import environments, roofline, state
from depthwise.measure.catalogue import SOURCES
from depthwise.measure.engine import Clock
from depthwise.measure.process import Worker
from depthwise.problem.block import Spec
from depthwise.problem.vocabulary import DType

Op = Literal[layers.Op, "network"]

WORKLOADS = ("seeds", "mobilenet_v2")
REPEATS = 20
CLOCKS: dict[Clock, str] = {
    "kernel": "raw kernels, each engine in its own layout with its weights packed",
    "call": "what a person calls, from array to array",
}
EPILOGUES: dict[Epilogue, str] = {"none": "none", "network": "bias and the network's activations"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `depthwise bench` is asked; the defaults are its main job."""

    op: Op = "depthwise"
    workloads: Sequence[str] = ()
    """Names; none, and no layer file, means `WORKLOADS`."""
    layers: Path | None = None
    batch: int = 1
    dtype: DType = "float32"
    layout: str = "nchw"
    threads: int = 1
    clock: Clock = "kernel"
    epilogue: Epilogue = "none"
    peers: Sequence[str] | None = None
    """Names; None means every peer that is installed."""
    repeats: int = REPEATS
    cpu: str | None = None
    """The CPU to compile for; None is this state."""
    pin: Sequence[int] | None = None
    """The cores to stay on."""
    json: Path = Path("results/bench.json")
    plot: Path = Path("results")
    """The folder for the pictures."""
    html: Path | None = None
    """The file for a page of everything."""
    command: str = ""
    """The command line that asks for this."""


def names(text: str | None) -> list[str] | None:
    """Read `--peers`: names with commas between them, "none", or None for every installed one."""
    if text is None:
        return None
    return [name.strip() for name in text.split(",") if name.strip() not in ("", "none")]


def cores(text: str | None) -> list[int] | None:
    """Read `--pin`: numbers of cores with commas between them.

    Raises:
        SpecError: there is something else between the commas.
    """
    if text is None:
        return None
    if not all(core.strip().isdigit() for core in text.split(",")):
        raise SpecError(f"pin is numbers of cores, as 0,1; got {text!r}")
    return [int(core) for core in text.split(",")]


def bench(options: Options) -> int:
    """Measure, report, and write the results after each problem.

    Returns:
        0, or 1 where our own engine gave a wrong result or failed.

    Raises:
        DepthwiseError: an option asks for what is not there.
    """
    _check(options)
    if options.pin:
        os.sched_setaffinity(0, options.pin)
    if options.op == "network":
        return inference.bench(options, partial(_measure_limits, options))
    problems = _problems(options, options.op)
    about = state.describe()
    for warning in state.warnings(about):
        report.tell(f"warning: {warning}", "yellow")
    limits = _measure_limits(options)
    findings: Findings[Result] = Findings(
        command=options.command, summary=_summary(options, about), conditions=_conditions(options),
        machine=about, limits=limits, asked=len(problems),
    )  # fmt: skip
    with _workers(options) as workers:
        entries = run.contestants(workers)
        conditions = run.Conditions(options.op, options.clock, options.repeats, limits)
        try:
            with console.progress(run.steps(problems, entries)) as step:
                for outcome in run.measure(problems, entries, conditions, step):
                    findings.add(outcome.results, outcome.notes)
                    findings.write(options.json)
        finally:  # what is complete is reported, after Ctrl-C too
            if findings.results:
                _report(options, findings)
    _draw(options.plot, findings)
    return int(any(note.grave and is_ours(note) for note in findings.notes))


def _problems(options: Options, op: layers.Op) -> dict[Spec, str]:
    names = options.workloads or (() if options.layers else WORKLOADS)
    given = [layer for name in names for layer in layers.workload(name)]
    if options.layers:
        given += layers.read_layers(options.layers)
    return layers.problems(
        given, op, batch=options.batch, dtype=options.dtype,
        layout=options.layout.upper(), epilogue=options.epilogue,
    )  # fmt: skip


def _check(options: Options) -> None:
    """Refuse before anything is measured what would fail in the middle of it."""
    for name in ("threads", "repeats"):
        if getattr(options, name) < 1:
            raise SpecError(f"{name} is at least 1; got {getattr(options, name)}")
    usable = os.sched_getaffinity(0)
    if options.pin and not usable.issuperset(options.pin):
        raise SpecError(f"pin names cores of {sorted(usable)}; got {list(options.pin)}")
    if missing := target.named(options.cpu).missing:
        raise TargetError(
            f"code can be timed where it runs; got {options.cpu}, which needs "
            f"{', '.join(missing)}, which this machine lacks"
        )
    for name in options.peers or ():
        environments.interpreter(name)  # raises where it is not installed
    results.check_writable(options.json)
    if options.html:
        page.check(options.html)


def _measure_limits(options: Options) -> roofline.Roofline:
    with console.progress(len(roofline.footprints(options.threads)) + 1) as step:
        return roofline.measure(
            options.threads, options.dtype, options.cpu, lambda what: step(f"limits: {what}")
        )


@contextmanager
def _workers(options: Options) -> Iterator[list[Worker]]:
    """Start our engine and the peers; one that does not start is left out unless asked for."""
    wanted = [OURS, *(_installed_peers() if options.peers is None else options.peers)]
    workers = []
    with ExitStack() as stack:
        with console.progress(len(wanted)) as step:
            for name in wanted:
                step(f"start {name}")
                try:
                    worker = Worker(name, options.threads, options.pin, cpu=options.cpu)
                except PeerError as error:
                    if options.peers is not None or name == OURS:
                        raise
                    report.tell(str(error), "bold red")
                    continue
                workers.append(stack.enter_context(worker))
        yield workers


def _installed_peers() -> list[str]:
    """Return the peers that are installed; name the others with what installs them."""
    return environments.installed((name for name in SOURCES if name != OURS), report.tell)


def _summary(options: Options, about: dict[str, Any]) -> str:
    return (
        f"{about['cpu']} ({about['isa']}), {team.in_words(options.threads)}, {options.dtype}, "
        f"batch {options.batch}, {options.clock} clock, {options.repeats} samples each"
    )


def _conditions(options: Options) -> dict[str, object]:
    return {
        "operation": options.op,
        "clock": CLOCKS[options.clock],
        "layout of the arrays given": options.layout.upper(),
        "epilogue": EPILOGUES[options.epilogue],
        "element type": options.dtype,
        "batch": options.batch,
        "threads": options.threads,
        "samples of each time": options.repeats,
        "cores to stay on": report.cores(options.pin),
        "compiled for": options.cpu or "this machine",
    }


def _report(options: Options, findings: Findings[Result]) -> None:
    report.print_results(findings.results, findings.summary, findings.limits.peak_gflops)
    report.print_notes(findings.notes, findings.timed)
    report.tell(f"results: {options.json}")
    if options.html:
        layers_page.write(options.html, findings)
        report.tell(f"page: {options.html}")


def _draw(folder: Path, findings: Findings[Result]) -> None:
    over_channels, under_roofline = folder / "channels.png", folder / "roofline.png"
    if plots.channels_plot(findings.results, over_channels):
        report.tell(f"plot: {over_channels}")
    plots.roofline_plot(series.points(findings.results), findings.limits, under_roofline)
    report.tell(f"plot: {under_roofline}")
