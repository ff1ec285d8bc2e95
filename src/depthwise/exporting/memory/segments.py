"""Which nodes are computed as chains: the least memory, or the least time within some memory."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from depthwise.exporting.memory.chains import Chains, Run
from depthwise.exporting.memory.nodes import Node

ROW_OVERHEAD = 0.25
"""How much longer a node takes, as a part of its time, that computes one row at a time."""


class Segments:
    """The ways of cutting a network into chains and single nodes."""

    def __init__(self, chains: Chains) -> None:
        self._chains, self._graph = chains, chains.graph
        self._alone = [
            Run(number, number + 1, nbytes, exact=True)
            for number, nbytes in enumerate(chains.alone)
        ]
        times = (chained_time(node, node.choices[0]) for node in self._graph.nodes)
        self._chained = list(accumulate(times, initial=0.0))

    def least(self) -> int:
        """Return the least bytes that any way takes."""
        return max((run.nbytes for run in self._settled(None) or ()), default=0)

    def fastest(self, budget: int) -> list[Run] | None:
        """Return the fastest way that takes at most some bytes, None if there is none."""
        return self._settled(budget)

    def _settled(self, budget: int | None) -> list[Run] | None:
        """Return the best way, looked for again as long as a chain on it was not weighed."""
        while True:
            runs = self._best(budget)
            guessed = [run for run in runs or () if not run.exact]
            if not guessed:
                return runs
            for run in guessed:
                self._chains.weigh(run)

    def _best(self, budget: int | None) -> list[Run] | None:
        """Return the way of least time within a budget, or of least memory without one."""
        best: list[_Way | None] = [_Way((0, 0), 0, 0.0, None, None)] + [None] * len(self._alone)
        for first, alone in enumerate(self._alone):
            before = best[first]
            if before is None:
                continue
            for run in (alone, *self._chains.runs[first]):
                if budget is not None and run.nbytes > budget:
                    continue
                nbytes, time = max(before.nbytes, run.nbytes), before.time + self._time(run)
                rank = (nbytes, time) if budget is None else (time, nbytes)
                other = best[run.end]
                if other is None or rank < other.rank:
                    best[run.end] = _Way(rank, nbytes, time, before, run)
        last = best[-1]
        return None if last is None else last.runs()

    def _time(self, run: Run) -> float:
        if run.end == run.first + 1:
            return self._graph.nodes[run.first].cost
        return self._chained[run.end] - self._chained[run.first]


@dataclass(frozen=True)
class _Way:
    """The best way of computing the nodes before one."""

    rank: tuple[float, float]
    """The way of the lowest is the best."""
    nbytes: int
    time: float
    before: _Way | None
    run: Run | None

    def runs(self) -> list[Run]:
        """Return its runs, the first one first."""
        runs, way = [], self
        while way.run is not None and way.before is not None:
            runs.append(way.run)
            way = way.before
        return runs[::-1]


def chained_time(node: Node, at_once: int) -> float:
    """Return how long a node takes that computes some rows at a time."""
    return node.cost * (1 + ROW_OVERHEAD / at_once)
