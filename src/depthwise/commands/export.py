"""`depthwise export`: a problem or a network as a library in C, and how much memory it takes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from depthwise import console
from depthwise.commands import export_plot
from depthwise.commands.reports import publish
from depthwise.commands.shapes import named_shapes
from depthwise.console import Form
from depthwise.drawing import check_plot
from depthwise.errors import SpecError
from depthwise.exporting.export import Aim, Format, export
from depthwise.exporting.report import HEADERS
from depthwise.network.array_files import arrays_in
from depthwise.problem.values import shown

_SIZE = re.compile("([1-9][0-9]{0,11})([kKmM]?)")
_UNITS = {"": 1, "k": 2**10, "m": 2**20}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `depthwise export` was asked for; see `depthwise.exporting.export`."""

    source: str
    output: Path
    target: str
    format: Format | None
    name: str | None
    optimize: Aim
    memory: str | None
    """Bytes, or "256k", "1m"."""
    threads: int
    blob: bool
    plan: str | None
    operands: Path | None
    """The weights of a problem."""
    inputs: Sequence[str]
    force: bool
    form: Form
    plot: Path | None


def run(options: Options) -> None:
    """Write the library and print its report; draw it if asked to.

    Raises:
        DepthwiseError: see `depthwise.exporting.export`; or a file cannot be written.
    """
    if options.plot:
        check_plot(options.plot)
    memory = None if options.memory is None else _bytes(options.memory)
    operands = None if options.operands is None else arrays_in(options.operands)
    with console.progress(None) as step:
        report = export(
            options.source, options.output, target=options.target, format=options.format,
            name=options.name, optimize=options.optimize, memory=memory, workers=options.threads,
            blob=options.blob, plan=options.plan, operands=operands,
            inputs=named_shapes(options.inputs) if options.inputs else None, force=options.force,
            step=step,
        )  # fmt: skip
    with ExitStack() as afterwards:  # each is tried, whatever becomes of the other
        if options.plot:
            afterwards.callback(export_plot.plot, report, options.plot)
        publish(report, options.form, HEADERS, 1, ("segments",))


def _bytes(text: str) -> int:
    """Read a size, as 262144, 256k or 1m.

    Raises:
        SpecError: it is something else.
    """
    found = _SIZE.fullmatch(text)
    if not found:
        raise SpecError(f"memory is a number of bytes, as 262144, 256k or 1m; got {shown(text)}")
    return int(found[1]) * _UNITS[found[2].lower()]
