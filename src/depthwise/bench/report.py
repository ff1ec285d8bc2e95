"""The results in words and tables: each problem, then all of them against each peer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isclose
from statistics import geometric_mean

from depthwise import console
from depthwise.bench.results import Note, Result
from depthwise.bench.timing import UNSTABLE
from depthwise.block import BlockSpec, Spec
from depthwise.parse import parse

OURS = "depthwise"
"""The name of our own engine; all others are peers."""
FASTEST = "the fastest peer"
NARROWING = "the fastest peer, blocks that narrow"
"""Blocks whose last part has fewer channels out than in."""

COLUMNS = (
    "engine", "layout", "median us", "+- us", "GFLOP/s", "GB/s", "x fastest peer", "of limit",
)  # fmt: skip
LEGEND = f"""\
+-: median absolute deviation, ! where above {UNSTABLE:.0%} of the median.  FLOPs: 2 per MAC.
GB/s: of the least bytes that must move.  x fastest peer: its time over this one, more is faster.
of limit: the least time that this machine's measured roofline allows over this one."""


def print_results(results: Sequence[Result], conditions: str, peak_gflops: float) -> None:
    """Print a table for each problem, the fastest first, then what they come to together.

    Args:
        results: of all problems.
        conditions: under which they were found, in words.
        peak_gflops: what this machine's arithmetic reaches.
    """
    console.out.print(conditions + "\n", markup=False, soft_wrap=True)
    for spec, group in by_problem(results).items():
        console.print_table(COLUMNS, _rows(group), title=f"{spec}  ({group[0].layer})", left=2)
        console.out.print()
    console.out.print(LEGEND + "\n", markup=False, soft_wrap=True)
    print_overview(results)
    print_shares(results, peak_gflops)


def print_overview(results: Sequence[Result]) -> None:
    """Print our fastest beside the fastest peer for each problem, and the means over problems."""
    rows = [_overview_row(spec, group) for spec, group in by_problem(results).items()]
    headers = ("problem", "ours", "fastest peer", "our us", "its us", "x", "of limit")
    console.print_table(headers, rows, title="Our fastest beside the fastest peer", left=3)
    print_ratios(mean_ratios(results))


def print_ratios(ratios: Mapping[str, list[float]]) -> None:
    """Print what `ratios` returns, a line for each peer."""
    means = sorted(ratios.items(), key=lambda item: geometric_mean(item[1]))
    _print_means("peer", means, "Its time over that of our fastest", "{:.2f}")


def print_shares(results: Iterable[Result], peak_gflops: float) -> None:
    """Print how near our fastest come to the limit, apart for what bounds them."""
    shares: dict[str, list[float]] = {}
    for group in by_problem(results).values():
        ours = fastest(group, is_ours)
        if ours and ours.of_limit and ours.gflops:
            by_arithmetic = isclose(ours.of_limit, ours.gflops / peak_gflops)
            bound = "arithmetic" if by_arithmetic else "memory"
            shares.setdefault(bound, []).append(ours.of_limit)
    _print_means("bound by", sorted(shares.items()), "Our fastest, of the limit", "{:.0%}")


def _print_means(
    header: str, means: Sequence[tuple[str, list[float]]], title: str, form: str
) -> None:
    if means:
        picks = geometric_mean, min, max
        console.print_table(
            (header, "geometric mean", "least", "most", "problems"),
            [(name, *(form.format(p(each)) for p in picks), len(each)) for name, each in means],
            title=f"\n{title}",
        )


