"""`depthwise optimize model.onnx`: what becomes of a network's file, beside ONNX Runtime.

A file of TFLite is given to that as the model of ONNX that we read it as.
"""

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
from depthwise.loading import load, of_tflite
from depthwise.network.report import WORDS


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `depthwise optimize` was asked for, of a file of ONNX or TFLite."""

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
        report = measured(net, _as_onnx(path))
    with ExitStack() as afterwards:  # each is tried, whatever becomes of the others
        if options.plot:
            afterwards.callback(optimize_timeline.plot, report, options.plot)
        if options.save:
            afterwards.callback(net.save, options.save)
        publish(report, options.form, report.headers, WORDS, ("parts",))


def _as_onnx(path: Path) -> Path | bytes:
    """Return what ONNX Runtime reads."""
    if not of_tflite(path):
        return path
    from depthwise.tflite.network import as_onnx

    return bytes(as_onnx(path).SerializeToString())
