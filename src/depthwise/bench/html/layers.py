"""The page of convolutions and of blocks of them."""

from __future__ import annotations

from pathlib import Path

from depthwise.bench import report, series
from depthwise.bench.comparison import mean_ratios, pairs
from depthwise.bench.findings import Findings
from depthwise.bench.html import charts, page
from depthwise.bench.results import Result
from depthwise.problem.parse import parse


def write(file: Path, findings: Findings[Result]) -> None:
    """Put the page into place.

    Raises:
        DepthwiseError: the file cannot be written.
    """
    found, limits = findings.results, findings.limits
    page.write(
        file,
        findings,
        report.everything(found),
        report.legend(found),
        [report.means(mean_ratios(found)), report.shares(found, limits.peak_gflops)],
        [
            charts.ratios(pairs(found), lambda pair: series.short(parse(pair.spec))),
            charts.channels(found),
            charts.roofline(series.points(found), limits),
        ],
    )
