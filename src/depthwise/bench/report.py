"""The results in words and tables: each problem, then all of them against each peer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isclose
from statistics import geometric_mean

from depthwise import console
from depthwise.bench.comparison import (
    Pair,
    by_problem,
    fastest,
    is_ours,
    is_peer,
    mean_ratios,
    pairs,
)  # fmt: skip
from depthwise.bench.results import Note, Result
from depthwise.measure.timing import UNSTABLE
from depthwise.problem.dtypes import worded

COLUMNS = (
    "engine", "layout", "median us", "+- us", "GFLOP/s", "GB/s", "x fastest peer", "of limit",
)  # fmt: skip
SPARE = ("GB/s", "layout", "GFLOP/s")
LEGEND = f"""\
+-: median absolute deviation, ! where above {UNSTABLE:.0%} of the median.
FLOPs: 2 per MAC.  GB/s: of the least bytes that must move.
x fastest peer: its time over this one, more is faster.
of limit: the least time that the measured roofline allows, over this one."""


@dataclass(frozen=True)
class Table:
    """Cells in rows, as `str` gives them; None is left blank."""

    headers: Sequence[str]
    rows: Sequence[Sequence[object]]
    title: str = ""
    left: int = 1
    """How many leading columns hold words; the others hold numbers."""
    spare: Sequence[str] = ()
    """The columns that are left out first where there is no room."""
    marked: Collection[int] = ()
    """The rows that stand out where there is colour."""


def print_results(results: Sequence[Result], conditions: str, peak_gflops: float) -> None:
    """Print a table for each problem, the fastest first, then what they come to together.

    Args:
        results: of all problems.
        conditions: under which they were found, in words.
        peak_gflops: what this machine's arithmetic reaches.
    """
    console.say(f"{conditions}\n")
    groups = by_problem(results).items()
    tables = [(f"{spec}  ({group[0].layer})", _rows(group)) for spec, group in groups]
    columns, spare = (worded_for(results, words) for words in (COLUMNS, SPARE))
    console.print_tables(columns, tables, left=2, spare=spare)
    console.say(f"\n{legend(results)}\n")
    print_tables(overview(results), means(mean_ratios(results)), shares(results, peak_gflops))


def print_tables(*tables: Table) -> None:
    """Print tables that have rows, each with its title, apart."""
    for number, table in enumerate(table for table in tables if table.rows):
        if number:
            console.say()
        console.print_table(
            table.headers, table.rows, title=table.title, left=table.left, spare=table.spare
        )


def everything(results: Iterable[Result]) -> Table:
    """Return all results in one table, each problem's together, the fastest first."""
    groups = by_problem(results).values()
    rows = [
        (result.spec, *row)
        for group in groups
        for result, row in zip(group, _rows(group), strict=True)
    ]
    ordered = [result for group in groups for result in group]
    headers = worded_for(ordered, ("problem", *COLUMNS))
    return Table(headers, rows, left=3, marked=ours_among(ordered))


def legend(results: Sequence[Result]) -> str:
    """Return what the columns of results mean."""
    return worded_for(results, [LEGEND])[0]


def worded_for(results: Sequence[Result], texts: Iterable[str]) -> list[str]:
    """Return texts as they speak of results: of OPs where these are of whole numbers."""
    return [worded(text, {result.dtype for result in results}) for text in texts]


def ours_among(results: Sequence[Result]) -> frozenset[int]:
    """Return which of the results are our own engine's."""
    return frozenset(k for k, result in enumerate(results) if is_ours(result))


def overview(results: Iterable[Result]) -> Table:
    """Return our fastest beside the fastest peer for each problem."""
    headers = ("problem", "ours", "fastest peer", "our us", "its us", "x", "of limit")
    rows = [_overview_row(pair) for pair in pairs(results)]
    return Table(headers, rows, "Our fastest beside the fastest peer", 3)


def means(ratios: Mapping[str, list[float]]) -> Table:
    """Return the means of what `ratios` returns, the peer nearest to us first."""
    ordered = sorted(ratios.items(), key=lambda item: geometric_mean(item[1]))
    return means_of("peer", ordered, "Its time over that of our fastest", "{:.2f}")


