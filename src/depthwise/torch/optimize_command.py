"""`depthwise optimize`: a model made fast, and what that did to it."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from depthwise import console
from depthwise.bench.results import check_writable
from depthwise.errors import ModelError
from depthwise.torch import optimize_plot
from depthwise.torch.loading import load, said
from depthwise.torch.optimize import optimize
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
    as_json: bool
    plot: Path | None
    save: Path | None


def run(options: Options) -> None:
    """Optimize a model and print the report; draw and save it where asked to.

    Raises:
        ModelError: there is no such model, it takes other inputs, or cannot be optimized.
        DepthwiseError: a file cannot be written.
    """
    for file in filter(None, (options.plot, options.save)):
        check_writable(file)
    shapes = list(map(shape, options.inputs))
    if options.threads:
        torch.set_num_threads(options.threads)
    model = load(options.model, trust=options.trust)
    example = inputs(model, shapes)
    _try(model, example)
    try:
        with console.progress(None) as step:
            fast = optimize(model, example, tune=options.tune, step=step)
    except KeyboardInterrupt:
        if options.tune:
            console.err.print(GOES_ON, markup=False, soft_wrap=True)
        raise
    if options.save:
        _save(fast, options.save)
    _print(fast.report, options.as_json)
    if options.plot:
        optimize_plot.plot(fast.report, options.plot)


def _save(network: nn.Module, file: Path) -> None:
    """Put a network into its file whole, or leave that as it was."""
    beside = file.with_name(f"{file.name}.part")
    try:
        torch.save(network, beside)
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)


def shape(text: str) -> tuple[int, ...]:
    """Read `--input`: sizes with commas between them.

    Raises:
        ModelError: it is something else.
    """
    sizes = text.split(",")
    if not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise ModelError(f"an input is its sizes, as 1,3,224,224; got {text!r}")
    return tuple(map(int, sizes))


def inputs(model: nn.Module, shapes: Sequence[tuple[int, ...]]) -> tuple[Tensor, ...]:
    """Return random inputs of these shapes, the same each time.

    Raises:
        ModelError: the model takes more or fewer.
    """
    generator = torch.Generator().manual_seed(0)
    example = tuple(torch.randn(each, generator=generator) for each in shapes)
    signature = inspect.signature(model.forward)
    try:
        signature.bind(*example)
    except TypeError as error:
        given = " ".join(",".join(map(str, each)) for each in shapes)
        raise ModelError(
            f"an --input is given for each input of {type(model).__name__}, whose forward takes "
            f"{signature}; got {given}: {error}"
        ) from None
    return example


def _try(model: nn.Module, example: tuple[Tensor, ...]) -> None:
    """Refuse inputs that the model fails for."""
    try:
        with torch.no_grad():
            model(*example)
    except Exception as error:  # whatever the model's own code raises
        given = " ".join(",".join(map(str, x.shape)) for x in example)
        raise ModelError(
            f"an --input is one that the model takes; got {given}: {said(error)}"
        ) from error


def _print(report: Report, as_json: bool) -> None:
    if as_json:
        console.print_json(report.as_dict())
        return
    console.print_table(HEADERS, report.cells(), left=WORDS)
    console.out.print()
    for line in report.notes():
        console.out.print(line, markup=False, soft_wrap=True)
