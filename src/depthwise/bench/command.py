"""`depthwise bench`: from its options to the report."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from depthwise import console
from depthwise.bench import layers, plots, report, run, series
from depthwise.bench.comparison import OURS, is_ours
from depthwise.bench.findings import Findings
from depthwise.bench.html import layers as layers_page
from depthwise.bench.html import page
from depthwise.bench.inference import command as inference
from depthwise.bench.layers import Epilogue
from depthwise.bench.options import Options
from depthwise.bench.results import Result
from depthwise.drawing import NEEDS, check_plot
from depthwise.errors import PeerError, SpecError, TargetError
from depthwise.files import check_writable
from depthwise.machine import target, team
from depthwise.measure import environments, roofline, state
from depthwise.measure.catalogue import SOURCES
from depthwise.measure.engine import Clock
from depthwise.measure.process import Worker
from depthwise.problem.problem import Problem

WORKLOADS = ("seeds", "mobilenet_v2")
CHANNELS, ROOFLINE = "channels.png", "roofline.png"
"""The pictures of layers."""
CLOCKS: dict[Clock, str] = {
    "kernel": "raw kernels, each engine in its own layout with its weights packed",
    "call": "what a person calls, from array to array",
}
EPILOGUES: dict[Epilogue, str] = {"none": "none", "network": "bias and the network's activations"}


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
        entries = run.contestants(workers, options.op)
        conditions = run.Conditions(options.op, options.clock, options.repeats, limits)
        try:
            with console.progress(run.steps(problems, entries)) as step:
                for outcome in run.measure(problems, entries, conditions, step):
                    findings.add(outcome.results, outcome.notes)
                    findings.write(options.json, last=False)
        finally:  # what is complete is reported, after Ctrl-C too
            if findings.results:
                _report(options, findings)
    if options.pictures:
        _draw(options.pictures, findings)
    return int(any(note.grave and is_ours(note) for note in findings.notes))


def _problems(options: Options, op: layers.Op) -> dict[Problem, str]:
    names = options.workloads or (() if options.layers else WORKLOADS)
    given = [layer for name in names for layer in layers.workload(name)]
    if options.layers:
        given += layers.read_layers(options.layers)
    return layers.problems(
        given, op, batch=options.batch, dtype=options.dtype,
        layout=_layout(options), epilogue=options.epilogue,
    )  # fmt: skip


def _check(options: Options) -> None:
    """Refuse before anything is measured what would fail in the middle of it."""
    for name in ("threads", "repeats"):
        if getattr(options, name) < 1:
            raise SpecError(f"{name} is at least 1; got {getattr(options, name)}")
    if options.op != "network" and (options.model or options.inputs):
        raise SpecError(f"--model and --input are for --op network; got --op {options.op}")
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
    for file in filter(None, (options.json, options.csv)):
        check_writable(file)
    if options.pictures:
        check_plot(options.pictures / ROOFLINE)
    else:
        report.tell(f"no pictures: {NEEDS}")
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
        "layout of the arrays given": _shown_layout(options),
        "epilogue": EPILOGUES[options.epilogue],
        "element type": options.dtype,
        "batch": options.batch,
        "threads": options.threads,
        "samples of each time": options.repeats,
        "cores to stay on": report.cores(options.pin),
        "compiled for": options.cpu or "this machine",
    }


def _layout(options: Options) -> str:
    return options.layout.upper() if options.layout else layers.usual_layout(options.dtype)


def _shown_layout(options: Options) -> str:
    layout = _layout(options)
    return layers.sequences_layout(layout) if options.op == "causal" else layout


def _report(options: Options, findings: Findings[Result]) -> None:
    report.print_results(findings.results, findings.summary, findings.limits.peak_gflops)
    report.print_notes(findings.notes, findings.timed)
    findings.write(options.json, last=True)
    report.tell(f"results: {options.json}")
    if options.csv:
        findings.write_csv(options.csv)
        report.tell(f"table: {options.csv}")
    if options.html:
        layers_page.write(options.html, findings)
        report.tell(f"page: {options.html}")


def _draw(folder: Path, findings: Findings[Result]) -> None:
    over_channels, under_roofline = folder / CHANNELS, folder / ROOFLINE
    if plots.channels_plot(findings.results, over_channels):
        report.tell(f"plot: {over_channels}")
    plots.roofline_plot(series.points(findings.results), findings.limits, under_roofline)
    report.tell(f"plot: {under_roofline}")