def shares(results: Iterable[Result], peak_gflops: float) -> Table:
    """Return how near our fastest come to the limit, apart for what bounds them."""
    found: dict[str, list[float]] = {}
    for pair in pairs(results):
        ours = pair.ours
        if ours and ours.of_limit and ours.gflops:
            by_arithmetic = isclose(ours.of_limit, ours.gflops / peak_gflops)
            bound = "arithmetic" if by_arithmetic else "memory"
            found.setdefault(bound, []).append(ours.of_limit)
    return means_of("bound by", sorted(found.items()), "Our fastest, of the limit", "{:.0%}")


def means_of(
    header: str, groups: Sequence[tuple[str, list[float]]], title: str, form: str
) -> Table:
    """Return the geometric mean, the least and the most of each group."""
    picks = geometric_mean, min, max
    rows = [(name, *(form.format(p(each)) for p in picks), len(each)) for name, each in groups]
    return Table((header, "geometric mean", "least", "most", "problems"), rows, title)


def print_notes(notes: Sequence[Note], timed: int) -> None:
    """Print to stderr what the numbers do not show, the gravest last, where it is seen."""
    for (contestant, text), specs in rejections(notes).items():
        tell(f"{contestant} leaves out {count(specs, 'problem')}: {text}")
    if unstable := [note for note in notes if note.kind == "unstable"]:
        worst = ", ".join(
            f"{note.contestant} on {note.spec} ({note.text})" for note in unstable[:3]
        )
        tell(
            f"unstable: {len(unstable)} of {timed} times scatter more than {UNSTABLE:.0%} of their "
            f"median, e.g. {worst}.  A quiet machine, --pin and more --repeats help.",
            style="yellow",
        )
    for note in grave(notes):
        tell(f"{note.kind.upper()}: {note.contestant} on {note.spec}: {note.text}", "bold red")


def remarks(notes: Sequence[Note]) -> Table:
    """Return what the numbers do not show, the gravest first."""
    headers = ("kind", "engine", "problem", "what was found")
    unstable = [note for note in notes if note.kind == "unstable"]
    rows = [(n.kind, n.contestant, n.spec, n.text) for n in [*grave(notes)[::-1], *unstable]]
    for (contestant, text), specs in rejections(notes).items():
        rows.append(("rejected", contestant, specs[0] if len(specs) == 1 else count(specs), text))
    return Table(headers, rows, left=len(headers))


def grave(notes: Iterable[Note]) -> list[Note]:
    """Return the notes on results that are missing: what failed, then what was wrong."""
    return sorted((note for note in notes if note.grave), key=lambda note: note.kind)


def rejections(notes: Iterable[Note]) -> dict[tuple[str, str], list[str]]:
    """Return the problems that each contestant rejected for each reason."""
    groups: dict[tuple[str, str], list[str]] = {}
    for note in notes:
        if note.kind == "rejected":
            groups.setdefault((note.contestant, note.text), []).append(note.spec)
    return groups


def _rows(group: Sequence[Result]) -> list[tuple[object, ...]]:
    peer = fastest(group, is_peer)
    return [_row(result, peer) for result in group]


def _row(result: Result, peer: Result | None) -> tuple[object, ...]:
    if (times := result.summary) is None:
        return (result.contestant, result.layout, verdict(result), *[None] * 5)
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


def verdict(result: Result) -> str:
    """Return why a result has no time."""
    return "not timed" if result.verified else "WRONG"


def _overview_row(pair: Pair) -> tuple[object, ...]:
    ours, peer = pair.ours, pair.peer
    return (
        pair.spec,
        ours.variant if ours else None,
        peer.contestant if peer else None,
        microseconds(ours.time) if ours else None,
        microseconds(peer.time) if peer else None,
        None if pair.ratio is None else f"{pair.ratio:.2f}",
        f"{ours.of_limit:.0%}" if ours and ours.of_limit else None,
    )


def microseconds(value: float) -> str:
    """Return a time with three significant digits or more."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cores(pinned: Collection[int] | None) -> str:
    """Return the cores to stay on, or none in particular, in words."""
    return ", ".join(map(str, pinned)) if pinned else "none in particular"


def count(things: Sequence[object], noun: str = "problem") -> str:
    """Return how many there are, in words."""
    return f"{len(things)} {noun}" + ("" if len(things) == 1 else "s")


def tell(text: str, style: str | None = None) -> None:
    """Print a line to stderr."""
    console.err.print(text, style=style, markup=False, soft_wrap=True)