def by_problem(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Return the results of each problem, the fastest first."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.spec, []).append(result)
    return {spec: sorted(group, key=lambda r: r.time) for spec, group in groups.items()}


def fastest(group: Iterable[Result], who: Callable[[Result], bool]) -> Result | None:
    """Return the fastest of those results of one problem that have a time."""
    timed = [result for result in group if who(result) and result.median_us is not None]
    return min(timed, key=lambda result: result.time, default=None)


def is_ours(result: Result | Note) -> bool:
    """Whether a result or note is about our own engine."""
    return result.engine == OURS


def is_peer(result: Result) -> bool:
    """Whether a result is another engine's."""
    return result.engine != OURS


def mean_ratios(results: Iterable[Result]) -> Mapping[str, list[float]]:
    """Return what `ratios` does.

    Where some blocks narrow and others do not, the fastest peer's ratios for the former stand
    apart as well.
    """
    results = list(results)
    found = ratios(results)
    narrowing = ratios(result for result in results if _narrows(parse(result.spec)))
    if 0 < len(narrowing.get(FASTEST, ())) < len(found.get(FASTEST, ())):
        found[NARROWING] = narrowing[FASTEST]
    return found


def ratios(results: Iterable[Result]) -> dict[str, list[float]]:
    """Return, by peer and for the fastest one, its time over our fastest one for each problem."""
    found: dict[str, list[float]] = {}
    for group in by_problem(results).values():
        ours = fastest(group, is_ours)
        peer = fastest(group, is_peer)
        if ours is None or peer is None:
            continue
        found.setdefault(FASTEST, []).append(peer.time / ours.time)
        for other in group:
            if is_peer(other) and other.median_us is not None:
                found.setdefault(other.contestant, []).append(other.time / ours.time)
    return found


def _narrows(spec: Spec) -> bool:
    return isinstance(spec, BlockSpec) and spec.project.out_channels < spec.project.channels


def print_notes(notes: Sequence[Note], timed: int) -> None:
    """Print to stderr what the numbers do not show, the gravest last, where it is seen."""
    for (contestant, text), specs in _rejections(notes).items():
        tell(f"{contestant} leaves out {_count(specs, 'problem')}: {text}")
    if unstable := [note for note in notes if note.kind == "unstable"]:
        worst = ", ".join(
            f"{note.contestant} on {note.spec} ({note.text})" for note in unstable[:3]
        )
        tell(
            f"unstable: {len(unstable)} of {timed} times scatter more than {UNSTABLE:.0%} of their "
            f"median, e.g. {worst}.  A quiet machine, --pin and more --repeats help.",
            style="yellow",
        )
    for kind in ("failed", "wrong"):
        for note in notes:
            if note.kind == kind:
                tell(f"{kind.upper()}: {note.contestant} on {note.spec}: {note.text}", "bold red")


def _rows(group: Sequence[Result]) -> list[tuple[object, ...]]:
    peer = fastest(group, is_peer)
    return [_row(result, peer) for result in group]


def _row(result: Result, peer: Result | None) -> tuple[object, ...]:
    if (times := result.summary) is None:
        verdict = "not timed" if result.verified else "WRONG"
        return (result.contestant, result.layout, verdict, *[None] * 5)
    return (
        result.contestant,
        result.layout,
        microseconds(times.median),
        microseconds(times.mad) + (" !" if times.unstable else ""),
        f"{result.gflops:.1f}",
        f"{result.gbytes_per_s:.1f}",
        f"{peer.time / times.median:.2f}" if peer else None,
        f"{result.of_limit:.0%}",
    )


def _overview_row(spec: str, group: Sequence[Result]) -> tuple[object, ...]:
    ours, peer = fastest(group, is_ours), fastest(group, is_peer)
    return (
        spec,
        ours.variant if ours else None,
        peer.contestant if peer else None,
        microseconds(ours.time) if ours else None,
        microseconds(peer.time) if peer else None,
        f"{peer.time / ours.time:.2f}" if ours and peer else None,
        f"{ours.of_limit:.0%}" if ours else None,
    )


def microseconds(value: float) -> str:
    """Return a time with three significant digits or more."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _rejections(notes: Iterable[Note]) -> dict[tuple[str, str], list[str]]:
    """Return the problems that each contestant rejected for each reason."""
    groups: dict[tuple[str, str], list[str]] = {}
    for note in notes:
        if note.kind == "rejected":
            groups.setdefault((note.contestant, note.text), []).append(note.spec)
    return groups


def _count(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}" + ("" if len(things) == 1 else "s")


def tell(text: str, style: str | None = None) -> None:
    """Print a line to stderr."""
    console.err.print(text, style=style, markup=False, soft_wrap=True)
