"""More rows at a time, where there is memory for them."""

from __future__ import annotations

from depthwise.export.memory.chains import Run, memory
from depthwise.export.memory.graph import Graph
from depthwise.export.memory.rows import Rows
from depthwise.export.memory.segments import chained_time


def widened(graph: Graph, run: Run, budget: int) -> Rows:
    """Return a chain whose nodes compute as many rows at a time as memory allows.

    The node whose time gains most is given more rows first.
    """
    nodes = {number: graph.nodes[number] for number in range(run.first, run.end)}
    at_once = {number: node.choices[0] for number, node in nodes.items()}
    best = Rows(graph, run.first, run.end, at_once)
    growing = {number for number, node in nodes.items() if len(node.choices) > 1}
    while growing:
        gains = {}
        for number in growing:
            node, now = nodes[number], at_once[number]
            more = node.choices[node.choices.index(now) + 1]
            gains[number] = chained_time(node, now) - chained_time(node, more), more
        number = max(growing, key=lambda number: gains[number][0])
        wider = at_once | {number: gains[number][1]}
        rows = Rows(graph, run.first, run.end, wider)
        fits = memory(graph, run, rows) <= budget
        if fits:
            best, at_once = rows, wider
        if not fits or at_once[number] == nodes[number].choices[-1]:
            growing.remove(number)
    return best
