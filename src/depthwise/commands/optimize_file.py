"""`depthwise optimize model.onnx`: what becomes of a network's file, beside ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from depthwise import console
from depthwise.commands import optimize_timeline
from depthwise.commands.reports import publish
from depthwise.commands.shapes import named_shapes
from depthwise.console import Form
from depthwise.drawing import check_plot
from depthwise.errors import ModelError
from depthwise.files import check_writable
from depthwise.loading import load
from depthwise.network.report import WORDS


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `depthwise optimize` was asked for, of a file of ONNX."""

    model: str
    inputs: Sequence[str]
    """The shape of each, e.g. "1,3,224,224", in the order of the model, or "x=1,3,224,224"."""
    threads: int | None
    form: Form
    plot: Path | None
    save: Path | None


def run(options: Options) -> None:
    """Load a file, hold it against ONNX Runtime and print the report; draw and save it if asked to.

    Raises:
        ModelError: there is no such model, or it takes other inputs.
        DepthwiseError: a file cannot be written.
    """
    from depthwise.onnx.measuring import measured

    if options.plot:
        check_plot(options.plot)
    if options.save:
        check_writable(options.save)
    path = Path(options.model)
    if not path.is_file():
        raise ModelError(f"there is no such file: {path}")
    with console.progress(None) as step:
        net = load(
            path, inputs=named_shapes(options.inputs) or None, threads=options.threads, step=step
        )
        step("measure")
        report = measured(net, path)
    with ExitStack() as afterwards:  # each is tried, whatever becomes of the others
        if options.plot:
            afterwards.callback(optimize_timeline.plot, report, options.plot)
        if options.save:
            afterwards.callback(net.save, options.save)
        publish(report, options.form, report.headers, WORDS, ("parts",))
