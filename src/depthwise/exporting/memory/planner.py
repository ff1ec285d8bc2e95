"""Plans of memory: layer by layer, the smallest, and the fastest within a budget."""

from __future__ import annotations

from collections.abc import Sequence

from depthwise.errors import MemoryBudgetError
from depthwise.exporting.memory.arranging import Segment, arranged
from depthwise.exporting.memory.chains import Chains, Run
from depthwise.exporting.memory.graph import Graph
from depthwise.exporting.memory.nodes import Node, Tensor
from depthwise.exporting.memory.plan import Chain, MemoryPlan
from depthwise.exporting.memory.segments import Segments
from depthwise.exporting.memory.widening import widened

NEAR = 0.02
"""How much more memory, as a part, the smallest plan may take to be a faster one."""
ROUNDS = 4
"""How often a smaller plan is looked for than one that has gaps."""
MOST_NAMED = 4
"""How many tensors an error names."""


def least_layer_by_layer(tensors: Sequence[Tensor], nodes: Sequence[Node]) -> int:
    """Return the most bytes of tensors that are alive together when none is computed by rows.

    The inputs and outputs of the network lie in the caller's memory.
    """
    graph = Graph(tensors, nodes)
    return max(graph.total(graph.alive_in(n, n + 1)) for n in range(len(nodes)))


def layer_by_layer(tensors: Sequence[Tensor], nodes: Sequence[Node], align: int = 16) -> MemoryPlan:
    """Return the plan in which every node is computed at once."""
    graph = Graph(tensors, nodes, align, overlapping=True)
    return arranged(graph, [Segment(n, n + 1) for n in range(len(nodes))])


def smallest(tensors: Sequence[Tensor], nodes: Sequence[Node], align: int = 16) -> MemoryPlan:
    """Return the fastest plan of those that take about the least memory."""
    planner = _Planner(tensors, nodes, align)
    least = planner.least()
    return planner.fastest(int(least.peak * (1 + NEAR))) or least


def within(
    tensors: Sequence[Tensor], nodes: Sequence[Node], budget: int, align: int = 16, spare: int = 0
) -> MemoryPlan:
    """Return the fastest plan that takes at most some bytes, beside those that are spared.

    Raises:
        MemoryBudgetError: no plan does.
    """
    planner = _Planner(tensors, nodes, align)
    plan = planner.fastest(budget - spare) or planner.least()
    if (size := plan.peak + spare) > budget:
        raise MemoryBudgetError(
            f"a network takes at least the memory of its smallest plan; budget: {budget} bytes, "
            f"smallest plan: {size} bytes, {_largest(tensors, nodes, plan)} among them"
        )
    return plan


def _largest(tensors: Sequence[Tensor], nodes: Sequence[Node], plan: MemoryPlan) -> str:
    """Return the largest of what is needed together where a plan takes most, as a phrase."""
    graph = Graph(tensors, nodes)
    in_use = [nbytes for _, nbytes in plan.timeline]
    segment = plan.segments[in_use.index(max(in_use))]
    numbers = segment.nodes if isinstance(segment, Chain) else (segment.node,)
    rows = {tensor: tensors[tensor].rows for tensor in graph.alive_in(numbers[0], numbers[-1] + 1)}
    if isinstance(segment, Chain):
        rows |= {ring.tensor: ring.capacity for ring in segment.rings}
    sizes = {tensor: count * tensors[tensor].row_bytes for tensor, count in rows.items()}
    worked_in = sum(nodes[number].scratch_bytes for number in numbers)
    named = [f"{worked_in} that kernels work in"] if worked_in else []
    return ", ".join(named + [
        f"{rows[tensor]} of {tensors[tensor].rows} rows of {tensors[tensor].name or tensor} "
        f"({sizes[tensor]} bytes)"
        for tensor in sorted(sizes, key=lambda tensor: -sizes[tensor])[:MOST_NAMED]
    ])  # fmt: skip


class _Planner:
    """Finds plans: which nodes are chains first, then where everything lies.

    What is alive together does not always fit without gaps.  If a plan needs more than it should,
    one is tried that has less alive.
    """

    def __init__(self, tensors: Sequence[Tensor], nodes: Sequence[Node], align: int) -> None:
        self._graph = Graph(tensors, nodes, align, overlapping=True)
        plain = Graph(tensors, nodes, align)
        self._ways = [Segments(Chains(graph)) for graph in (self._graph, plain)]

    def fastest(self, budget: int) -> MemoryPlan | None:
        """Return the fastest plan within a budget, None if none is found."""
        plans = (self._fastest(way, budget) for way in self._ways)
        return next((plan for plan in plans if plan is not None), None)

    def least(self) -> MemoryPlan:
        """Return the plan of the least memory that is found."""
        runs = [way.fastest(way.least()) or [] for way in self._ways]
        best = min((self._arranged(each, 0, 0) for each in runs), key=lambda plan: plan.peak)
        for _ in range(ROUNDS):
            better = self.fastest(best.peak - 1)
            if better is None:
                break
            best = better
        return best

    def _fastest(self, way: Segments, budget: int) -> MemoryPlan | None:
        aim = budget
        while (runs := way.fastest(aim)) is not None:
            if self._arranged(runs, 0, budget).peak <= budget:
                return self._widest(runs, budget)
            aim = max(run.nbytes for run in runs) - 1
        return None

    def _widest(self, runs: Sequence[Run], budget: int) -> MemoryPlan:
        """Return the plan of some runs that computes the most rows at a time within a budget."""
        least = max(run.nbytes for run in runs)
        for part in (1.0, 0.75, 0.5, 0.25):
            aim = least + int((budget - least) * part)
            plan = self._arranged(runs, aim, budget)
            if plan.peak <= budget:
                return plan
        return self._arranged(runs, 0, budget)

    def _arranged(self, runs: Sequence[Run], widest: int, enough: int) -> MemoryPlan:
        """Return the plan of some runs, whose chains are widened as far as some bytes allow."""
        return arranged(self._graph, [self._segment(run, widest) for run in runs], enough)

    def _segment(self, run: Run, widest: int) -> Segment:
        if run.end == run.first + 1:
            return Segment(run.first, run.end)
        return Segment(run.first, run.end, widened(self._graph, run, widest))
