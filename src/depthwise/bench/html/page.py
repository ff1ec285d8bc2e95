"""What every page has, put into the template: one file that loads no other."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from depthwise.bench import report, series
from depthwise.bench.comparison import R
from depthwise.bench.findings import Findings
from depthwise.bench.html.charts import Chart
from depthwise.bench.report import Table
from depthwise.errors import DepthwiseError, installs
from depthwise.files import check_writable, put
from depthwise.measure import state

if TYPE_CHECKING:
    from depthwise.measure.roofline import Roofline


def check(file: Path) -> None:
    """Refuse a page that could not be written later.

    Raises:
        DepthwiseError: it goes to no file that can be written, or a package is missing.
    """
    check_writable(file)
    if find_spec("jinja2") is None:
        raise DepthwiseError(f"a page needs jinja2; this installs it: {installs('bench')}")


def write(
    file: Path,
    findings: Findings[R],
    everything: Table,
    legend: str,
    means: Sequence[Table],
    charts: Sequence[Chart | None],
) -> None:
    """Put a complete page into place, or leave the one that was there.

    Args:
        file: where.
        findings: what was found and how.
        everything: all results.
        legend: what its columns mean.
        means: what the results come to together.
        charts: as far as there is something to draw.

    Raises:
        DepthwiseError: the file cannot be written.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    templates.policies["json.dumps_kwargs"] = {"allow_nan": False}
    text = templates.get_template("page.html").render(
        findings=findings,
        warnings=_warnings(findings),
        overview=report.overview(findings.results),
        means=[table for table in means if table.rows],
        charts=[chart for chart in charts if chart],
        everything=everything,
        legend=legend,
        remarks=report.remarks(findings.notes),
        layers={result.spec: result.layer for result in findings.results},
        machine=state.words(findings.machine),
        engines={result.engine: result.version for result in findings.results},
        roofline=series.roofline_title(findings.limits),
        limits=_limits(findings.limits),
    )
    put(file, text)


def _warnings(findings: Findings[R]) -> list[str]:
    found = state.warnings(findings.machine)
    if findings.complete < findings.asked:
        found.insert(
            0,
            f"the run was stopped: {findings.complete} of {findings.asked} problems are complete",
        )
    return found


def _limits(limits: Roofline) -> Table:
    rows = [
        (copy.level, copy.footprint_bytes // 2**10, f"{copy.gbytes_per_s:.1f}")
        for copy in limits.copies
    ]
    return Table(("a copy within", "footprint KiB", "GB/s"), rows)
