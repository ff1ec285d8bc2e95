"""Networks in tables: each with all engines, then all networks together."""

from __future__ import annotations

from collections.abc import Sequence

from depthwise import console
from depthwise.bench import report
from depthwise.bench.comparison import by_problem, fastest, is_peer, ratios
from depthwise.bench.inference.run import NetworkResult
from depthwise.measure.timing import UNSTABLE

COLUMNS = (
    "engine", "ms", "+- ms", "images/s", "x fastest peer", "GFLOP/s", "of peak", "prepare s",
    "peak MiB", "grown MiB", "touched MiB", "error",
)  # fmt: skip
SPARE = ("grown MiB", "touched MiB", "images/s", "of peak", "error", "GFLOP/s")
LEGEND = f"""\
+-: median absolute deviation, ! where above {UNSTABLE:.0%} of the median.
x fastest peer: its time over this one, more is faster.
FLOPs: 2 per MAC of convolutions and linear layers.
of peak: of the FLOP/s that this machine's FMAs reach, measured.
prepare: from the network's file to the end of the first call, nothing compiled before; \
the export to ONNX stands after the +.
peak: what the whole process has resident during a call; grown: beyond what it had before that \
call; touched: what the call reads or writes of it, weights included, whether the engine keeps it \
between calls or not.
error: the largest difference to the logits computed in float64, over the largest logit; for a \
model given by its file, to its results without optimisations, over the largest result."""
MIB = 2**20


def print_results(results: Sequence[NetworkResult], conditions: str) -> None:
    """Print a table for each network, the fastest engine first, and what they come to together.

    Args:
        results: of all networks.
        conditions: under which they were found, in words.
    """
    console.say(f"{conditions}\n")
    tables = [(spec, _rows(group)) for spec, group in by_problem(results).items()]
    console.print_tables(COLUMNS, tables, spare=SPARE)
    console.say(f"\n{LEGEND}\n")
    report.print_tables(report.means(ratios(results)))


def everything(results: Sequence[NetworkResult]) -> report.Table:
    """Return all results in one table, each network's together, the fastest first."""
    groups = by_problem(results)
    rows = [(spec, *row) for spec, group in groups.items() for row in _rows(group)]
    ordered = [result for group in groups.values() for result in group]
    headers = ("network", *COLUMNS)
    return report.Table(headers, rows, left=2, marked=report.ours_among(ordered))


def _rows(group: Sequence[NetworkResult]) -> list[tuple[object, ...]]:
    peer = fastest(group, is_peer)
    return [_row(result, peer.time if peer else None) for result in group]


def _row(result: NetworkResult, fastest_peer: float | None) -> tuple[object, ...]:
    exported = f" + {result.export_seconds:.1f}" if result.export_seconds else ""
    prepared = f"{result.prepare_seconds:.1f}{exported}"
    error = None if result.max_rel_err is None else f"{result.max_rel_err:.1e}"
    if (times := result.summary) is None:
        verdict = report.verdict(result)
        return (result.contestant, verdict, *[None] * 5, prepared, *[None] * 3, error)
    return (
        result.contestant,
        f"{times.median / 1e3:.2f}",
        f"{times.mad / 1e3:.2f}" + (" !" if times.unstable else ""),
        f"{result.images_per_s:.1f}",
        f"{fastest_peer / times.median:.2f}" if fastest_peer else None,
        None if result.gflops is None else f"{result.gflops:.1f}",
        None if result.of_limit is None else f"{result.of_limit:.0%}",
        prepared,
        *map(_mebibytes, (result.peak_bytes, result.grown_bytes, result.touched_bytes)),
        error,
    )


def _mebibytes(count: int | None) -> str | None:
    return None if count is None else f"{count / MIB:.0f}"
