"""A standard convolution beside its separable counterpart: shapes, costs, and measured times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict

from depthwise import console
from depthwise.bench import report, run
from depthwise.bench.comparison import OURS, fastest, is_ours
from depthwise.bench.results import Note, Result
from depthwise.commands.cost import COLUMNS, Record, measure_roofline, number, record
from depthwise.console import Form
from depthwise.errors import SpecError
from depthwise.machine import team
from depthwise.measure.environments import installed_version
from depthwise.measure.process import Worker
from depthwise.problem.block import BlockSpec
from depthwise.problem.costs import parameter_ratio_limit
from depthwise.problem.problem import Problem


def counterpart(spec: Problem) -> BlockSpec:
    """Return the separable convolution with the sizes, window and epilogue of a standard one.

    Raises:
        SpecError: the problem is not a standard convolution.
    """
    if spec.kind != "conv" or spec.parts[0].groups != 1:
        raise SpecError(f"a standard convolution is a conv with one group; got {spec}")
    (conv,) = spec.parts
    return BlockSpec.separable(
        conv.channels, conv.out_channels, (conv.height, conv.width), conv.kernel,
        stride=conv.stride, padding=conv.padding, dilation=conv.dilation,
        padding_mode=conv.padding_mode, depthwise_bias=conv.bias, pointwise_bias=conv.bias,
        activation=conv.activation, batch=conv.batch, layout=conv.layout, dtype=conv.dtype,
    )  # fmt: skip


def compare(spec: Problem, *, threads: int, repeats: int, form: Form) -> int:
    """Print the comparison: costs, and times of our kernels and of PyTorch where it is installed.

    Returns:
        0, or 1 where one of our kernels gave a wrong result or failed.

    Raises:
        SpecError: the problem is not a standard convolution.
        PeerError: an engine does not start.
    """
    separable = counterpart(spec)
    engines = [OURS, *(["torch"] if installed_version("torch") else [])]
    found, notes = _measure((spec, separable), engines, threads, repeats)
    costs = record(spec), record(separable)
    limit = parameter_ratio_limit(separable.depthwise.kernel)

    def table() -> None:
        shapes = ["output", str(spec.output_shape), str(separable.output_shape), ""]
        rows = [shapes, *_cost_rows(costs), *_time_rows((spec, separable), engines, found)]
        console.print_table(("", str(spec), str(separable), "ratio"), rows)
        console.say(
            f"us: median of {repeats} samples on {team.in_words(threads)}, and of the machine's "
            f"limit.\n"
            f"The ratio of the parameters tends to KH * KW = {limit} as the channels grow."
        )

    console.publish(
        form,
        value={
            "standard": costs[0],
            "separable": costs[1],
            "ratios": {key: costs[0][key] / costs[1][key] for key in COLUMNS},
            "parameter_ratio_limit": limit,
            "results": [asdict(result) for result in found],
        },
        records=[
            {**asdict(result), **{key: each[key] for key in COLUMNS}}
            for result in found
            for each in costs
            if each["spec"] == result.spec
        ],
        table=table,
    )
    told = [note for note in notes if note.kind != "rejected"]
    report.print_notes(told, timed=len(found))
    return int(any(note.grave and is_ours(note) for note in notes))


def _measure(
    pair: Sequence[Problem], engines: Sequence[str], threads: int, repeats: int
) -> tuple[list[Result], list[Note]]:
    roofline = measure_roofline(threads, pair)
    conditions = run.Conditions("compare", "call", repeats, roofline)
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(engine, threads)) for engine in engines]
        entries = run.contestants(workers)
        problems = dict.fromkeys(pair, "")
        with console.progress(run.steps(problems, entries)) as step:
            outcomes = list(run.measure(problems, entries, conditions, step))
    results = [result for outcome in outcomes for result in outcome.results]
    return results, [note for outcome in outcomes for note in outcome.notes]


def _cost_rows(costs: Sequence[Record]) -> Iterator[list[str]]:
    for key, name in COLUMNS.items():
        standard, separable = (each[key] for each in costs)
        yield [name, number(standard), number(separable), f"{standard / separable:.2f}"]


def _time_rows(
    pair: Sequence[Problem], engines: Sequence[str], found: Sequence[Result]
) -> Iterator[list[str]]:
    for engine in engines:
        standard, separable = (_fastest(found, engine, spec) for spec in pair)
        ratio = f"{standard.time / separable.time:.2f}" if standard and separable else ""
        yield [f"us, {engine}", _time(standard), _time(separable), ratio]


def _fastest(found: Sequence[Result], engine: str, spec: Problem) -> Result | None:
    """Return the result of the engine's fastest variant, or None where none was timed."""
    return fastest(found, lambda r: r.engine == engine and r.spec == str(spec))


def _time(result: Result | None) -> str:
    if result is None:
        return ""
    return f"{report.microseconds(result.time)} ({result.variant}, {result.of_limit:.0%})"
