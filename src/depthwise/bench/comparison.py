"""Our engine beside the others, problem by problem: who is the fastest, and by how much."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from depthwise.bench.results import Note, Result
from depthwise.problem.parse import parse
from depthwise.problem.problem import Problem

R = TypeVar("R", bound=Result)

OURS = "depthwise"
"""The name of our own engine; all others are peers."""
FASTEST = "the fastest peer"
NARROWING = "the fastest peer, blocks that narrow"
"""Blocks whose last part has fewer channels out than in."""


@dataclass(frozen=True)
class Pair:
    """Our fastest and the fastest peer on one problem; None where nothing has a time."""

    spec: str
    ours: Result | None
    peer: Result | None

    @property
    def ratio(self) -> float | None:
        """The peer's time over ours, more is better for us."""
        return self.peer.time / self.ours.time if self.ours and self.peer else None


def by_problem(results: Iterable[R]) -> dict[str, list[R]]:
    """Return the results of each problem, the fastest first."""
    groups: dict[str, list[R]] = {}
    for result in results:
        groups.setdefault(result.spec, []).append(result)
    return {spec: sorted(group, key=lambda r: r.time) for spec, group in groups.items()}


def pairs(results: Iterable[Result]) -> list[Pair]:
    """Return our fastest and the fastest peer on each problem."""
    return [
        Pair(spec, fastest(group, is_ours), fastest(group, is_peer))
        for spec, group in by_problem(results).items()
    ]


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
    """Return `ratios`, and the fastest peer's for blocks that narrow where others do not."""
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


def _narrows(spec: Problem) -> bool:
    return len(spec.parts) > 1 and spec.parts[-1].out_channels < spec.parts[-1].channels
