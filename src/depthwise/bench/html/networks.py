"""The page of whole networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from depthwise.bench.comparison import by_problem, pairs, ratios
from depthwise.bench.findings import Findings
from depthwise.bench.html import charts, page
from depthwise.bench.inference import plot, report
from depthwise.bench.inference.run import NetworkResult
from depthwise.bench.report import means


def write(file: Path, findings: Findings[NetworkResult]) -> None:
    """Put the page into place.

    Raises:
        DepthwiseError: the file cannot be written.
    """
    found = findings.results
    page.write(
        file,
        findings,
        report.everything(found),
        report.LEGEND,
        [means(ratios(found))],
        [
            charts.ratios(pairs(found), lambda pair: pair.spec.removeprefix("network ")),
            *(bar for group in by_problem(found).values() for bar in _bars(group)),
        ],
    )


def _bars(group: Sequence[NetworkResult]) -> Iterator[charts.Chart]:
    """Yield a network's plots: how long each engine takes, its memory, how long it prepares."""
    timed = plot.by_time(group)[::-1]
    if not timed:
        return
    for title, values in plot.bars(timed).items():
        named = {r.contestant: value for r, value in zip(timed, values, strict=True)}
        yield charts.bars(title, plot.title_of(timed[0]), named, plot.colours(timed))
