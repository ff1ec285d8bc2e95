"""`depthwise quantize`: a network's file in whole numbers, and what that cost its results."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from depthwise import console
from depthwise.commands import quantize_plot
from depthwise.commands.reports import publish
from depthwise.console import Form
from depthwise.drawing import check_plot
from depthwise.errors import ModelError, SpecError
from depthwise.files import check_writable
from depthwise.problem.values import shown
from depthwise.quantizing import quantize

if TYPE_CHECKING:
    from depthwise.onnx.quantizing import Quantized

_SIZE = re.compile("([1-9][0-9]{0,5})(?:x([1-9][0-9]{0,5}))?")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What `depthwise quantize` was asked for; see `depthwise.quantizing.quantize`."""

    model: Path
    data: Path
    output: Path
    test: Path | None
    calibration: Literal["minmax", "entropy", "percentile"]
    keep_float: Sequence[str]
    tolerance: float | None
    reduce_range: bool
    fused: bool
    size: str | None
    """Height and width, "224x224", or one number for both."""
    mean: str
    """Numbers with commas between them."""
    std: str
    threads: int | None
    form: Form
    plot: Path | None


def run(options: Options) -> None:
    """Quantize a model, write it and print the report; draw it if asked to.

    Raises:
        DepthwiseError: see `depthwise.quantizing.quantize`; or a file cannot be written.
    """
    check_writable(options.output)
    if options.plot:
        check_plot(options.plot)
    if not options.model.is_file():
        raise ModelError(f"there is no such file: {options.model}")
    quantized = _quantized(options)
    quantized.save(options.output)
    report = quantized.report
    with ExitStack() as afterwards:  # each is tried, whatever becomes of the other
        if options.plot:
            afterwards.callback(quantize_plot.plot, report, options.plot)
        publish(report, options.form, report.headers, report.words, ("layers",))


def _quantized(options: Options) -> Quantized:
    size, mean, std = _size(options.size), _numbers(options.mean), _numbers(options.std)
    with console.progress(None) as step:
        return quantize(
            options.model, options.data, test=options.test, calibration=options.calibration,
            keep_float=options.keep_float, tolerance=options.tolerance,
            reduce_range=options.reduce_range, fused=options.fused, size=size, mean=mean, std=std,
            threads=options.threads, step=step,
        )  # fmt: skip


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = _SIZE.fullmatch(text)
    if not found:
        raise SpecError(f"a size is height and width, as 224x224; got {shown(text)}")
    return int(found[1]), int(found[2] or found[1])


def _numbers(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(each) for each in text.split(","))
    except ValueError:
        numbers = (math.nan,)
    if not all(map(math.isfinite, numbers)):
        raise SpecError(f"mean and std are numbers with commas between them; got {shown(text)}")
    return numbers
