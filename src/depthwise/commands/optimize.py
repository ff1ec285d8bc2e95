"""`depthwise optimize`: a model made fast, and what that did to it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from depthwise import console
from depthwise.commands import optimize_plot
from depthwise.commands.reports import publish
from depthwise.commands.shapes import shape
from depthwise.console import Form
from depthwise.drawing import check_plot
from depthwise.files import check_writable
from depthwise.torch import optimize
from depthwise.torch.command_line import inputs, save, use_threads
from depthwise.torch.loading import load
from depthwise.torch.optimize_report import HEADERS, WORDS, Report

GOES_ON = "interrupted; what was measured is kept, and the same command goes on from there"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `depthwise optimize` was asked for."""

    model: str
    """As `loading.load` takes it."""
    inputs: Sequence[str]
    """The shape of each input, e.g. "1,3,224,224"."""
    tune: bool
    trust: bool
    threads: int | None
    form: Form
    plot: Path | None
    save: Path | None


def run(options: Options) -> None:
    """Optimize a model and print the report; draw and save it where asked to.

    Raises:
        ModelError: there is no such model, it takes other inputs, or cannot be optimized.
        DepthwiseError: a file cannot be written.
    """
    if options.plot:
        check_plot(options.plot)
    if options.save:
        check_writable(options.save)
    shapes = list(map(shape, options.inputs))
    if options.threads:
        use_threads(options.threads)
    model = load(options.model, trust=options.trust)
    example = inputs(model, shapes)
    try:
        with console.progress(None) as step:
            fast = optimize(model, example, tune=options.tune, step=step)
    except KeyboardInterrupt:
        if options.tune:
            console.err.print(GOES_ON, markup=False, soft_wrap=True)
        raise
    with ExitStack() as afterwards:  # each is tried, whatever becomes of the others
        if options.plot:
            afterwards.callback(optimize_plot.plot, fast.report, options.plot)
        if options.save:
            afterwards.callback(save, fast, options.save)
        print_report(fast.report, options.form)


def print_report(report: Report, form: Form) -> None:
    """Print what became of each layer."""
    publish(report, form, HEADERS, WORDS, ("rows", "between"))
